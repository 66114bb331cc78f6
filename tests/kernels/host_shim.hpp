// CUDA's names for a host compiler: enough to run the source of a CuPy ElementwiseKernel on NumPy arrays.
// An array is described by seven numbers: address, three extents, three strides in bytes.
#include <math.h>
#include <stddef.h>

#define __device__
#define __global__

struct Position { unsigned x; };
static thread_local Position threadIdx{0}, blockIdx{0};
static const Position blockDim{32}, gridDim{3};

#define CUPY_FOR(i, n) \
  for (ptrdiff_t i = (ptrdiff_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (ptrdiff_t)blockDim.x * gridDim.x)

#define GRID(call) \
  for (unsigned block = 0; block < gridDim.x; ++block) \
    for (unsigned thread = 0; thread < blockDim.x; ++thread) { blockIdx.x = block; threadIdx.x = thread; call }

template <int ndim, bool index32>
struct CIndexer {
  ptrdiff_t shape[ndim], at[ndim];
  explicit CIndexer(const long long* given) { for (int d = 0; d < ndim; ++d) { shape[d] = (ptrdiff_t)given[d]; at[d] = 0; } }
  ptrdiff_t size() const { ptrdiff_t n = 1; for (int d = 0; d < ndim; ++d) n *= shape[d]; return n; }
  void set(ptrdiff_t i) { for (int d = ndim - 1; d >= 0; --d) { at[d] = i % shape[d]; i /= shape[d]; } }
  const ptrdiff_t (&get() const)[ndim] { return at; }
};

template <typename T, int ndim, bool contiguous, bool index32>
struct CArray {
  char* data;
  ptrdiff_t strides[ndim];
  explicit CArray(const long long* given) : data(reinterpret_cast<char*>(given[0])) {
    for (int d = 0; d < ndim; ++d) strides[d] = (ptrdiff_t)given[4 + d];
  }
  T& operator[](const ptrdiff_t (&at)[ndim]) const {
    ptrdiff_t offset = 0;
    for (int d = 0; d < ndim; ++d) offset += at[d] * strides[d];
    return *reinterpret_cast<T*>(data + offset);
  }
  T& operator[](ptrdiff_t i) const {
    static_assert(contiguous, "a linear index needs a contiguous array");
    return reinterpret_cast<T*>(data)[i];
  }
};
