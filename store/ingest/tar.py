"""Regular files of a tar archive as a stream: names, sizes, bytes.

Nothing is extracted; links and extended headers are skipped.
Python's own reader takes extended headers of any size into memory; here no header costs more than its 512 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from store.ingest.problems import of_file

BLOCK_BYTES = 512
_PIECE_BYTES = 1 << 18
_REGULAR = {b"0", b"\0"}


@dataclass
class Member:
    """One regular file: its name in the archive, its size, and (once, before the next member) its bytes."""

    name: str
    size: int
    left: int
    stream: IO[bytes]

    def pieces(self) -> Iterator[bytes]:
        """The bytes. Raises: InvalidInput where the archive ends within them."""
        while self.left:
            piece = self.stream.read(min(_PIECE_BYTES, self.left))
            if not piece:
                raise of_file(f"ends within {self.name!r:.60}: {self.left} bytes are missing")
            self.left -= len(piece)
            yield piece


def begins(head: bytes) -> bool:
    """Whether a file begins like a tar archive that says so (POSIX and GNU)."""
    return head[257:262] == b"ustar"


def members(stream: IO[bytes]) -> Iterator[Member]:
    """The regular files in order. Raises: InvalidInput for what is no tar archive, or a truncated one."""
    while True:
        header = stream.read(BLOCK_BYTES)
        if not header.strip(b"\0"):
            return
        if len(header) < BLOCK_BYTES or _number(header[148:156]) != _checksum(header):
            raise of_file("is no tar archive, or a damaged one: a header's checksum is wrong")
        size = _number(header[124:136])
        if size < 0:
            raise of_file("is a damaged tar archive: a member has a negative size")
        member = Member(_name(header), size, size, stream)
        if header[156:157] in _REGULAR:
            yield member
        for _ in member.pieces():
            pass
        stream.read(-size % BLOCK_BYTES)


def _name(header: bytes) -> str:
    return header[:100].partition(b"\0")[0].decode("utf-8", "replace")


def _checksum(header: bytes) -> int:
    return sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def _number(field: bytes) -> int:
    """An octal number, or for large files a binary one marked by the first bit. -1 where it is neither."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.strip(b"\0 ")
    return int(text, 8) if text and all(char in b"01234567" for char in text) else 0 if not text else -1
