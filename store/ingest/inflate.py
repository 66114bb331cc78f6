"""Files that may be gzipped: their plain bytes, and a bound on how many of them a small file may become."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from kernels.errors import TooLarge
from store.ingest.limits import BOMB_FREE_BYTES, BOMB_RATIO, CELL_BYTES, CELL_RATIO, Limits
from store.ingest.problems import of_file

GZIP_MAGIC = b"\x1f\x8b"

_READ_BYTES = 1 << 18


def most_inflated_bytes(file_bytes: int, limits: Limits) -> int:
    """What a compressed file of this size may become before it is taken for a bomb."""
    return min(limits.inflated_bytes, max(BOMB_FREE_BYTES, BOMB_RATIO * file_bytes))


def most_cells(file_bytes: int, limits: Limits) -> int:
    """Cells that a file of this size may hold before it is taken for a bomb."""
    return min(limits.output_bytes, CELL_RATIO * most_inflated_bytes(file_bytes, limits)) // CELL_BYTES


class _Capped(io.RawIOBase):
    """A decompressing stream that refuses to inflate far beyond what the compressed file can honestly hold."""

    def __init__(self, stream: BinaryIO, compressed_bytes: int, limits: Limits) -> None:
        self._stream = stream
        self._compressed_bytes = compressed_bytes
        self._limit = most_inflated_bytes(compressed_bytes, limits)
        self._count = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._count

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        data = self._stream.read(len(view))
        self._count += len(data)
        if self._count > self._limit:
            raise TooLarge(
                f"the file has {self._compressed_bytes} bytes and inflates to more than {self._limit}; "
                f"send it uncompressed"
            )
        view[: len(data)] = data
        return len(data)


@contextmanager
def open_bytes(path: Path, limits: Limits) -> Iterator[BinaryIO]:
    """The plain bytes of a file that may be gzipped. Raises: InvalidInput for a damaged stream, TooLarge for a bomb."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        if not zipped:
            yield raw
            return
        inflated = _Capped(cast("BinaryIO", gzip.GzipFile(fileobj=raw)), path.stat().st_size, limits)
        try:
            yield io.BufferedReader(inflated, _READ_BYTES)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise of_file(f"is a damaged gzip file: {error}") from error


def check_inflates(path: Path, limits: Limits) -> int:
    """The size of a file's plain bytes; a gzipped one is inflated once and nothing kept, so a bomb costs no parsing.

    Raises:
        InvalidInput: a damaged gzip stream.
        TooLarge: a gzip bomb.
    """
    with path.open("rb") as raw:
        if raw.read(2) != GZIP_MAGIC:
            return path.stat().st_size
    with open_bytes(path, limits) as plain:
        return sum(map(len, iter(lambda: plain.read(_READ_BYTES), b"")))
