"""Files on their way to the service: read piece by piece, alone or several in one form."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

CHUNK_BYTES = 1 << 18

ProgressCallback = Callable[[int, int], None]
"""Called with the bytes sent so far and the bytes in all."""


def chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes, a quarter of a megabyte at a time."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def counted(body: Iterator[bytes], size: int, progress: ProgressCallback | None) -> Iterator[bytes]:
    """The same pieces; `progress` hears how far they are."""
    sent = 0
    for piece in body:
        yield piece
        sent += len(piece)
        if progress is not None:
            progress(sent, size)


class Form:
    """A `multipart/form-data` body: a part `file` for each path, and the field `options`.

    Args:
        paths: the files.
        options: JSON text.
    """

    def __init__(self, paths: Sequence[Path], options: str) -> None:
        boundary = uuid.uuid4().hex
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._paths = paths
        self._options = _part(boundary, 'name="options"') + options.encode()
        self._heads = [_part(boundary, f'name="file"; filename="{_quoted(path.name)}"') for path in paths]
        self._end = f"\r\n--{boundary}--\r\n".encode()
        self.size = sum(map(len, (self._options, *self._heads, self._end))) + sum(p.stat().st_size for p in paths)

    def body(self) -> Iterator[bytes]:
        """The bytes, from the beginning each time."""
        yield self._options
        for head, path in zip(self._heads, self._paths, strict=True):
            yield head
            yield from chunks(path)
        yield self._end


def _part(boundary: str, disposition: str) -> bytes:
    return f"\r\n--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()


def _quoted(name: str) -> str:
    """A file name as browsers write it into a form."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
