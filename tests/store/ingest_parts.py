"""Shared by the tests of reading uploads: one call that reads bytes as an upload would, in this process or its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.errors import InvalidInput
from store.ingest.formats import detect
from store.ingest.limits import Limits
from store.ingest.options import IngestOptions, Request, Source
from store.ingest.problems import CellError

LIMITS = Limits(memory_bytes=1 << 30, cpu_s=60, wall_s=60.0)
GOOD = "a,b,kind\n1,2.5,x\n-3,4e2,y\n+.5,6.,x\n"
"""A table in CSV: two columns of numbers and a target of two classes."""


@dataclass(frozen=True)
class Read:
    info: dict[str, Any]
    x: np.ndarray
    y: np.ndarray

    def column(self, name: str) -> dict[str, Any]:
        [found] = [column for column in self.info["columns"] if column["name"] == name]
        return found


def read(folder: Path, data: bytes | str, filename: str = "table.csv", **options: Any) -> Read:
    """What an upload of `data` becomes."""
    return read_files(folder, [(data.encode() if isinstance(data, str) else data, filename)], **options)


def read_files(folder: Path, files: Sequence[tuple[bytes, str]], **options: Any) -> Read:
    """What an upload of several files (content, name) becomes."""
    folder.mkdir(exist_ok=True, parents=True)
    sources = []
    for index, (data, filename) in enumerate(files):
        sources.append(Source(folder / f"upload-{index}", filename))
        sources[-1].path.write_bytes(data)
    request = Request(sources, IngestOptions.from_json(options), folder, LIMITS)
    info = detect(request.sources, request.options).read(request)
    info = json.loads(json.dumps(info, allow_nan=False))
    return Read(info, np.load(folder / "x.npy"), np.load(folder / "y.npy"))


def refused(folder: Path, data: bytes | str, filename: str = "table.csv", **options: Any) -> CellError:
    """The first error that an upload of `data` is refused with."""
    return refused_files(folder, [(data.encode() if isinstance(data, str) else data, filename)], **options)


def refused_files(folder: Path, files: Sequence[tuple[bytes, str]], **options: Any) -> CellError:
    """The first error that an upload of several files is refused with."""
    with pytest.raises(InvalidInput) as caught:
        read_files(folder, files, **options)
    error = caught.value.errors[0]
    assert isinstance(error, CellError)
    return error


def npz(**arrays: Any) -> bytes:
    """An NPZ file of these arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


_MEASURED = """
import pathlib, re, sys
from store.ingest.__main__ import main
status = main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
print(status, re.search("VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
"""
"""`python -m store.ingest`, and then the most memory it held (ru_maxrss would count the parent's, from before exec)."""


@dataclass(frozen=True)
class Ran:
    status: int
    error: dict[str, Any]
    peak_mib: float


def run_process(folder: Path, files: Sequence[tuple[bytes, str]], limits: Limits = LIMITS, **options: Any) -> Ran:
    """The ingest process itself, with the most memory that it ever held."""
    for index, (data, _) in enumerate(files):
        (folder / f"upload-{index}").write_bytes(data)
    asked = {
        "files": [{"path": str(folder / f"upload-{index}"), "filename": name} for index, (_, name) in enumerate(files)],
        "options": options,
        "limits": limits.to_json(),
        "parent": os.getpid(),
    }
    (folder / "request.json").write_text(json.dumps(asked))
    ran = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(folder), str(folder / "request.json")],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    failure = folder / "error.json"
    error = json.loads(failure.read_bytes()) if failure.exists() else {}
    status, peak_kib = ran.stdout.split()
    return Ran(int(status), error, int(peak_kib) / 1024)
