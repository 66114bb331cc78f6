"""What a row of the registry of featurisers is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nets.options import Option
from nets.table import Image

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]
Settings = Mapping[str, Any]
"""Every setting of a row, validated."""
Shape = tuple[int, int, int]
"""Height, width and channels of an image."""


class Operations(Protocol):
    """What a featuriser may do with arrays, beside + - * / @, comparisons and abs; see `numpy_operations`."""

    @staticmethod
    def take(x: Any, places: NDArray[np.int64]) -> Any: ...  # noqa: D102
    @staticmethod
    def reshape(x: Any, width: int) -> Any: ...  # noqa: D102
    @staticmethod
    def where(condition: Any, left: Any, right: Any) -> Any: ...  # noqa: D102
    @staticmethod
    def maximum(left: Any, right: Any) -> Any: ...  # noqa: D102
    @staticmethod
    def minimum(left: Any, right: Any) -> Any: ...  # noqa: D102
    @staticmethod
    def floor(x: Any) -> Any: ...  # noqa: D102
    @staticmethod
    def sqrt(x: Any) -> Any: ...  # noqa: D102
    @staticmethod
    def argmax(x: Any) -> Any: ...  # noqa: D102
    @staticmethod
    def histogram(codes: Any, votes: Any, size: int) -> Any: ...  # noqa: D102


Measure = Callable[[Any, Any, Shape, Settings, Arrays], Any]
"""(operations, x (n, pixels·channels), shape, settings, fitted arrays) -> (n, width)."""


@dataclass(frozen=True)
class Sample:
    """The training rows that a featuriser may learn from.

    `read` gives the images (n, pixels·channels) of sorted places in 0..n_rows-1, float64, scaled to [0, 1].
    """

    read: Callable[[NDArray[np.int64]], Floats]
    n_rows: int
    shape: Shape
    seed: int


@dataclass(frozen=True)
class Featuriser:
    """One featuriser.

    `measure` must stand alone: it sees the operations, its arguments, NumPy as `np` for what is no data, and the
    functions in `uses`, for its text is written into `predict.py`. None stands for the inputs without a featuriser.
    """

    name: str
    doc: str
    source: str
    width: Callable[[Image, Settings], int]
    """Inputs that it makes of one image."""
    measure: Measure | None = None
    options: tuple[Option, ...] = ()
    uses: tuple[Callable[..., Any], ...] = ()
    held: Callable[[Image, Settings], int] = lambda image, _: image.pixels
    """Numbers in the largest array that it needs for one image."""
    work: Callable[[Image, Settings], int] = lambda image, _: 100 * image.pixels
    """Multiplications, about, that one image costs."""
    fit: Callable[[Sample, Settings], dict[str, NDArray[Any]]] | None = None
    """What it learns from training rows."""
    refuses: Callable[[Image, Settings], tuple[str, str] | None] = lambda *_: None
    """A setting that does not fit the images, and why."""
