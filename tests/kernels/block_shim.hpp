// CUDA's names for a host compiler: what a program of `kernels/cuda` needs to run as fibers. See block_shim.cpp.
#pragma once
#include <math.h>
#include <stddef.h>

// CUDA's overloads for float; any other function of a float would compute in double, which is refused.
inline float exp(float x) { return expf(x); }
inline float expm1(float x) { return expm1f(x); }
inline float log1p(float x) { return log1pf(x); }
inline float fabs(float x) { return fabsf(x); }

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __syncthreads() shim::barrier(__LINE__)

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}

struct Position { unsigned x; };
extern Position threadIdx, blockIdx, blockDim, gridDim;
extern unsigned char* SHARED_MEMORY;

namespace shim {
void barrier(int line);
void copy_async(void* to, const void* from, size_t size);
void wait_for_copies();
int run(unsigned blocks, unsigned threads, size_t shared, unsigned order, bool late, void (*kernel)(void**),
        void** arguments);
int run_guarded(const char* path, bool at_end, int count, void (*kernel)(void**));
}  // namespace shim

template <class T>
inline void host_copy_async(T* to, const T* from) { shim::copy_async(to, from, sizeof(T)); }
inline void host_wait_for_copies() { shim::wait_for_copies(); }
