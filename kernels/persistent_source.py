"""Writes the persistent kernels, one that trains a net and one that measures it, each as one CUDA program.

The net's constants come first, then the building blocks of `cuda/persistent.cuh`, the layers in order, the kernel.
Activations come from the same expressions as everywhere, optimizers from `updates`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from kernels.c_source import Real, assignments, literal
from kernels.fused_source import LossProgram
from kernels.operations import Operation
from kernels.persistent import PersistentPlan
from kernels.updates import UpdateRule

SYMBOL: Final = "train"
MEASURE_SYMBOL: Final = "measure"

Hits = Literal["SQUARES", "SIGN", "CODE", "LARGEST"]
"""How hits are counted: squared distances; one score's sign; the largest score against a code, or a largest value."""

_REAL: Final[dict[str, Real]] = {"f": "float", "d": "double"}
_CUDA: Final = Path(__file__).parent / "cuda"


@dataclass(frozen=True, eq=False)
class Rules:
    """What a program computes beside its shape: activations with their numbers, loss, optimizer."""

    activations: Sequence[tuple[Operation, Mapping[str, float]]]
    loss: LossProgram
    loss_is_mean: bool
    update: UpdateRule
    row_weights: bool


def source(plan: PersistentPlan, rules: Rules) -> str:
    """The CUDA program that trains. It needs nothing but itself; a host compiler takes it behind a shim."""
    return _program(plan, rules, _train_source(len(plan.layers)), "persistent_train.cuh")


def measure_source(plan: PersistentPlan, rules: Rules, hits: Hits) -> str:
    """The CUDA program that measures: losses, and `hits`."""
    kinds = ", ".join(get_args(Hits))
    constants = f"enum {{ {kinds} }};\nconstexpr int HITS = {hits};\ntypedef Layer{len(plan.layers)} LastLayer;\n"
    return _program(plan, rules, constants + _forward_source(len(plan.layers)), "persistent_measure.cuh")


def _program(plan: PersistentPlan, rules: Rules, net: str, kernel: str) -> str:
    real = _REAL[plan.dtype.char]
    layers = [_layer_source(plan, number, rules, real) for number in range(1, len(plan.layers) + 1)]
    return "\n".join(
        [
            _SHARED_MEMORY,
            rules.loss.text(real),
            *_constants(plan, rules, real),
            *layers,
            _update_source(rules.update, real),
            (_CUDA / "persistent.cuh").read_text("utf-8"),
            _carry_source(len(plan.layers)),
            net,
            (_CUDA / kernel).read_text("utf-8"),
        ]
    )


_SHARED_MEMORY: Final = """#ifdef __CUDA_ARCH__
extern __shared__ __align__(16) unsigned char SHARED_MEMORY[];
#endif
"""


def _constants(plan: PersistentPlan, rules: Rules, real: Real) -> list[str]:
    integers = {
        "THREADS": plan.threads,
        "LANES": plan.lanes,
        "BATCH": plan.batch,
        "PARAMETERS": plan.parameters,
        "TARGETS": plan.n_targets,
        "WEIGHTS": plan.weights,
        "INPUTS_AT": plan.inputs_at,
        "INPUTS": plan.inputs,
        "TARGETS_AT": plan.targets_at,
        "SLOTS": len(rules.update.slots),
        "RATES": len(rules.update.rates),
        "HYPER": len(rules.update.hyper) + 1,
    }
    truths = {
        "BIAS": plan.bias,
        "SLOTS_SHARED": plan.slots_shared,
        "LOSS_IS_MEAN": rules.loss_is_mean,
        "ROW_WEIGHTS": rules.row_weights,
    }
    return [
        *(f"constexpr int {name} = {value};" for name, value in integers.items()),
        *(f"constexpr bool {name} = {str(value).lower()};" for name, value in truths.items()),
        f"constexpr real LOSS_OPTION = {literal(rules.loss.option, real)};",
        "template <int DOWN, int ACROSS> struct Tile;",
    ]


