"""The graph of an ONNX file while it is written: nodes, constants, and the messages that they become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nets import protobuf
from nets.export import little_endian

_TYPES = {"float32": 1, "int64": 7, "float64": 11}
FLOAT, INTEGER, DOUBLE = _TYPES.values()
"""What a Cast may be `to`."""


@dataclass(frozen=True, eq=False)
class _Values:
    """The values of a tensor, turned into bytes when they are written."""

    array: NDArray[Any]
    dtype: str

    def __len__(self) -> int:
        return self.array.size * np.dtype(self.dtype).itemsize


Pieces = list["bytes | _Values"]
"""A message in parts, so that large tensors are never copied whole."""


def in_bytes(pieces: Pieces) -> Iterator[bytes]:
    """What stands in the file, one after another."""
    for piece in pieces:
        yield from (piece,) if isinstance(piece, bytes) else little_endian(piece.array, piece.dtype)


class Graph:
    """Nodes and constants in order; names are counted."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: Pieces = []
        self._count = 0

    def _new(self) -> str:
        self._count += 1
        return f"t{self._count}"

    def node(self, operator: str, arguments: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Append an operator; returns the name of its result."""
        name = output or self._new()
        message = b"".join(protobuf.text(1, argument) for argument in arguments)
        message += protobuf.text(2, name) + protobuf.text(4, operator)
        for key, value in attributes.items():
            written = protobuf.integer(3, value) if isinstance(value, int) else protobuf.text(4, value)
            kind = protobuf.integer(20, 2 if isinstance(value, int) else 3)
            message += protobuf.content(5, protobuf.text(1, key) + written + kind)
        self._nodes.append(protobuf.content(1, message))
        return name

    def constant(self, value: Any, dtype: str) -> str:
        """A tensor that the file holds; returns its name."""
        name, values = self._new(), _Values(np.asarray(value), dtype)
        message = b"".join(protobuf.integer(1, length) for length in values.array.shape)
        message += protobuf.integer(2, _TYPES[dtype]) + protobuf.text(8, name) + protobuf.head(9, len(values))
        self._constants += [protobuf.head(5, len(message) + len(values)) + message, values]
        return name

    def message(self, n_columns: int, outputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> Pieces:
        """The graph as a message; outputs with their types and their shapes behind n."""
        ends = protobuf.content(11, _value("x", "float64", (n_columns,)))
        ends += b"".join(protobuf.content(12, _value(name, *kind)) for name, kind in outputs.items())
        return [*self._nodes, protobuf.text(2, "mlpq"), *self._constants, ends]


def _value(name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    """A named input or output (n, *shape)."""
    lengths = [protobuf.text(2, "n"), *(protobuf.integer(1, length) for length in shape)]
    dims = b"".join(protobuf.content(1, length) for length in lengths)
    tensor = protobuf.integer(1, _TYPES[dtype]) + protobuf.content(2, dims)
    return protobuf.text(1, name) + protobuf.content(2, protobuf.content(1, tensor))
