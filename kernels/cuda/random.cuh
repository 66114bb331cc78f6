// Philox4x64-10 (Salmon et al. 2011), word for word as kernels/random.py documents it: key (seed, stream), counter
// (block, 0, step, lane), four 64-bit words a block.

typedef unsigned long long word;

static __device__ __forceinline__ void philox(word seed, word stream, word block, word step, word lane, word* out) {
  word a = block, b = 0, c = step, d = lane;
  for (int round = 0; round < 10; ++round) {
    const word high_a = __umul64hi(0xD2E7470EE14C6C93ull, a), low_a = 0xD2E7470EE14C6C93ull * a;
    const word high_c = __umul64hi(0xCA5A826395121157ull, c), low_c = 0xCA5A826395121157ull * c;
    a = high_c ^ b ^ seed;
    b = low_c;
    c = high_a ^ d ^ stream;
    d = low_a;
    seed += 0x9E3779B97F4A7C15ull;
    stream += 0xBB67AE8584CAA73Bull;
  }
  out[0] = a;
  out[1] = b;
  out[2] = c;
  out[3] = d;
}
