"""The plan of the persistent kernel: one thread block trains one model, whole chunks of steps per launch.

`fits` says whether a net and its batch fit the shared memory of one multiprocessor, where everything lies in it and
how many threads work on it. `persistent_source` writes the program.

Axis legend: B batch, I in, O out, P parameters of one model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Protocol

import numpy as np

SHARED_BYTES: Final = {"80": 163 * 1024, "90": 227 * 1024}
"""Shared memory that one block may ask for, by compute capability (CUDA C programming guide, table 21)."""

MAX_LAYERS: Final = 16
MAX_THREADS: Final = 512
_WARP: Final = 32
_ENOUGH_TILES: Final = 128
"""Tiles of a product that keep a multiprocessor busy: one warp for each of its four schedulers."""
_TILES: Final = ((4, 8), (4, 4), (2, 8), (2, 4), (1, 4), (1, 2))
WORD_BYTES: Final = 16
"""What a thread reads of shared memory at once; rows begin at multiples of it."""

Tile = tuple[int, int]


class Layout(Protocol):
    """Widths from inputs to outputs, and whether layers have biases."""

    @property
    def widths(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def bias(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class LayerPlan:
    """One layer's places: `flat` in the parameters (P,), the others in shared memory, all in numbers.

    `below` are its inputs (B, below_stride), `above` its activations, `delta` dL/dz of its outputs (B, delta_stride).
    `below` is None for the first layer, whose inputs come in two buffers; the last layer's scores lie at `delta`.
    """

    inputs: int
    outputs: int
    rows: int
    flat: int
    weights: int
    weights_stride: int
    below: int | None
    below_stride: int
    below_delta: int | None
    below_delta_stride: int
    above: int | None
    above_stride: int
    delta: int
    delta_stride: int
    forward: Tile
    backward: Tile
    update: Tile


@dataclass(frozen=True)
class PersistentPlan:
    """Where everything lies in a block's shared memory, and how many threads work on it.

    `weights` are the numbers that all padded blocks [W; b] take, `inputs` those of one batch's inputs.
    `slots_shared` tells whether the optimizer's state has a place beside the weights.
    """

    layers: tuple[LayerPlan, ...]
    bias: bool
    batch: int
    dtype: np.dtype[Any]
    n_targets: int
    slots_shared: bool
    threads: int
    weights: int
    inputs_at: int
    inputs: int
    targets_at: int
    shared_bytes: int

    @property
    def parameters(self) -> int:
        """P."""
        last = self.layers[-1]
        return last.flat + last.rows * last.outputs

    @property
    def lanes(self) -> int:
        """Neighbouring threads that bring one row of the inputs."""
        return min(_WARP, 1 << (self.layers[0].inputs - 1).bit_length())


def fits(
    layout: Layout,
    batch: int,
    dtype: np.dtype[Any],
    *,
    n_slots: int = 1,
    n_targets: int = 1,
    shared_bytes: int = SHARED_BYTES["90"],
) -> PersistentPlan | None:
    """The plan for a net on a device that gives a block `shared_bytes`; None where the net does not fit.

    `n_slots` is the optimizer's state arrays, `n_targets` the numbers of one row's target (1 for a class).
    The slots move to device memory if that makes the net fit.
    """
    if len(layout.widths) - 1 > MAX_LAYERS:
        return None
    for shared_slots in sorted({n_slots, 0}, reverse=True):
        plan = _plan(layout, batch, np.dtype(dtype), shared_slots, n_targets)
        if plan.shared_bytes <= shared_bytes:
            return plan
    return None


def _padded(width: int, word: int) -> int:
    """Numbers from row to row: an odd count of words of `word` numbers, so that neighbouring rows share no bank."""
    return (-(-width // word) | 1) * word


def _tile(rows: int, columns: int) -> Tile:
    """The largest tile that leaves enough of them; the fewer values a thread reads for a sum, the better."""
    for down, across in _TILES:
        if _count(rows, columns, (down, across)) >= _ENOUGH_TILES:
            return down, across
    return 1, 1


def _count(rows: int, columns: int, tile: Tile) -> int:
    return -(-rows // tile[0]) * -(-columns // tile[1])


def _plan(layout: Layout, batch: int, dtype: np.dtype[Any], shared_slots: int, n_targets: int) -> PersistentPlan:
    widths, extra, word = layout.widths, int(layout.bias), WORD_BYTES // dtype.itemsize
    weights = sum((i + extra) * _padded(o, word) for i, o in pairwise(widths))
    inputs = batch * _padded(widths[0], word)
    inputs_at = weights * (1 + shared_slots)
    above, at = _places([batch * _padded(width, word) for width in widths[1:-1]], inputs_at + 2 * inputs)
    delta, at = _places([batch * _padded(width, word) for width in widths[1:]], at)
    layers = _layers(layout, batch, word, above, delta)
    tiles = max(n for layer in layers for n in _tile_counts(layer, batch))
    # two buffers of targets (a class code takes 4 bytes, no more than a value) and of row numbers
    shared_bytes = at * dtype.itemsize + 2 * batch * (n_targets * dtype.itemsize + 4)
    return PersistentPlan(
        layers=layers,
        bias=layout.bias,
        batch=batch,
        dtype=dtype,
        n_targets=n_targets,
        slots_shared=shared_slots > 0,
        threads=min(MAX_THREADS, -(-tiles // _WARP) * _WARP),
        weights=weights,
        inputs_at=inputs_at,
        inputs=inputs,
        targets_at=at,
        shared_bytes=-(-shared_bytes // WORD_BYTES) * WORD_BYTES,
    )


def _places(sizes: Sequence[int], at: int) -> tuple[list[int], int]:
    """Where regions of these sizes begin, one behind the other from `at`, and where the last one ends."""
    places = []
    for size in sizes:
        places.append(at)
        at += size
    return places, at


def _layers(layout: Layout, batch: int, word: int, above: Sequence[int], delta: Sequence[int]) -> tuple[LayerPlan, ...]:
    """Activations of hidden layer l begin at above[l], deltas of layer l at delta[l]."""
    extra, pairs = int(layout.bias), list(pairwise(layout.widths))
    flat, _ = _places([(i + extra) * o for i, o in pairs], 0)
    weights, _ = _places([(i + extra) * _padded(o, word) for i, o in pairs], 0)
    return tuple(
        LayerPlan(
            inputs=i,
            outputs=o,
            rows=i + extra,
            flat=flat[index],
            weights=weights[index],
            weights_stride=_padded(o, word),
            below=above[index - 1] if index else None,
            below_stride=_padded(i, word),
            below_delta=delta[index - 1] if index else None,
            below_delta_stride=_padded(i, word),
            above=above[index] if index < len(above) else None,
            above_stride=_padded(o, word),
            delta=delta[index],
            delta_stride=_padded(o, word),
            forward=_tile(batch, o),
            backward=_tile(batch, i),
            update=_tile(i, o),
        )
        for index, (i, o) in enumerate(pairs)
    )


def _tile_counts(layer: LayerPlan, batch: int) -> list[int]:
    counts = [
        _count(batch, layer.outputs, layer.forward),
        _count(layer.inputs, layer.outputs, layer.update),
        batch,  # rows of the loss
    ]
    return counts if layer.below is None else [*counts, _count(batch, layer.inputs, layer.backward)]
