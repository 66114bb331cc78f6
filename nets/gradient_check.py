"""Always use the analytic gradient, check it numerically: on the user's own net and batch.

The analytic gradient comes from the very tapes that training plays, in float64; the numerical one from
central differences of the same loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from kernels.numpy_backend import NumpyBackend
from nets.batches import targets_of
from nets.dropout import Dropout
from nets.losses import LOSSES, Arrays
from nets.member import Member
from nets.network import Network, activations_of
from nets.parameters import RUNNING
from nets.prepare import PreparedData, prepare
from nets.spec import ResolvedSpec
from nets.table import Table
from nets.tape import play

Floats = NDArray[np.float64]
STEP = 1e-5
"""h of (L(p+h) - L(p-h)) / 2h for a parameter of size 1; scaled by the parameter's size beyond."""
TOLERANCE = 1e-6
"""Relative error up to which a gradient counts as right in float64."""
MAX_PER_TENSOR = 64
"""Parameters of one tensor that are checked: all, or as many evenly spread ones."""


@dataclass(frozen=True)
class GradientCheck:
    """Per parameter tensor the largest relative error; the losses of the rows at the weights checked and at first.

    `at_kinks` counts parameters left out because a step of size h crosses a kink (there the difference
    quotient measures no derivative). `expected_loss` is ln C where the loss has probabilities, else None.
    """

    errors: dict[str, float]
    checked: int
    at_kinks: int
    loss: float
    initial_loss: float
    expected_loss: float | None
    rows: int

    @property
    def ok(self) -> bool:
        """True if every error is within TOLERANCE."""
        return all(error <= TOLERANCE for error in self.errors.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values for the API."""
        return {
            "ok": self.ok,
            "tolerance": TOLERANCE,
            "errors": {k: v if math.isfinite(v) else None for k, v in self.errors.items()},
            "max_relative_error": max((v for v in self.errors.values() if math.isfinite(v)), default=None),
            "checked": self.checked,
            "at_kinks": self.at_kinks,
            "initial_loss": self.initial_loss if math.isfinite(self.initial_loss) else None,
            "expected_loss": self.expected_loss,
            "rows": self.rows,
        }


def gradient_check(
    spec: ResolvedSpec, table: Table, rows: int = 16, *, backend: Backend | None = None
) -> GradientCheck:
    """Check every tensor of the net at its initial weights on the first `rows` training rows, in float64."""
    training = spec.training.model_copy(update={"precision": "float64"})
    exact = spec.model_copy(update={"training": training})
    return check_prepared(exact, prepare(table, exact), rows, backend=backend)


def check_prepared(
    spec: ResolvedSpec,
    data: PreparedData,
    rows: int = 16,
    *,
    parameters: Floats | None = None,
    per_tensor: int = MAX_PER_TENSOR,
    backend: Backend | None = None,
) -> GradientCheck:
    """The same for prepared float64 data and, if given, flat parameters (P,) other than the initial ones."""
    with np.errstate(all="ignore"):  # what overflows shows up as an infinite error
        return _check(Member(spec, data), rows, parameters, per_tensor, backend or NumpyBackend())


def _check(member: Member, rows: int, parameters: Floats | None, per_tensor: int, backend: Backend) -> GradientCheck:
    data = member.data
    first = member.initial_parameters().astype(np.float64)
    flat = first.copy() if parameters is None else parameters.copy()
    probe = _Probe(member, min(rows, len(data.x_train)), backend)
    initial_loss = probe.loss(first)
    analytic = member.layout.named(probe.gradient(flat))
    loss = probe.loss(flat)
    errors, checked, at_kinks = {}, 0, 0
    for name, view in member.layout.named(flat).items():
        if name.startswith(RUNNING):
            continue  # followed, not trained
        worst = 0.0
        for index in _spread(view.size, per_tensor):
            place = np.unravel_index(index, view.shape)
            difference = probe.difference(flat, view, place)
            if difference is None:
                at_kinks += 1
                continue
            checked += 1
            gap = abs(float(analytic[name][place]) - difference)
            worst = max(worst, gap / max(abs(difference), abs(float(analytic[name][place])), probe.floor))
        errors[name] = worst
    expected = math.log(data.n_outputs) if LOSSES[member.spec.loss.name].probabilities else None
    return GradientCheck(errors, checked, at_kinks, loss, initial_loss, expected, probe.rows)


def _spread(size: int, most: int) -> list[int]:
    return sorted({int(i) for i in np.linspace(0, size - 1, min(size, most))})


class _Probe:
    """The mean loss of a batch as a function of one model's flat parameters."""

    def __init__(self, member: Member, rows: int, backend: Backend) -> None:
        data, layout = member.data, member.layout
        self.rows, self._backend = rows, backend
        self._row = LOSSES[member.spec.loss.name]
        self._parameters = backend.zeros((1, layout.count), np.float64)
        self._gradient = backend.zeros((1, layout.count), np.float64)
        activations = activations_of(member.spec.net.activation)
        spec = member.spec
        shares = backend.to_device(np.full((1, rows), 1.0 / rows)) if layout.batch_norm else None
        self._net = Network(
            backend,
            layout,
            activations,
            rows,
            self._parameters,
            self._gradient,
            dropout=spec.net.dropout > 0,
            shares=shares,
        )
        # the units that the run's first step leaves out stay out
        Dropout(backend, [spec.training.seed], [spec.net.dropout], self._net.masks).fill([0])
        self._kinks = [operation.kinks for operation, _ in activations]
        inputs = np.ones((1, rows, layout.rows[0]))
        inputs[0, :, : data.n_inputs] = data.x_train[:rows]
        self._net.inputs[...] = backend.to_device(inputs)
        self._options = member.spec.loss.options
        targets = targets_of(self._row, data, data.y_train[:rows], np.dtype(np.float64))
        self._wanted = data.y_train[:rows] if self._row.target == "class" else targets
        if self._row.target == "class":
            targets = targets * rows + np.arange(rows)[:, None]
        scale = 1.0 / rows if self._row.is_mean(self._options) else 1.0
        self._records = backend.zeros((self._row.n_records, 1, rows), np.float64)
        weights = backend.to_device(np.full((1, rows), scale))
        at = Arrays(self._net.scores, backend.to_device(targets[None]), weights, self._records)
        self._tape = self._row.bind(backend, at, self._options)
        self._scale = scale
        self.floor = 1.0

    def gradient(self, flat: Floats) -> Floats:
        """dL/dp (P,) by the training tapes."""
        loss = self.loss(flat)
        play(self._net.backward)
        gradient = self._backend.to_host(self._gradient)[0]
        # below this size a derivative drowns in the rounding of L(p+h) - L(p-h)
        self.floor = 4 * float(np.finfo(np.float64).eps) * max(1.0, abs(loss)) / (STEP * TOLERANCE)
        return np.asarray(gradient)

    def loss(self, flat: Floats) -> float:
        """L at flat (P,)."""
        self._parameters[...] = self._backend.to_device(flat[None])
        play(self._net.forward)
        self._scores = self._backend.to_host(self._net.scores)
        play(self._tape)
        values = self._row.values(self._backend.to_host(self._records))
        return float(values.sum() * self._scale)

    def difference(self, flat: Floats, view: Floats, place: tuple[Any, ...]) -> float | None:
        """(L(p+h) - L(p-h)) / 2h, or None where the step crosses a kink."""
        here = view[place]
        step = STEP * max(1.0, abs(float(here)))
        sides: list[tuple[float, list[NDArray[Any]]]] = []
        for sign in (1.0, -1.0):
            view[place] = here + sign * step
            loss = self.loss(flat)
            sides.append((loss, self._side()))
        view[place] = here
        (above, left), (below, right) = sides
        if not all(np.array_equal(a, b) for a, b in zip(left, right, strict=True)):
            return None
        return (above - below) / (2 * step)

    def _side(self) -> list[NDArray[Any]]:
        """On which side of every kink every unit is; kinks of the loss count as well."""
        sides = []
        for kinks, z in zip(self._kinks, self._net.before, strict=True):
            host = self._backend.to_host(z)
            sides += [host > kink for kink in kinks]
        if self._row.sides is not None:
            sides.append(self._row.sides(self._scores[0].T, self._wanted, self._options))
        return sides
