"""CUDA programs of a recorded training step, one kernel each; those of layers are in `layer_source` and `tail_source`,
losses and masks in `fused_source`.

Everything that changes from step to step, and from job to job, is read from device memory, so that a recorded launch
can be played again. `cursor` counts the steps of a chunk that are done, `step` counts within a recording.

Axis legend: M models, N steps of a chunk, B samples, I inputs, H units, P parameters, R records of a loss, W numbers
of a step: the weights of the batch's rows, the optimizer's rates, and by what the weighted losses' sum is multiplied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kernels.c_source import Real
from kernels.fused_source import OPERANDS_TEXT, LossProgram
from kernels.precisions import Arithmetic

LOAD_SYMBOL: Final = "load_step"
NARROW_SYMBOL: Final = "narrow_step"
MEASURE_SYMBOL: Final = "measure_step"
CLIP_SYMBOL: Final = "clip_step"
TALLY_SYMBOL: Final = "tally_steps"
ADVANCE_SYMBOL: Final = "advance_cursor"
SUM_THREADS: Final = 128
"""Threads of a block that adds up; a power of 2."""

_EACH: Final = """
#define EACH(i, size) \\
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < (size); \\
       i += (long long)gridDim.x * blockDim.x)
"""
SHARED_TEXT: Final = """#ifdef __CUDA_ARCH__
extern __shared__ __align__(16) unsigned char SHARED_MEMORY[];
#endif
"""


def numbers_text(real: Real, arithmetic: Arithmetic) -> str:
    """`real`, and what products read: `operand`, with `narrow` that makes one and `widen` that reads one."""
    if arithmetic == "bfloat16":
        kept = "typedef bfloat16 operand;\n#define narrow narrow_bfloat16\n#define widen widen_bfloat16\n"
        return f"typedef {real} real;\n{OPERANDS_TEXT}{kept}{_EACH}"
    same = "typedef real operand;\n#define narrow(number) (number)\n#define widen(number) (number)\n"
    return f"typedef {real} real;\n{same}{_EACH}"


_LOAD: Final = """
// sources: the addresses of x (rows, inputs) and y (rows, targets). rows (N, M, B), numbers (N, M, W), first (M,): the
// model's step at the chunk's begin. Into in (M, B, leading), given (M, B, targets), now (M, W), steps (M,).
extern "C" __global__ void load_step(
    int step, int models, int batch, int inputs, int leading, int targets, int width, const long long* sources,
    const long long* cursor, const int* rows, const real* numbers, const unsigned long long* first, operand* in,
    given_type* given, real* now, unsigned long long* steps) {
  const long long at = cursor[0] + step, samples = (long long)models * batch;
  const real* x = (const real*)sources[0];
  const source_type* y = (const source_type*)sources[1];
  rows += at * samples;
  numbers += at * models * width;
  EACH(i, samples * inputs) {
    const long long sample = i / inputs, k = i % inputs;
    in[sample * leading + k] = narrow(x[(long long)rows[sample] * inputs + k]);
  }
  EACH(i, samples * targets) given[i] = GIVEN(y[(long long)rows[i / targets] * targets + i % targets]);
  EACH(i, (long long)models * width) now[i] = numbers[i];
  EACH(i, models) steps[i] = first[i] + (unsigned long long)at;
}
"""


def load_source(real: Real, arithmetic: Arithmetic, *, by_class: bool) -> str:
    """The program that brings one batch: inputs, targets, and the numbers of the step.

    A class becomes a place among scores that lie `batch` apart, as the loss reads it.
    """
    types = "typedef long long given_type;\ntypedef int source_type;\n#define GIVEN(code) ((long long)(code) * batch)\n"
    if not by_class:
        types = "typedef real given_type;\ntypedef real source_type;\n#define GIVEN(value) (value)\n"
    return numbers_text(real, arithmetic) + types + _LOAD


_NARROW: Final = """
extern "C" __global__ void narrow_step(long long size, const real* from, operand* to) {
  EACH(i, size) to[i] = narrow(from[i]);
}
"""


def narrow_source(arithmetic: Arithmetic) -> str:
    """The program that rounds float32 numbers to what products read."""
    return numbers_text("float", arithmetic) + _NARROW


_CLIP: Final = """
// parts (M, `blocks`, 2): the largest number of a part of a model's gradient (M, P), and the sum of squares over it. A
// block scales by its own largest number, so that no square overflows or vanishes.
extern "C" __global__ void measure_step(int models, int blocks, int parameters, const real* gradient, real* parts) {
  real* const shared = reinterpret_cast<real*>(SHARED_MEMORY);
  const long long model = blockIdx.x / blocks, part = blockIdx.x % blocks;
  gradient += model * parameters;
  real largest = 0;
  for (long long i = part * blockDim.x + threadIdx.x; i < parameters; i += (long long)blocks * blockDim.x)
    largest = greater(largest, fabs(gradient[i]));
  const real peak = over_block(shared, largest, Greater());
  const real scale = greater(peak, TINY);
  real sum = 0;
  for (long long i = part * blockDim.x + threadIdx.x; i < parameters; i += (long long)blocks * blockDim.x) {
    const real share = gradient[i] / scale;
    sum += share * share;
  }
  sum = over_block(shared, sum, Plus());
  if (threadIdx.x == 0) {
    parts[2 * blockIdx.x] = scale;
    parts[2 * blockIdx.x + 1] = sum;
  }
}
"""
_CLIPPED: Final = """
// gradient (M, P) *= min(1, limit / norm), with the norm from the `blocks` parts of every model.
extern "C" __global__ void clip_step(
    int models, int blocks, int parameters, const real* parts, const real* limits, real* gradient) {
  const long long model = blockIdx.x / blocks, part = blockIdx.x % blocks;
  parts += 2 * model * blocks;
  gradient += model * parameters;
  real largest = 0, sum = 0;
  for (int k = 0; k < blocks; ++k) largest = greater(largest, parts[2 * k]);
  for (int k = 0; k < blocks; ++k) {
    const real share = parts[2 * k] / largest;
    sum += share * share * parts[2 * k + 1];
  }
  const real factor = limits[model] / largest / ROOT(sum);
  if (factor >= real(1)) return;
  for (long long i = part * blockDim.x + threadIdx.x; i < parameters; i += (long long)blocks * blockDim.x)
    gradient[i] *= factor;
}
"""
OVER_BLOCK_TEXT: Final = """
static __device__ __forceinline__ real greater(const real a, const real b) { return a >= b || a != a ? a : b; }
struct Greater {
  __device__ __forceinline__ real operator()(const real a, const real b) const { return greater(a, b); }
};
struct Plus {
  template <class T>
  __device__ __forceinline__ T operator()(const T a, const T b) const { return a + b; }
};

