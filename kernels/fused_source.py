"""Elementwise CUDA programs of the layered path: a loss with its gradient, an optimizer's whole update, dropout masks.

Losses over classes come from `cuda/losses.cuh`, those over values from `pointwise`, updates from `updates`: the same
text that the persistent kernel is made of.
Masks come from `cuda/random.cuh`, the generator of `random`.

Axis legend: M models, C scores, B samples, P parameters, H units.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import gcd
from pathlib import Path
from typing import Final

from kernels.c_source import Real, assignments, literal
from kernels.pointwise import Pointwise
from kernels.random import Stream
from kernels.updates import UpdateRule

LOSS_SYMBOL: Final = "loss_step"
UPDATE_SYMBOL: Final = "update_step"
MASK_SYMBOL: Final = "mask_step"
THREADS: Final = 256

CLASS_LOSSES: Final[dict[str, tuple[str, str]]] = {
    "softmax": ("Softmax", "label_smoothing"),
    "svm": ("Svm", "margin"),
}
"""Structs of `cuda/losses.cuh`, each with the option that it takes."""
MASK_WORDS: Final = 8
"""Numbers of a mask that one thread draws: the halves of a generator's block."""
GROUP_BYTES: Final = 16
"""Most bytes that a thread reads or writes by one access."""
_CUDA: Final = Path(__file__).parent / "cuda"
RANDOM_TEXT: Final = (_CUDA / "random.cuh").read_text("utf-8")
OPERANDS_TEXT: Final = (_CUDA / "operands.cuh").read_text("utf-8")
_GROUPS_TEXT: Final = (_CUDA / "groups.cuh").read_text("utf-8")
LOSSES_TEXT: Final = (_CUDA / "losses.cuh").read_text("utf-8")

_LOSS: Final = """
// scores (M, C, B) become weight * dL/dscores; weights (M, B) lie `stride` apart; records (n, M, B).
// A class is given by the flat place of its score (M, B), values by themselves (M, B, C).
extern "C" __global__ void loss_step(
    int models, int count, int batch, real* scores, const given_type* targets, const real* weights, int stride,
    real* records) {
  const long long size = (long long)models * batch, step = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
    const long long model = i / batch, sample = i % batch;
    real record[Loss::records];
    TARGET
    Loss::step(scores + model * count * batch + sample, batch, count, target, weights[model * stride + sample], OPTION,
               record);
    for (int k = 0; k < Loss::records; ++k) records[k * size + i] = record[k];
  }
}
"""
_CLASS: Final = "const int label = (int)(targets[i] / batch % count); const int* target = &label;"
_VALUES: Final = "const real* target = targets + i * count;"


@dataclass(frozen=True, eq=False)
class LossProgram:
    """A loss as kernels have it: the struct `name` with one option, or what a sum over scores is of each of them."""

    name: str
    option: float = 0.0
    one: Pointwise | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def by_class(self) -> bool:
        """True if targets are classes."""
        return self.one is None

    @property
    def records(self) -> int:
        """Numbers from which a sample's loss follows."""
        return 2 if self.name == "Softmax" else 1

    def text(self, real: Real) -> str:
        """The types `real` and `Loss`, and whatever they need."""
        struct = "" if self.one is None else _pointwise_struct(self.name, self.one, self.numbers, real)
        return f"{LOSSES_TEXT}{struct}typedef {real} real;\ntypedef {self.name}<real> Loss;\n"


def loss_program(name: str, one: Pointwise | None, options: Mapping[str, float]) -> LossProgram | None:
    """The program of a loss over values, or of one over classes that has a struct; None for an option it lacks."""
    if one is not None:
        numbers = {parameter: options[parameter] for parameter in one.parameters}
        return LossProgram("Pointwise", one=one, numbers=numbers)
    struct, option = CLASS_LOSSES.get(name, ("", ""))
    if not struct or not set(options) <= {option}:
        return None
    return LossProgram(struct, options.get(option, 0.0))


_STRUCT: Final = """
template <class real>
struct NAME {
  typedef real target_type;
  static constexpr int records = 1;

  // The gradient of one score; its loss is added to `loss`.
  static __device__ __forceinline__ real one(
      const real in_score, const real in_target, const real in_weight, real& loss) {
NUMBERS
    real value, slope;
    { VALUE }
    { SLOPE }
    loss += value;
    return slope;
  }

  static __device__ __forceinline__ void step(
      real* scores, int stride, int count, const real* target, real weight, real, real* record) {
    real loss = 0;
    for (int c = 0; c < count; ++c) scores[c * stride] = one(scores[c * stride], target[c], weight, loss);
    record[0] = loss;
  }

  static __device__ __forceinline__ real value(const real* record) { return record[0]; }
};

"""


def _pointwise_struct(name: str, one: Pointwise, numbers: Mapping[str, float], real: Real) -> str:
    constants = [f"    const real in_{key} = {literal(value, real)};" for key, value in numbers.items()]
    parts = {
        "NAME": name,
        "NUMBERS": "\n".join(constants),
        "VALUE": _one_line(assignments(one.value_expression, real, "value")),
        "SLOPE": _one_line(assignments(one.pullback_expression, real, "slope")),
    }
    return re.sub("|".join(parts), lambda found: parts[found[0]], _STRUCT)


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def loss_source(loss: LossProgram, real: Real) -> str:
    """The program of one loss."""
    given, target = target_text(loss)
    body = _LOSS.replace("TARGET", target).replace("OPTION", literal(loss.option, real))
    return f"{loss.text(real)}typedef {given} given_type;\n{body}"


