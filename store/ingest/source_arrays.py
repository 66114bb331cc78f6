"""Arrays inside uploaded files: declared by a header, read block by block, never unpickled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from kernels.errors import InvalidInput
from store.ingest.arrays import block_rows
from store.ingest.problems import of_file, shown

NPY_MAGIC = b"\x93NUMPY"

_HEADER_LIMIT = 10_000


@dataclass(frozen=True)
class SourceArray:
    """One array as its header declares it.

    Attributes:
        name: what messages call it.
        dtype: of the values, as they lie in the file.
        shape: lengths, all 0 or more.
        fortran_order: whether the first index runs fastest.
        open: opens the file at the first value.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    open: Callable[[], AbstractContextManager[IO[bytes]]]

    @property
    def data_bytes(self) -> int:
        """Declared size of the values."""
        return prod(self.shape) * self.dtype.itemsize

    def pieces(self) -> Iterator[bytes]:
        """The values in pieces that hold whole rows (of a C-ordered array); exactly the declared bytes."""
        row_bytes = max(1, prod(self.shape[1:]) * self.dtype.itemsize)
        step = block_rows(row_bytes) * row_bytes
        with self.open() as stream:
            left = self.data_bytes
            while left:
                piece = stream.read(min(step, left))
                if len(piece) != min(step, left):
                    raise of_file(f"array {shown(self.name)} ends {left - len(piece)} bytes early")
                left -= len(piece)
                yield piece
            if stream.read(1):  # at the end of an entry zipfile and gzip compare the checksum
                raise of_file(f"array {shown(self.name)} declares {self.data_bytes} bytes and holds more")

    def blocks(self, folder: Path) -> Iterator[npt.NDArray[Any]]:
        """The rows, flattened to (k, width), in the array's dtype; `folder` holds one in Fortran order meanwhile."""
        width = prod(self.shape[1:])
        if not self.fortran_order or len(self.shape) == 1:
            for piece in self.pieces():
                yield np.frombuffer(piece, self.dtype).reshape(-1, width)
            return
        raw = folder / "columns"
        with raw.open("wb") as file:
            for piece in self.pieces():
                file.write(piece)
        turned = np.memmap(raw, self.dtype, "r", shape=self.shape, order="F")
        step = block_rows(width * self.dtype.itemsize)
        for start in range(0, len(turned), step):
            block = np.ascontiguousarray(turned[start : start + step])
            yield block.reshape(len(block), width)


def continues(first: SourceArray, second: SourceArray) -> bool:
    """Whether the rows of one may follow those of the other, byte by byte."""
    alike = first.dtype == second.dtype and first.shape[1:] == second.shape[1:] and len(first.shape) > 0
    in_order = not any(array.fortran_order and len(array.shape) > 1 for array in (first, second))
    return alike and in_order and len(second.shape) > 0


def joined(first: SourceArray, second: SourceArray) -> SourceArray:
    """The rows of both, the first one's first."""

    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with first.open() as start, second.open() as rest:
            yield cast(IO[bytes], _Chained([start, rest]))

    shape = (first.shape[0] + second.shape[0], *first.shape[1:])
    return SourceArray(first.name, first.dtype, shape, False, opened)


class _Chained:
    """Streams read one after the other."""

    def __init__(self, streams: list[IO[bytes]]) -> None:
        self._streams = streams

    def read(self, size: int) -> bytes:
        """As many bytes as asked for, less at the end alone."""
        found = b""
        while len(found) < size and self._streams:
            piece = self._streams[0].read(size - len(found))
            found += piece
            if not piece:
                self._streams.pop(0)
        return found


@dataclass(frozen=True)
class NpyHeader:
    """What an NPY header declares, and how many bytes it takes."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    size: int


def read_npy_header(name: str, stream: IO[bytes]) -> NpyHeader:
    """The header at the beginning of an NPY file. Raises: InvalidInput, for object arrays too."""
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            header = np.lib.format.read_array_header_1_0(stream, _HEADER_LIMIT)
        elif version == (2, 0):
            header = np.lib.format.read_array_header_2_0(stream, _HEADER_LIMIT)
        else:
            raise of_file(f"array {shown(name)} has NPY version {version}; must be (1, 0) or (2, 0)")
    except InvalidInput:
        raise
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, TokenError) as error:
        raise of_file(f"array {shown(name)} has no valid NPY header") from error
    shape, fortran_order, dtype = header
    if dtype.hasobject:
        raise of_file(
            f"array {shown(name)} holds Python objects (pickle), which are never loaded; save numbers or text"
        )
    if any(not isinstance(length, int) or length < 0 for length in shape):
        raise of_file(f"array {shown(name)} has the shape {shown(shape)}; lengths must be 0 or more")
    return NpyHeader(dtype, tuple(shape), fortran_order, stream.tell())
