// GROUP numbers that lie side by side, read and written at once where all of them are there.
//
// A whole group begins at a multiple of its size in bytes, at most 16.

template <class T>
struct alignas(sizeof(T) * GROUP) Group {
  T at[GROUP];
};

template <class T>
static __device__ __forceinline__ Group<T> grouped(const T* from, int count) {
  if (count >= GROUP) return *reinterpret_cast<const Group<T>*>(from);
  Group<T> some = {};
#pragma unroll  // no place within a group is told at run time: it stays in registers
  for (int k = 0; k < GROUP; ++k)
    if (k < count) some.at[k] = from[k];
  return some;
}

template <class T>
static __device__ __forceinline__ void put(T* to, const Group<T>& numbers, int count) {
  if (count >= GROUP) {
    *reinterpret_cast<Group<T>*>(to) = numbers;
    return;
  }
#pragma unroll
  for (int k = 0; k < GROUP; ++k)
    if (k < count) to[k] = numbers.at[k];
}