def target_text(loss: LossProgram) -> tuple[str, str]:
    """The type of given targets, and what finds that of sample i of `count` scores in a batch."""
    return ("long long", _CLASS) if loss.by_class else ("real", _VALUES)


_UPDATE: Final = """
extern "C" __global__ void SYMBOL(
    long long size, long long parameters, int decays, ARGUMENTS) {
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i * GROUP < size;
       i += (long long)gridDim.x * blockDim.x) {
    const long long first = i * GROUP, model = size == parameters ? 0 : first / parameters;
    const int count = (int)(size - first < GROUP ? size - first : GROUP);
LOADS
    Group<real> decay_group = {};
    if (decays) decay_group = grouped(decay + first, count);
    #pragma unroll
    for (int k = 0; k < GROUP; ++k) {
      const real in_decay = decay_group.at[k];
BODY
      (void)in_gradient, (void)in_decay;
    }
STORES
  }
}
"""


def group_size(itemsize: int, *multiples: int) -> int:
    """Numbers that a thread moves at once, 16 bytes of them or less: a divisor of all `multiples`."""
    return gcd(GROUP_BYTES // itemsize, *multiples)


def groups_text(group: int) -> str:
    """`Group`, `grouped` and `put`."""
    return f"constexpr int GROUP = {group};\n{_GROUPS_TEXT}"


def update_source(rule: UpdateRule, real: Real, *, narrows: bool = False, group: int = 1) -> str:
    """The program of one update: arrays (M, P), then every number (M,) with the distance from model to model.

    `decays` says whether `decay` (M, P) is read. With `narrows` parameters are also kept as bfloat16, in the array
    behind the slots. A thread has `group` numbers of one model at once, for which arrays begin where groups may.
    """
    kept = ("parameter", *rule.slots)
    arrays = [f"real* {name}" for name in ("parameter", "gradient", "decay", *rule.slots)]
    if narrows:
        arrays.append("bfloat16* narrowed")
    columns = [f"const real* {name}, int {name}_stride" for name in rule.numbers[:-1]]
    loads = [f"    Group<real> {name}_group = grouped({name} + first, count);" for name in ("gradient", *kept)]
    loads += [f"    const real in_{name} = {name}[model * {name}_stride];" for name in rule.numbers[:-1]]
    own = [f"      real in_{name} = {name}_group.at[k];" for name in ("gradient", *kept)]
    steps = [
        f"      {{ {_one_line(assignments(expression, real, f'in_{target}'))} }}" for target, expression in rule.steps
    ]
    results = [f"      {name}_group.at[k] = in_{name};" for name in kept]
    stores = [f"    put({name} + first, {name}_group, count);" for name in kept]
    if narrows:
        loads.append("    Group<bfloat16> narrowed_group = {};")
        results.append("      narrowed_group.at[k] = narrow_bfloat16(in_parameter);")
        stores.append("    put(narrowed + first, narrowed_group, count);")
    parts = {
        "SYMBOL": UPDATE_SYMBOL,
        "ARGUMENTS": ", ".join([*arrays, *columns]),
        "LOADS": "\n".join(loads),
        "BODY": "\n".join([*own, *steps, *results]),
        "STORES": "\n".join(stores),
    }
    head = f"{OPERANDS_TEXT if narrows else ''}typedef {real} real;\n{groups_text(group)}"
    return head + re.sub("|".join(parts), lambda found: parts[found[0]], _UPDATE)


_MASK: Final = """
// masks (M, H, B): scales[m] where a unit stays, else 0. Unit i of the flat (H, B) has the i-th 32-bit word of the draw
// (seed, DROPOUT, step, layer), 64-bit words read low half first, and stays if it is below limits[m].
extern "C" __global__ void mask_step(
    int models, int size, int layer, const word* seeds, const word* steps, const word* limits, const real* scales,
    real* masks) {
  const long long blocks = (size + 7) / 8, all = models * blocks;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < all;
       i += (long long)gridDim.x * blockDim.x) {
    const long long model = i / blocks, block = i % blocks;
    word drawn[4];
    philox(seeds[model], STREAM, (word)block + 1, steps[model], (word)layer, drawn);
    #pragma unroll
    for (int k = 0; k < 8; ++k) {
      const word half = k % 2 ? drawn[k / 2] >> 32 : drawn[k / 2] & 0xFFFFFFFFull;
      if (block * 8 + k < size)
        masks[model * size + block * 8 + k] = half < limits[model] ? scales[model] : real(0);
    }
  }
}
"""


def mask_source(real: Real) -> str:
    """The program that draws the dropout masks of one layer for all models, bit for bit those of `nets.dropout`."""
    return RANDOM_TEXT + f"typedef {real} real;\n" + _MASK.replace("STREAM", str(int(Stream.DROPOUT)))
