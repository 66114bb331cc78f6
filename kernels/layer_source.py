"""CUDA programs of a layer in a recorded step: its activation, and what goes back through it.

Axis legend: M models, B samples, H units.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from kernels.c_source import Real, assignments, literal
from kernels.fused_source import groups_text
from kernels.operations import Operation
from kernels.precisions import Arithmetic
from kernels.step_source import OVER_BLOCK_TEXT, SHARED_TEXT, filled, numbers_text

ACTIVATE_SYMBOL: Final = "activate_step"
BACKPROPAGATE_SYMBOL: Final = "backpropagate_step"
BIAS_SYMBOL: Final = "bias_step"

_ACTIVATE: Final = """
// a = f(z) of z (M, H, B), `size` numbers a model; out (M, `stride`) has ones behind them where there is room. Where
// BIASED, z + b takes the place of z first; biases (M, `parameters`) from the layer's on. A thread has GROUP numbers.
extern "C" __global__ void activate_step(
    int models, int size, int stride, int batch, int parameters, const real* biases, real* z, const real* masks,
    operand* out) {
NUMBERS
  EACH(i, (long long)models * stride / GROUP) {
    const long long first = i * GROUP, model = first / stride;
    const int place = (int)(first % stride);
    Group<operand> results;
    if (place < size) {
      const long long at = model * size + place;
      Group<real> sums = grouped(z + at, GROUP), kept = {};
      if (MASKED) kept = grouped(masks + at, GROUP);
      if (BIASED) {
#pragma unroll
        for (int k = 0; k < GROUP; ++k) sums.at[k] += biases[model * parameters + (place + k) / batch];
        put(z + at, sums, GROUP);
      }
#pragma unroll
      for (int k = 0; k < GROUP; ++k) {
        const real in_x = sums.at[k];
        real in_y;
        { VALUE }
        if (MASKED) in_y *= kept.at[k];
        results.at[k] = narrow(in_y);
      }
    } else {
#pragma unroll
      for (int k = 0; k < GROUP; ++k) results.at[k] = narrow(real(1));
    }
    put(out + first, results, GROUP);
  }
}
"""
_BACKPROPAGATE: Final = """
// delta = upstream f'(z), all (M, H, B), `size` numbers in all; f(z) is computed again: cheaper than read. A thread has
// GROUP numbers, the last one what is left.
extern "C" __global__ void backpropagate_step(
    long long size, const real* z, const real* masks, const real* upstream, operand* delta) {
NUMBERS
  EACH(i, (size + GROUP - 1) / GROUP) {
    const long long first = i * GROUP;
    const int count = (int)(size - first < GROUP ? size - first : GROUP);
    const Group<real> sums = grouped(z + first, count), above = grouped(upstream + first, count);
    Group<real> kept = {};
    if (MASKED) kept = grouped(masks + first, count);
    Group<operand> results;
#pragma unroll
    for (int k = 0; k < GROUP; ++k) {
      const real in_x = sums.at[k];
      real in_upstream = above.at[k], result;
      if (MASKED) in_upstream *= kept.at[k];
      VALUE
      { SLOPE }
      (void)in_x;
      results.at[k] = narrow(result);
    }
    put(delta + first, results, count);
  }
}
"""
_BIAS: Final = """
// The gradient (M, `parameters`), from the layer's biases on: sums over the samples of delta (M, H, B), a block each.
extern "C" __global__ void bias_step(int units, int batch, int parameters, const operand* delta, real* gradient) {
  real* const shared = reinterpret_cast<real*>(SHARED_MEMORY);
  const long long model = blockIdx.x / units, unit = blockIdx.x % units;
  delta += (long long)blockIdx.x * batch;
  real sum = 0;
  for (int sample = threadIdx.x; sample < batch; sample += blockDim.x) sum += widen(delta[sample]);
  sum = over_block(shared, sum, Plus());
  if (threadIdx.x == 0) gradient[model * parameters + unit] = sum;
}
"""


@dataclass(frozen=True)
class Elementwise:
    """What programs of one number after another are written for: `group` numbers a thread, as groups.cuh has them."""

    real: Real
    arithmetic: Arithmetic
    masked: bool
    group: int = 1

    @property
    def text(self) -> str:
        """Types, and groups."""
        return numbers_text(self.real, self.arithmetic) + groups_text(self.group)


def activate_source(operation: Operation, numbers: Mapping[str, float], how: Elementwise, *, biased: bool) -> str:
    """The program of one layer's activation, and of its dropout; with `biased` of its biases, which a product left out.

    Groups divide both sizes of a model.
    """
    parts = {
        "NUMBERS": _constants(numbers, operation.value_expression.names, how.real),
        "VALUE": _one_line(assignments(operation.value_expression, how.real, "in_y")),
        "MASKED": str(how.masked).lower(),
        "BIASED": str(biased).lower(),
    }
    return how.text + filled(_ACTIVATE, parts)


def backpropagate_source(operation: Operation, numbers: Mapping[str, float], how: Elementwise) -> str:
    """The program that takes a layer's gradient from its activations to its sums."""
    return how.text + filled(_BACKPROPAGATE, slope_parts(operation, numbers, how.real, masked=how.masked))


def bias_source(real: Real, arithmetic: Arithmetic) -> str:
    """The program of the biases' gradient where products leave it out."""
    return SHARED_TEXT + numbers_text(real, arithmetic) + OVER_BLOCK_TEXT + _BIAS


def slope_parts(operation: Operation, numbers: Mapping[str, float], real: Real, *, masked: bool) -> dict[str, str]:
    """What stands for NUMBERS, VALUE, SLOPE and MASKED where `result` becomes in_upstream f'(in_x)."""
    slope = operation.pullback_expression
    names = set(slope.names)
    value = ""
    if "y" in names:
        names.update(operation.value_expression.names)
        value = f"real in_y; {{ {_one_line(assignments(operation.value_expression, real, 'in_y'))} }}"
    return {
        "NUMBERS": _constants(numbers, names, real),
        "VALUE": value,
        "SLOPE": _one_line(assignments(slope, real, "result")),
        "MASKED": str(masked).lower(),
    }


def _constants(numbers: Mapping[str, float], used: Collection[str], real: Real) -> str:
    return "\n".join(
        f"  const real in_{name} = {literal(value, real)};" for name, value in numbers.items() if name in used
    )


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