_PLACES: Final = (
    "inputs",
    "outputs",
    "rows",
    "flat",
    "weights",
    "weights_stride",
    "below",
    "below_stride",
    "below_delta",
    "below_delta_stride",
    "above",
    "above_stride",
    "delta",
    "delta_stride",
)


def _layer_source(plan: PersistentPlan, number: int, rules: Rules, real: Real) -> str:
    layer = plan.layers[number - 1]
    lines = [f"struct Layer{number} {{"]
    for name in _PLACES:
        value = getattr(layer, name)
        lines.append(f"  static constexpr int {name} = {-1 if value is None else value};")
    for name in ("forward", "backward", "update"):
        down, across = getattr(layer, name)
        lines.append(f"  typedef Tile<{down}, {across}> {name.capitalize()};")
    lines.append("  static __device__ __forceinline__ void activate(const real in_x, real& in_y, real& slope) {")
    if layer.above is None:
        lines.append("    in_y = slope = in_x;")
    else:
        lines += _activation_source(rules.activations[number - 1], real)
    return "\n".join([*lines, "  }", "};"])


def _activation_source(activation: tuple[Operation, Mapping[str, float]], real: Real) -> list[str]:
    operation, numbers = activation
    used = {*operation.value_expression.names, *operation.gradient_expression.names}
    value = assignments(operation.value_expression, real, "in_y")
    slope = assignments(operation.gradient_expression, real, "slope")
    return [
        *(f"    const real in_{name} = {literal(numbers[name], real)};" for name in numbers if name in used),
        f"    {{ {_one_line(value)} }}",
        f"    {{ {_one_line(slope)} }}",
    ]


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _update_source(rule: UpdateRule, real: Real) -> str:
    """`descend`: the optimizer's rule for one parameter and its slots."""
    assigned = {target for target, _ in rule.steps}
    lines = [
        "__device__ __forceinline__ void descend(",
        "    real& parameter, real in_gradient, const real in_decay, real* slots, const real* numbers) {",
        "  real in_parameter = parameter;",
    ]
    lines += [f"  real in_{slot} = slots[{k}];" for k, slot in enumerate(rule.slots)]
    lines += [f"  const real in_{name} = numbers[{k}];" for k, name in enumerate(rule.numbers[:-1])]
    for target, expression in rule.steps:
        lines.append(f"  {{ {_one_line(assignments(expression, real, f'in_{target}'))} }}")
    lines.append("  parameter = in_parameter;")
    lines += [f"  slots[{k}] = in_{slot};" for k, slot in enumerate(rule.slots) if slot in assigned]
    return "\n".join([*lines, "}"])


_BARRIER: Final = "  __syncthreads();"


def _carry_source(n_layers: int) -> str:
    """All layers' parameters, in or out."""
    carries = [f"  carry<Layer{number}, IN, PARTS>(memory, global, stride);" for number in range(1, n_layers + 1)]
    head = "__device__ __forceinline__ void carry_net(real* memory, real* global, offset stride) {"
    return "\n".join(["template <bool IN, int PARTS>", head, *carries, "}"])


def _forward_source(n_layers: int) -> str:
    """`forward_pass`: from the inputs to the scores."""
    lines = ["__device__ __forceinline__ void forward_pass(real* memory, const Step& step) {"]
    for number in range(1, n_layers + 1):
        lines += [f"  forward<Layer{number}>(memory, step);", _BARRIER]
    return "\n".join([*lines, "}"])


def _train_source(n_layers: int) -> str:
    """`train_step`: forward, loss, and backward with the updates."""
    lines = [
        _forward_source(n_layers),
        "__device__ __forceinline__ void train_step(real* memory, const Step& step, const Slots& slots) {",
        "  forward_pass(memory, step);",
        f"  loss<Layer{n_layers}>(memory, step);",
        _BARRIER,
    ]
    for number in range(n_layers, 0, -1):
        if number > 1:  # the weights are read before they change; the layer below reads none of what changes
            lines += [f"  backward<Layer{number}>(memory);", _BARRIER]
        lines.append(f"  update<Layer{number}>(memory, step, slots);")
    return "\n".join([*lines, "}"])
