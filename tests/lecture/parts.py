"""What the rows of the lecture share in tests, beside what `nets.lecture` computes with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nets import resolve
from nets.lecture.flat import check_net, table_for
from nets.lecture.play import Tensors, layout_of, numerical_gradient, play_net, random_parameters
from nets.losses import LOSSES
from tests.nets.support import spec_for

__all__ = [
    "Tensors",
    "assert_close",
    "check_net",
    "layout_of",
    "numerical_gradient",
    "outputs_of",
    "play_net",
    "random_parameters",
    "table_for",
    "targets_for",
]


def outputs_of(loss: str) -> int:
    """Scores that a net needs for this loss on `table_for(loss)`."""
    info = table_for(loss).info
    return resolve.layout_of(spec_for(table_for(loss), loss=loss), info.n_inputs, info.n_outputs).widths[-1]


def targets_for(loss: str, rows: int, seed: int = 0) -> np.ndarray:
    """Random class codes (rows,), or 0 and 1 as values (rows, outputs)."""
    drawn = np.random.default_rng(seed).integers(2, size=(rows, outputs_of(loss)))
    return drawn[:, 0] if LOSSES[loss].target == "class" else drawn.astype(float)


def assert_close(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], **tolerance: float) -> None:
    """The same tensors: names, shapes, numbers."""
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.shape == expected[name].shape, name
        np.testing.assert_allclose(array, expected[name], err_msg=name, **{"rtol": 1e-12, "atol": 1e-13, **tolerance})
