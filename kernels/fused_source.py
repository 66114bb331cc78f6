"""Elementwise CUDA programs of the layered path: a loss with its gradient, an optimizer's whole update, dropout masks.

Losses come from `cuda/losses.cuh`, updates from `updates`: the same text that the persistent kernel is made of.
Masks come from `cuda/random.cuh`, the generator of `random`.

Axis legend: M models, C scores, B samples, P parameters, H units.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kernels.c_source import Real, assignments, literal
from kernels.random import Stream
from kernels.updates import UpdateRule

LOSS_SYMBOL: Final = "loss_step"
UPDATE_SYMBOL: Final = "update_step"
MASK_SYMBOL: Final = "mask_step"
THREADS: Final = 256

# Struct of `cuda/losses.cuh`, and the option that it takes.
LOSSES: Final[dict[str, tuple[str, str | None]]] = {
    "softmax": ("Softmax", "label_smoothing"),
    "svm": ("Svm", "margin"),
    "squared_error": ("SquaredError", None),
    "huber": ("Huber", "delta"),
    "absolute_error": ("AbsoluteError", None),
    "binary_cross_entropy": ("BinaryCrossEntropy", None),
}
MASK_WORDS: Final = 8
"""Numbers of a mask that one thread draws: the halves of a generator's block."""
_CUDA: Final = Path(__file__).parent / "cuda"
RANDOM_TEXT: Final = (_CUDA / "random.cuh").read_text("utf-8")
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


def loss_source(name: str, option: float, real: Real) -> str:
    """The program of one loss; `option` is what the struct in `LOSSES` takes."""
    struct = LOSSES[name][0]
    by_class = struct in {"Softmax", "Svm"}
    given = "long long" if by_class else "real"
    body = _LOSS.replace("TARGET", _CLASS if by_class else _VALUES).replace("OPTION", literal(option, real))
    head = f"typedef {real} real;\ntypedef {struct}<real> Loss;\ntypedef {given} given_type;\n"
    return LOSSES_TEXT + head + body


def update_source(rule: UpdateRule, real: Real) -> str:
    """The program of one update: arrays (M, P), then every number (M,) with the distance from model to model.

    `decays` says whether `decay` (M, P) is read.
    """
    numbers = rule.numbers[:-1]
    arrays = [f"real* {name}" for name in ("parameter", "gradient", "decay", *rule.slots)]
    columns = [f"const real* {name}, int {name}_stride" for name in numbers]
    lines = [f"typedef {real} real;", f'extern "C" __global__ void {UPDATE_SYMBOL}(']
    lines.append(f"    long long size, int parameters, int decays, {', '.join([*arrays, *columns])}) {{")
    lines += [
        "  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size;",
        "       i += (long long)gridDim.x * blockDim.x) {",
        "    const long long model = i / parameters;",
        "    real in_parameter = parameter[i], in_gradient = gradient[i];",
        "    const real in_decay = decays ? decay[i] : real(0);",
    ]
    lines += [f"    real in_{slot} = {slot}[i];" for slot in rule.slots]
    lines += [f"    const real in_{name} = {name}[model * {name}_stride];" for name in numbers]
    for target, expression in rule.steps:
        lines.append(f"    {{ {' '.join(assignments(expression, real, f'in_{target}').splitlines())} }}")
    lines += [f"    {name}[i] = in_{name};" for name in ("parameter", *rule.slots)]
    return "\n".join([*lines, "    (void)in_gradient;", "  }", "}", ""])


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
