"""Where everything of a recorded step lies: flat buffers, parts of them, and the matrices that products read.

Axis legend: M models, B batch, I in, O out, N steps of a chunk, W numbers of a step. Activations are feature-major
(M, H, B), as in `network`; a row of ones meets the biases.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np

from kernels import step_source
from kernels.step_plan import Buffer, Matrix, Place, row_major
from nets.step_shape import StepShape

CLIP_BLOCKS: Final = 32
"""Most blocks that measure one model's gradient."""
ROW_BYTES: Final = 16
"""Rows of the inputs begin at multiples of it, which the fastest products ask for."""


def turn(name: str, step: int) -> str:
    """The one of two buffers that a step uses: its batch comes while the step before still reads its own."""
    return f"{name} {step % 2}"


def _twice(name: str, dtype: str, size: int) -> dict[str, tuple[str, int]]:
    return {turn(name, step): (dtype, size) for step in range(2)}


class StepArrays:
    """The arrays of a stack's steps. `buffers` are all of them, by name."""

    def __init__(self, shape: StepShape, models: int, capacity: int, steps: int) -> None:
        self.shape, self.models = shape, models
        self._kept = shape.dtype.name
        self._read = "uint16" if shape.arithmetic == "bfloat16" else self._kept
        self._row = ROW_BYTES // np.dtype(self._read).itemsize
        self.buffers = self._sized(capacity, steps)

    @cached_property
    def narrow(self) -> bool:
        """Whether products read copies that are rounded."""
        return self._read != self._kept

    def _sized(self, capacity: int, steps: int) -> dict[str, Buffer]:
        """Every buffer by its name."""
        shape, models, kept, read = self.shape, self.models, self._kept, self._read
        layout, batch = shape.layout, shape.batch
        samples, count = models * batch, models * layout.count
        given = "int64" if shape.loss.by_class else kept
        found = {
            "sources": ("int64", 2),
            "cursor": ("int64", 1),
            "first": ("uint64", models),
            "rows": ("int32", capacity * samples),
            "numbers": (kept, capacity * models * shape.width),
            "losses": ("float64", capacity * models),
            **_twice("now", kept, models * shape.width),
            **_twice("steps", "uint64", models),
            **_twice("inputs", read, samples * self.input_leading),
            **_twice("targets", given, samples * shape.targets),
            "records": (kept, steps * shape.loss.records * samples),
            "parameters": (kept, count),
            "gradient": (kept, count),
            **dict.fromkeys(shape.rule.slots, (kept, count)),
        }
        if shape.rule.hyper:
            found["hyper"] = (kept, models * len(shape.rule.hyper))
        if shape.decays:
            found["decay"] = (kept, count)
        if self.narrow:
            found["narrowed"] = (read, count)
            found["narrow_scores"] = (read, samples * layout.widths[-1])
        if shape.clips:
            found |= {"limits": (kept, models), "parts": (kept, 2 * models * self.clip_blocks)}
        if shape.dropout:
            found |= {"seeds": ("uint64", models), "stays": ("uint64", models), "scales": (kept, models)}
        for layer, width in enumerate(layout.widths[1:], start=1):
            found[f"z{layer}"] = (kept, samples * width)  # of the last layer the scores
            if layer < layout.n_layers:
                found[f"a{layer}"] = (read, samples * (width + int(layout.bias)))
                found[f"upstream{layer}"] = (kept, samples * width)
                if self.narrow:
                    found[f"delta{layer}"] = (read, samples * width)
                if shape.dropout:
                    found |= _twice(f"mask{layer}", kept, samples * width)
        return {name: Buffer(name, dtype, size) for name, (dtype, size) in found.items()}

    @property
    def input_leading(self) -> int:
        """Numbers from one row of the inputs to the next."""
        return -(-self.shape.layout.rows[0] // self._row) * self._row

    @property
    def clip_blocks(self) -> int:
        """Blocks that measure one model's gradient."""
        return max(1, min(CLIP_BLOCKS, self.shape.layout.count // (8 * step_source.SUM_THREADS)))

    def whole(self, name: str) -> Place:
        """All of a buffer."""
        return self.rest(name, 0)

    def rest(self, name: str, offset: int) -> Place:
        """A buffer from `offset` on."""
        return Place(name, offset, self.buffers[name].size - offset)

    def biases(self, name: str, layer: int) -> Place:
        """A layer's biases of all models, and what is between them, in a buffer laid out as the parameters are."""
        layout = self.shape.layout
        inputs, out = layout.widths[layer - 1 : layer + 1]
        return Place(name, layout.offsets[layer - 1] + inputs * out, (self.models - 1) * layout.count + out)

    # ---- matrices, row-major, of every model

    def weights(self, layer: int, rows: int) -> Matrix:
        """The first `rows` of [W; b] (I+1, O), as products read them."""
        return self.block("narrowed" if self.narrow else "parameters", layer, rows)

    def block(self, name: str, layer: int, rows: int) -> Matrix:
        """The same of any buffer that is laid out as the parameters are."""
        layout = self.shape.layout
        out = layout.widths[layer]
        return row_major(name, layout.offsets[layer - 1], rows, out, out, layout.count)

    def features(self, name: str, rows: int, kept_rows: int) -> Matrix:
        """The first `rows` of (M, kept_rows, B)."""
        batch = self.shape.batch
        return row_major(name, 0, rows, batch, batch, kept_rows * batch)

    def below(self, layer: int, step: int) -> Matrix:
        """What a layer reads (I+1, B), as its products have it."""
        batch, rows = self.shape.batch, self.shape.product_rows(layer)
        if layer > 1:
            return self.features(f"a{layer - 1}", rows, rows)
        return row_major(turn("inputs", step), 0, batch, rows, self.input_leading, batch * self.input_leading).T

    def delta(self, layer: int) -> Matrix:
        """dL/dz of a layer (O, B), as products read it."""
        out = self.shape.layout.widths[layer]
        if layer == self.shape.layout.n_layers:
            return self.features("narrow_scores" if self.narrow else f"z{layer}", out, out)
        return self.features(f"delta{layer}" if self.narrow else f"upstream{layer}", out, out)

    def mask(self, layer: int, step: int) -> Place:
        """The masks of a layer's activations; without dropout something that nobody reads."""
        return self.whole(turn(f"mask{layer}", step) if self.shape.dropout else f"z{layer}")

    def records(self, step: int) -> Place:
        """What tells the losses of a step's samples."""
        size = self.shape.loss.records * self.models * self.shape.batch
        return Place("records", step * size, size)
