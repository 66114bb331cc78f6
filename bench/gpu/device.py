"""Whether a device is there: a benchmark without one ends at once, before anything is measured or written."""

from __future__ import annotations

from kernels.backend import cuda_devices


def require(device: str) -> None:
    """Raises SystemExit with one sentence unless `device` (cpu, auto or cuda:N) can be used; auto is any GPU."""
    if device == "cpu":
        return
    count = cuda_devices()
    if count == 0:
        raise SystemExit(f"--device {device}: no CUDA device can be used here, or CuPy is not installed")
    there = ["auto", *(f"cuda:{number}" for number in range(count))]
    if device not in there:
        raise SystemExit(f"--device {device}: there are {', '.join(there)} and cpu")
