"""The ingest process: `python -m store.ingest FOLDER REQUEST.json` reads one upload under its own limits.

REQUEST.json holds `files` ([{path, filename}]), `options` and `limits`. FOLDER gets `x.npy`, `y.npy` and `info.json`,
or `error.json` (`code`, `detail`, `errors` with pointer, row, column, detail) and the exit status is 1.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from kernels.errors import DiskFull, InvalidInput, MlpqError, TooLarge
from store.ingest.limits import Limits
from store.ingest.options import IngestOptions, Request, Source
from store.ingest.problems import of_file, to_json

_PR_SET_PDEATHSIG = 1


def main(folder: Path, request_path: Path) -> int:
    """Read the request, confine the process, read the upload, write the answer. Returns the exit status."""
    asked: dict[str, Any] = json.loads(request_path.read_text(encoding="utf-8"))
    limits = Limits(**asked["limits"])
    _confine(limits, asked.get("parent"))
    try:
        options = IngestOptions.from_json(asked["options"])
        sources = [Source(Path(file["path"]), file["filename"]) for file in asked["files"]]
        answer, name, status = _read(Request(sources, options, folder, limits)), "info.json", 0
    except MlpqError as error:
        answer, name, status = to_json(error), "error.json", 1
    except MemoryError:
        answer, name, status = to_json(_too_much_memory(limits)), "error.json", 1
    except OSError as error:
        answer, name, status = to_json(_of_disk(error, limits)), "error.json", 1
    (folder / name).write_text(json.dumps(answer, allow_nan=False), encoding="utf-8")
    return status


def _read(request: Request) -> dict[str, Any]:
    from store.ingest.formats import detect

    found = detect(request.sources, request.options)
    return found.read(request) | {"format": found.name}


def _confine(limits: Limits, parent: int | None) -> None:
    """Bound memory, time and output of this process, and tie its life to the parent's."""
    if sys.platform == "linux" and parent is not None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.output_bytes, limits.output_bytes))


def _too_much_memory(limits: Limits) -> InvalidInput:
    return of_file(f"could not be read within {limits.memory_bytes >> 20} MiB of memory")


def _of_disk(error: OSError, limits: Limits) -> MlpqError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull("no space left on the data volume while reading the file")
    if error.errno == errno.EFBIG:
        return TooLarge(f"the file makes an array of more than {limits.output_bytes} bytes")
    if error.errno == errno.ENOMEM:
        return _too_much_memory(limits)
    raise error


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
