"""The web page: own files only, named once at the start, so that no path of a client reaches the disk."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from kernels.errors import NotFound

STATIC = Path(__file__).parents[1] / "static"

MODULES = b"<!-- modules -->"
"""Where the index names all modules, so that a browser asks for them at once, not one after another as they import."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class _File:
    content: bytes
    zipped: bytes
    media_type: str
    digest: str


def _read(path: Path) -> _File:
    content = path.read_bytes().replace(MODULES, _preloads()) if path.name == "index.html" else path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    kind = "text/javascript" if path.suffix == ".js" else kind
    return _File(content, gzip.compress(content, mtime=0), kind, hashlib.sha256(content).hexdigest()[:32])


def _preloads() -> bytes:
    names = sorted(path.name for path in STATIC.glob("*.js"))
    return "\n  ".join(f'<link rel="modulepreload" href="/static/{name}">' for name in names).encode()


FILES = {str(path.relative_to(STATIC)): _read(path) for path in sorted(STATIC.rglob("*")) if path.is_file()}


@router.get("/")
async def index(request: Request) -> Response:
    """The page."""
    return _answer(request, "index.html")


@router.get("/static/{name:path}")
async def static(request: Request, name: str) -> Response:
    """A file of the page."""
    return _answer(request, name)


@router.get("/favicon.ico")
async def icon(request: Request) -> Response:
    """What browsers ask for by themselves."""
    return _answer(request, "icon.svg")


def _answer(request: Request, name: str) -> Response:
    file = FILES.get(name)
    if file is None:
        raise NotFound
    zipped = _takes_gzip(request.headers.get("accept-encoding", ""))
    etag = f'"{file.digest}-gzip"' if zipped else f'"{file.digest}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if zipped:
        return Response(file.zipped, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)


def _takes_gzip(accepted: str) -> bool:
    """Whether an `Accept-Encoding` header names gzip, and not with the weight 0."""
    for item in accepted.lower().split(","):
        name, _, weight = item.replace(" ", "").partition(";q=")
        if name == "gzip":
            return weight.strip("0.") != "" or weight == ""
    return False
