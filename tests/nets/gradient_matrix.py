"""Gradients of every engine, read off one step, beside central differences of a loss that shares no code with them.

A step of plain SGD with rate η moves the parameters by -η·gradient; with a large η that is the gradient to the
precision's last bits. Rows weigh differently, so that the upstream gradient of the net is random, not 1/B.

Axis legend: R rows, P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from kernels.cupy_backend import elementwise_kernel, gather_kernel
from kernels.operations import ACTIVATIONS, Operation
from nets.compiled_engine import CompiledEngine
from nets.engine import LayeredEngine
from nets.losses import LOSSES
from nets.member import Member
from nets.persistent_engine import PersistentEngine
from nets.persistent_program import program_for
from nets.prepare import PreparedData
from nets.recorded_engine import RecordedEngine
from nets.table import Table
from tests.kernels.block_support import BlockBackend, HostCompiler
from tests.kernels.cuda_support import STRIDED, HostLibrary, Kernel
from tests.kernels.recorder_support import RecordingBackend
from tests.nets import reference
from tests.nets.recorded_parts import engine_of
from tests.nets.support import BACKEND, spec_for

RATE = 1024.0
ROWS, INPUTS = 13, 4
PRECISIONS = ("float32", "float64")
GATES = {"float32": 3e-5, "float64": 1e-7}
"""Largest difference, relative to the tensor's largest element: rounding, and that of central differences."""

Tensors = dict[str, np.ndarray]


class HostKernels(BlockBackend):
    """What the CuPy backend launches, run on the host: its elementwise kernels, its gather, its fused programs."""

    def __init__(self, operations: Mapping[str, Operation] = ACTIVATIONS, compiler: HostCompiler | None = None) -> None:
        super().__init__(compiler)
        self._library = _library_of(tuple(operations.values()))

    def activate(self, operation: Operation, z: Any, parameters: Mapping[str, float], out: Any) -> None:
        self._launch(operation, "value", {"x": z}, parameters, out)

    def backpropagate(
        self, operation: Operation, z: Any, a: Any, upstream: Any, parameters: Mapping[str, float], out: Any
    ) -> None:
        self._launch(operation, "gradient", {"x": z, "y": a, "upstream": upstream}, parameters, out)

    def take_rows(self, source: Any, indices: Any, out: Any) -> None:
        if out.ndim == 3 and source.dtype.kind == "f":
            kernel = Kernel(gather_kernel(out.dtype), ("width",), STRIDED)
            self._library.run(kernel, [source, indices[..., None], source.shape[1]], out)
        else:
            super().take_rows(source, indices, out)

    def _launch(
        self, operation: Operation, which: str, arrays: Mapping[str, Any], parameters: Mapping[str, float], out: Any
    ) -> None:
        kernel = _kernel(operation, which, out.dtype.name)
        expression = operation.value_expression if which == "value" else operation.pullback_expression
        given = {**arrays, **parameters}
        self._library.run(kernel, [given[name] for name in expression.names], out)


def _kernel(operation: Operation, which: str, dtype: str) -> Kernel:
    expression = operation.value_expression if which == "value" else operation.pullback_expression
    scalars = tuple(f"in_{name}" for name in operation.parameter_names)
    return Kernel(elementwise_kernel(f"{operation.name}_{which}", expression, np.dtype(dtype)), scalars, STRIDED)


@lru_cache(maxsize=4)
def _library_of(operations: tuple[Operation, ...]) -> HostLibrary:
    kernels = [
        _kernel(row, which, dtype) for row in operations for which in ("value", "gradient") for dtype in PRECISIONS
    ]
    kernels += [Kernel(gather_kernel(np.dtype(dtype)), ("width",), STRIDED) for dtype in PRECISIONS]
    return HostLibrary(kernels, Path(_FOLDER.name))


_FOLDER = TemporaryDirectory(prefix="mlpq-matrix-")

Engines = Mapping[str, Callable[[Member], Any]]


