"""The web page: own files only, named once at the start, so that no path of a client reaches the disk."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from kernels.errors import NotFound

STATIC = Path(__file__).parents[1] / "static"

MODULES = b"<!-- modules -->"
"""Where the index names all modules with the views that need them, so that those of a view are asked for at once."""

_IMPORT = re.compile(r'from "\./(\w+\.js)"')
_VIEW = re.compile(r'^ {2}\[/.*"(\w+\.js)"', re.M)
"""A line of the routes in app.js."""

FOREVER = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class _File:
    content: bytes
    zipped: bytes
    media_type: str
    digest: str


def _read(path: Path) -> _File:
    content = path.read_bytes()
    if path.name == "index.html":
        content = content.replace(MODULES, _preloads()).replace(b"/static/", f"/static/{VERSION}/".encode())
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    kind = "text/javascript" if path.suffix == ".js" else kind
    return _File(content, gzip.compress(content, mtime=0), kind, hashlib.sha256(content).hexdigest()[:32])


def _preloads() -> bytes:
    """Links to what every view needs, and to the others as `later`, which app.js turns into preloads."""
    views = {name: _needed(name) for name in dict.fromkeys(_VIEW.findall(_text("app.js")))}
    core = _needed("app.js")
    links = [f'<link rel="modulepreload" href="/static/{name}">' for name in core]
    for name in sorted(path.name for path in STATIC.glob("*.js") if path.name not in core):
        needing = " ".join(view for view, needed in views.items() if name in needed)
        links.append(f'<link rel="later" href="/static/{name}" data-views="{needing}">')
    return "\n  ".join(links).encode()


def _needed(module: str) -> list[str]:
    """A module with all that it imports, directly or not."""
    found = [module]
    for name in found:  # grows while it is read
        found += [one for one in dict.fromkeys(_IMPORT.findall(_text(name))) if one not in found]
    return found


def _text(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


VERSION = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(STATIC.glob("*.*")))).hexdigest()[:16]
"""Changes with any file: the index names all of them below it, so that a browser may keep them for good."""

FILES = {str(path.relative_to(STATIC)): _read(path) for path in sorted(STATIC.rglob("*")) if path.is_file()}


@router.get("/")
async def index(request: Request) -> Response:
    """The page."""
    return _answer(request, "index.html")


@router.get("/static/{name:path}")
async def static(request: Request, name: str) -> Response:
    """A file of the page; below its version it never changes."""
    version, _, below = name.partition("/")
    return _answer(request, below, FOREVER) if version == VERSION else _answer(request, name)


@router.get("/favicon.ico")
async def icon(request: Request) -> Response:
    """What browsers ask for by themselves."""
    return _answer(request, "icon.svg")


def _answer(request: Request, name: str, kept: str = "no-cache") -> Response:
    file = FILES.get(name)
    if file is None:
        raise NotFound
    zipped = _takes_gzip(request.headers.get("accept-encoding", ""))
    etag = f'"{file.digest}-gzip"' if zipped else f'"{file.digest}"'
    headers = {"ETag": etag, "Cache-Control": kept, "Vary": "Accept-Encoding"}
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
