// bfloat16 numbers as the upper halves of float32 ones; `narrow` rounds to the nearest, to even between two.

typedef unsigned short bfloat16;

static __device__ __forceinline__ bfloat16 narrow_bfloat16(const float number) {
  union { float number; unsigned bits; } both;
  both.number = number;
  if (number != number) return (bfloat16)(both.bits >> 16 | 0x40u);  // stays NaN whatever its lower half is
  return (bfloat16)((both.bits + 0x7FFFu + (both.bits >> 16 & 1u)) >> 16);
}

static __device__ __forceinline__ float widen_bfloat16(const bfloat16 number) {
  union { float number; unsigned bits; } both;
  both.bits = (unsigned)number << 16;
  return both.number;
}
