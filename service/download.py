"""Sending a file as HTTP wants it: entity tag, conditional and partial requests, its hash, a name of ours."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service.problems import Refused

CHUNK_BYTES = 256 * 1024
"""Longer answers are sent in pieces, each when the connection has taken the one before."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def download(
    request: Request,
    content: bytes | Path | BinaryIO,
    sha256: str,
    filename: str,
    media_type: str,
    disposition: str = "attachment",
) -> Response:
    """`content` whole (200), in part (206), or not at all because the client has it (304).

    Args:
        request: its `Range`, `If-Range` and `If-None-Match` decide.
        content: the file, where it lies, or as it was opened; then no more than a piece of it is in memory.
        sha256: of the file, in hex; also its entity tag.
        filename: made by the service: it is not quoted any further.
        media_type: of the file.
        disposition: `inline` for what a browser shows.

    Raises:
        Refused: 416, no byte of the asked range exists.
    """
    etag = f'"{sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'{disposition}; filename="{filename}"',
        "X-Content-SHA256": sha256,
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:",
    }
    if _holds(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    size = _size(content)
    part = _part(request, etag, size)
    start, stop = part or (0, size)
    status = 200 if part is None else 206
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    if isinstance(content, bytes) and stop - start <= CHUNK_BYTES:
        return Response(content[start:stop], status, headers, media_type)
    headers["Content-Length"] = str(stop - start)
    return StreamingResponse(_pieces(content, start, stop), status, headers, media_type)


def _size(content: bytes | Path | BinaryIO) -> int:
    match content:
        case bytes():
            return len(content)
        case Path():
            return content.stat().st_size
    return os.fstat(content.fileno()).st_size


async def _pieces(content: bytes | Path | BinaryIO, start: int, stop: int) -> AsyncIterator[bytes]:
    if isinstance(content, bytes):
        for at in range(start, stop, CHUNK_BYTES):
            yield content[at : min(at + CHUNK_BYTES, stop)]
        return
    opened = await to_thread.run_sync(content.open, "rb") if isinstance(content, Path) else nullcontext(content)
    with opened as file:
        while start < stop:  # by position: several answers may read one open file
            piece = await to_thread.run_sync(os.pread, file.fileno(), min(CHUNK_BYTES, stop - start), start)
            if not piece:
                raise EOFError(f"{content} became shorter while it was sent")
            start += len(piece)
            yield piece


def _holds(condition: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in condition.split(",")]
    return etag in tags or "*" in tags


def _part(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """The one asked range as [start, stop); None for the whole: no range, several, or of another version."""
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or match[0] == "bytes=-" or request.headers.get("if-range", etag) != etag:
        return None
    if not match[1]:
        start, stop = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        stop = min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= size or start >= stop:
        detail = f"the file has {size} bytes"
        raise Refused(416, "bad_range", "The range lies outside the file", detail, {"Content-Range": f"bytes */{size}"})
    return start, stop
