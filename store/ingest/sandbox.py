"""Runs the ingest process and turns every way it can end into an answer: info.json's content, or one of our errors.

No input can make the caller fail otherwise: out of memory, out of time, killed or crashed, the file is what is refused.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import store
from kernels.errors import InvalidInput
from store.files import disk_errors
from store.ingest.limits import Limits
from store.ingest.options import IngestOptions, Source
from store.ingest.problems import from_json, of_file

_log = logging.getLogger(__name__)

_STDERR_BYTES = 4_000


def ingest(sources: Sequence[Source], options: IngestOptions, folder: Path, limits: Limits) -> dict[str, Any]:
    """Read an upload in a process of its own.

    Args:
        sources: the uploaded files.
        options: what the client said about them.
        folder: gets `x.npy` and `y.npy` and nothing else.
        limits: memory, time and sizes.

    Returns:
        The content of `info.json` so far (no id, name or hash).

    Raises:
        InvalidInput: the file cannot be read, or not within the limits; errors are `CellError`s.
        TooLarge: a bomb.
        DiskFull: no space left.
    """
    request = folder / "request.json"
    asked = {
        "files": [{"path": str(source.path.resolve()), "filename": source.filename} for source in sources],
        "options": options.to_json(),
        "limits": limits.to_json(),
        "parent": os.getpid(),
    }
    with disk_errors():
        request.write_text(json.dumps(asked), encoding="utf-8")
        log = folder / "stderr"
        status = _run([sys.executable, "-m", "store.ingest", str(folder), str(request)], folder, log, limits)
        answer = _answer(folder, status, log, limits)
        for path in folder.iterdir():
            if path.name not in {"x.npy", "y.npy"}:
                path.unlink()
    return answer


def _run(command: Sequence[str], folder: Path, log: Path, limits: Limits) -> int | None:
    """The exit status (negative: signal), None when the time was over. The whole process group is gone afterwards."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(Path(store.__file__).parent.parent),
        "PYTHONUTF8": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            return process.wait(limits.wall_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _answer(folder: Path, status: int | None, log: Path, limits: Limits) -> dict[str, Any]:
    if status is None or status == -signal.SIGXCPU:
        raise of_file(f"took longer to read than allowed ({limits.wall_s:g} s, {limits.cpu_s} s of processor time)")
    if status == 0:
        answer: dict[str, Any] = json.loads((folder / "info.json").read_bytes())
        return answer
    failure = folder / "error.json"
    if failure.exists() and failure.stat().st_size:
        raise from_json(json.loads(failure.read_bytes()))
    raise _crashed(status, log.read_bytes()[-_STDERR_BYTES:].decode(errors="replace"), limits)


def _crashed(status: int, stderr: str, limits: Limits) -> InvalidInput:
    _log.warning("the ingest process ended with status %d: %s", status, stderr)
    if "MemoryError" in stderr or "cannot allocate memory" in stderr.lower():
        return of_file(f"could not be read within {limits.memory_bytes >> 20} MiB of memory")
    return of_file("could not be read: its reader stopped without an answer")