def persistent(member: Member, compiler: HostCompiler | None = None) -> PersistentEngine:
    """The kernel's own source on the host."""
    backend = BlockBackend(compiler)
    program = program_for(member, backend)
    assert program is not None
    return PersistentEngine([member], backend, program)


def recorded(member: Member, compiler: HostCompiler | None = None) -> RecordedEngine:
    """Recorded steps, whose kernels and products run on the host."""
    return engine_of(member, backend=RecordingBackend(compiler))


ENGINES: Engines = {
    "numpy": lambda member: LayeredEngine([member], BACKEND),
    "cupy kernels": lambda member: LayeredEngine([member], HostKernels()),
    "compiled": lambda member: CompiledEngine([member]),
    "persistent": persistent,
    "recorded": recorded,
}


def member_of(
    activations: Sequence[str], loss: str, precision: str, seed: int = 0, width: int = 5, **net: Any
) -> Member:
    """A net of these hidden layers on random rows, with random parameters and random weights of rows."""
    rng = np.random.default_rng(seed)
    classes = 2 if LOSSES[loss].one_output else 3
    x, y = rng.normal(size=(ROWS, INPUTS)), rng.permutation(np.arange(ROWS) % classes)
    spec = spec_for(
        Table.from_arrays(x, y, classes=[f"class {c}" for c in range(classes)]),
        net={"hidden": [width] * len(activations), "activation": list(activations), **net},
        loss=loss,
        optimizer={"name": "sgd", "learning_rate": RATE, "momentum": 0.0, "l2": 0.0},
        schedule="constant",
        training={"batch_size": ROWS, "validation_fraction": 0.0, "epochs": 3, "precision": precision},
    )
    weight = rng.uniform(0.2, 2.0, ROWS) * (np.arange(ROWS) != 4)
    dtype = np.dtype(precision)
    data = PreparedData(x.astype(dtype), y, x[:0].astype(dtype), y[:0], INPUTS, classes, "classification", None, weight)
    member = Member(spec, data)
    scale = 1.6 / np.sqrt(width) if len(activations) > 3 else 0.7
    parameters = (rng.normal(size=member.layout.count) * scale).astype(dtype)
    return replace(member, state={"parameters": parameters})


def stepped(engine: Any, member: Member) -> Tensors:
    """The gradient that one step of the engine follows."""
    assert member.state is not None
    before = member.state["parameters"].astype(np.float64)
    with np.errstate(all="ignore"):
        engine.advance(1)
    return member.layout.named((before - engine.state(0)["parameters"].astype(np.float64)) / RATE)


def differences(member: Member, h: float = 1e-6) -> Tensors:
    """Central differences of the weighted mean loss in float64, by `tests.nets.reference` alone."""
    assert member.state is not None
    flat = member.state["parameters"].astype(np.float64)
    named, data = member.layout.named(flat), member.data
    x, weight = data.x_train.astype(np.float64), data.row_weight
    names, loss = [one.name for one in member.spec.net.activation], member.spec.loss.name

    def objective() -> float:
        a = x
        for layer in range(1, len(names) + 2):
            z = a @ named[f"W{layer}"] + named.get(f"b{layer}", 0.0)
            a = reference.ACTIVATIONS[names[layer - 1]][0](z) if layer <= len(names) else z
        values, _ = reference.loss_and_slope(loss, a, data.y_train)
        return float((weight * values).sum() / ROWS)

    found = np.zeros(len(flat))
    for place, here in enumerate(flat):
        flat[place] = here + h
        above = objective()
        flat[place] = here - h
        found[place] = (above - objective()) / (2 * h)
        flat[place] = here
    return member.layout.named(found)


def worst(found: Tensors, expected: Tensors) -> dict[str, float]:
    """Of every tensor the largest difference, relative to its largest element."""
    assert found.keys() == expected.keys()
    assert all(np.isfinite(array).all() for array in found.values())
    return {
        name: float(np.abs(array - expected[name]).max() / np.abs(expected[name]).max())
        for name, array in found.items()
    }
