"""What a run's results may depend on beside its spec: versions, machine, rows. Recorded with the job."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from kernels.backend import Backend
from worker.memory import total_bytes

_PACKAGES = ("mlpq", "numpy", "numba")
"""Of which the version is recorded; the backend adds its own."""

_TOLD = ("engine", "products", "recorded", "cublaslt", "not_recorded", "threads", "parameters", "stack")
"""What `fit` says of how it runs; the middle ones only on a GPU."""


@cache
def _machine() -> dict[str, Any]:
    return {
        **{name: _version(name) for name in _PACKAGES},
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "memory_bytes": total_bytes(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # an optional one, or a checkout that was not installed
        return None


def environment_of(backend: Backend, told: dict[str, Any], rows: dict[str, int]) -> dict[str, Any]:
    """The environment as a job records it; `told` is what `fit` said when it began."""
    run = {name: told[name] for name in _TOLD if name in told}
    return _machine() | dict(backend.describe()) | run | {"rows": rows}
