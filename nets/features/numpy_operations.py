"""The array operations that featurisers are written in, as NumPy does them; `predict.py` holds this class's text."""

from __future__ import annotations

from typing import Any

import numpy as np


class NumpyOperations:
    """Arrays (n, ...): n images. What stands beside an array may be a number or an array that broadcasts."""

    where, maximum, minimum = staticmethod(np.where), staticmethod(np.maximum), staticmethod(np.minimum)
    floor, sqrt = staticmethod(np.floor), staticmethod(np.sqrt)

    @staticmethod
    def take(x: Any, places: Any) -> Any:
        """x (n, K) at places (k,) -> (n, k)."""
        return np.take(x, places, axis=1)

    @staticmethod
    def reshape(x: Any, width: int) -> Any:
        """The same numbers in rows of this width."""
        return np.reshape(x, (-1, width))

    @staticmethod
    def argmax(x: Any) -> Any:
        """The first place of the largest number along the last axis."""
        return np.argmax(x, axis=-1)

    @staticmethod
    def histogram(codes: Any, votes: Any, size: int) -> Any:
        """Sum of votes (n, P) or one number, for each of the codes 0..size-1 in codes (n, P): (n, size)."""
        flat = codes.astype(np.int64) + np.arange(len(codes))[:, None] * size
        weights = np.broadcast_to(votes, codes.shape).ravel()
        return np.bincount(flat.ravel(), weights, len(codes) * size).reshape(-1, size)