// One number of every thread made one for all, in a fixed order; `shared` has room for one of each.
template <class T, class Join>
static __device__ __forceinline__ T over_block(T* shared, const T own, const Join join) {
  __syncthreads();  // what was read of `shared` before is read
  shared[threadIdx.x] = own;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) shared[threadIdx.x] = join(shared[threadIdx.x], shared[threadIdx.x + half]);
  }
  __syncthreads();
  return shared[0];
}
"""
_TINIEST: Final[dict[Real, str]] = {"float": "1.17549435e-38f", "double": "2.2250738585072014e-308"}


def measure_source(real: Real) -> str:
    """The program that measures the parts of every model's gradient."""
    tiny = f"#define TINY {_TINIEST[real]}\n"
    return SHARED_TEXT + numbers_text(real, "float32") + tiny + OVER_BLOCK_TEXT + _CLIP


def clip_source(real: Real) -> str:
    """The program that shortens every gradient that is longer than its model's limit."""
    root = f"#define ROOT {'sqrtf' if real == 'float' else 'sqrt'}\n"
    return numbers_text(real, "float32") + root + OVER_BLOCK_TEXT + _CLIPPED


_TALLY: Final = """
// losses (N, M) from the cursor on: of every step of the recording and every model, one block each, the weighted sum of
// the rows' losses from records (steps, R, M, B), in double.
extern "C" __global__ void tally_steps(
    int models, int batch, int width, int place, const long long* cursor, const real* records, const real* numbers,
    double* losses) {
  double* const shared = reinterpret_cast<double*>(SHARED_MEMORY);
  const long long step = blockIdx.x / models, model = blockIdx.x % models, size = (long long)models * batch;
  const long long at = (cursor[0] + step) * models + model;
  records += step * Loss::records * size + model * batch;
  numbers += at * width;
  double sum = 0;
  for (int sample = threadIdx.x; sample < batch; sample += blockDim.x) {
    real record[Loss::records];
    for (int k = 0; k < Loss::records; ++k) record[k] = records[k * size + sample];
    if (numbers[sample] > real(0)) sum += (double)numbers[sample] * (double)Loss::value(record);
  }
  sum = over_block(shared, sum, Plus());
  if (threadIdx.x == 0) losses[at] = sum * (double)numbers[place];
}
"""


def tally_source(loss: LossProgram, real: Real) -> str:
    """The program that adds up the losses of a recording."""
    return SHARED_TEXT + loss.text(real) + OVER_BLOCK_TEXT + _TALLY


ADVANCE_SOURCE: Final = """
extern "C" __global__ void advance_cursor(int steps, long long* cursor) {
  if (blockIdx.x == 0 && threadIdx.x == 0) cursor[0] += steps;
}
"""


def filled(text: str, parts: Mapping[str, str]) -> str:
    """The text with words replaced."""
    return re.sub("|".join(parts), lambda found: parts[found[0]], text)
