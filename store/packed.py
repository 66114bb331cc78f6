"""Columns of a curve as one string of bytes: a line of JSON with their names and types, then their numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import orjson

from store.thinning import Values


def pack(columns: Mapping[str, Values]) -> bytes:
    """The bytes of columns of equal length, whole numbers or floats."""
    kinds = {name: column.astype(column.dtype.newbyteorder("<")) for name, column in columns.items()}
    head = orjson.dumps({name: column.dtype.str for name, column in kinds.items()})
    return b"\n".join([head, b"".join(column.tobytes() for column in kinds.values())])


def unpack(content: bytes) -> dict[str, Values]:
    """The columns, which cannot be written to."""
    head, _, numbers = content.partition(b"\n")
    kinds = {name: np.dtype(kind) for name, kind in orjson.loads(head).items()}
    length = len(numbers) // sum(kind.itemsize for kind in kinds.values())
    columns, start = {}, 0
    for name, kind in kinds.items():
        columns[name] = np.frombuffer(numbers, kind, length, start)
        start += length * kind.itemsize
    return columns
