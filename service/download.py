"""Sending a file as HTTP wants it: entity tag, conditional and partial requests, its hash, a name of ours."""

from __future__ import annotations

import base64
import re

from starlette.requests import Request
from starlette.responses import Response

from service.problems import Refused

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def download(request: Request, content: bytes, sha256: str, filename: str, media_type: str) -> Response:
    """`content` whole (200), in part (206), or not at all because the client has it (304).

    Args:
        request: its `Range`, `If-Range` and `If-None-Match` decide.
        content: the file.
        sha256: of the file, in hex; also its entity tag.
        filename: made by the service: it is not quoted any further.
        media_type: of the file.

    Raises:
        Refused: 416, no byte of the asked range exists.
    """
    etag = f'"{sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{filename}"',
        "X-Content-SHA256": sha256,
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:",
    }
    if _holds(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    part = _part(request, etag, len(content))
    if part is None:
        return Response(content, 200, headers, media_type)
    start, stop = part
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    return Response(content[start:stop], 206, headers, media_type)


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
