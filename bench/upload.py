"""A large upload's memory: `python -m bench.upload [GB]` streams one file to an API process and reads its peak.

The peak is the kernel's own high-water mark of resident memory, set back before the upload. The file is an NPY whose
header declares one row more than follows: every byte is received, hashed and written, and then it is refused, so that
what is measured is the API and not the process that reads files.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np

from bench.api import api
from bench.harness import write_result
from store.ingest.arrays import npy_header

WIDTH = 1024
PIECE = np.random.default_rng(0).bytes(1 << 20)


def resident(pid: int, name: str) -> int:
    """`VmRSS`, or `VmHWM`, the most that it has been, in bytes."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise RuntimeError(f"the kernel does not tell {name}")
    return int(found[1]) * 1024


def body(pieces: int) -> Iterator[bytes]:
    yield npy_header(np.dtype(np.float32), (pieces * len(PIECE) // (4 * WIDTH) + 1, WIDTH))
    for _ in range(pieces):
        yield PIECE


def main() -> None:
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    pieces = int(gigabytes * 1e9) >> 20
    with (
        api(MLPQ_MAX_UPLOAD_BYTES=str(64 << 30)) as running,
        httpx2.Client(base_url=running.url, timeout=600) as client,
    ):
        client.post("/v1/datasets?filename=small.csv", content=b"a,y\n1,0\n2,1\n").raise_for_status()
        before = resident(running.pid, "VmRSS")
        Path(f"/proc/{running.pid}/clear_refs").write_text("5")
        start = time.perf_counter()
        answer = client.post("/v1/datasets?filename=large.npy", content=body(pieces))
        seconds = time.perf_counter() - start
        grown = resident(running.pid, "VmHWM") - before
    if answer.status_code != 422 or "declares" not in answer.text:
        raise RuntimeError(f"HTTP {answer.status_code}: {answer.text[:300]}")
    figures = {
        "gigabytes": gigabytes,
        "grown_mb": round(grown / 1e6, 1),
        "seconds": round(seconds, 1),
        "mb_per_s": round(gigabytes * 1e3 / seconds),
    }
    write_result("upload", "a 10 GB upload: memory that the API takes", "python -m bench.upload", figures)


if __name__ == "__main__":
    main()
