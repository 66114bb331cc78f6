"""An ONNX file proves itself before it goes out: onnxruntime runs its golden rows.

`python -m nets.onnx_check FILE` checks a large file beside a process that has to stay small; golden rows come as NPZ.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import nets
from kernels.errors import Corrupted, InvalidInput
from kernels.numpy_backend import NumpyBackend
from nets.export import Arrays, load_npz, to_npz

TOLERANCE = 1e-4
"""Of the largest score, or of 1: the net runs in single precision there."""

MEMORY_RATIO = 2.5
"""Memory that onnxruntime takes for a file, in sizes of the file."""

_DIFFERS = 3
"""Exit status of a check that failed."""


def check_onnx(source: bytes | Path, arrays: Arrays) -> None:
    """Raise Corrupted unless the file gives the golden outputs of the arrays it was made from."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    file = source if isinstance(source, bytes) else str(source)
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(["scores"], {"x": np.asarray(arrays["golden_inputs"], np.float64)})
    expected = arrays["golden_outputs"]
    gap = float(np.abs(found - expected).max(initial=0.0))
    if not gap <= TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0.0))):
        raise Corrupted(f"the ONNX file's scores of the golden rows differ by {gap:g}")


def check_onnx_apart(path: Path, arrays: Arrays) -> None:
    """The same of a large file, in a process of its own: the memory is gone when it ends.

    Raises:
        Corrupted: as `check_onnx`.
        InvalidInput: there is too little memory for it.
    """
    needed, free = MEMORY_RATIO * path.stat().st_size, NumpyBackend().free_bytes()
    if needed > free:
        raise _too_large(f"{free >> 20} are free", needed)
    golden = to_npz({name: arrays[name] for name in ("golden_inputs", "golden_outputs")})
    command = [sys.executable, "-m", "nets.onnx_check", str(path)]
    environment = os.environ | {"PYTHONPATH": str(Path(nets.__file__).parent.parent)}
    ended = subprocess.run(command, input=golden, env=environment, capture_output=True, check=False)
    if ended.returncode < 0:
        raise _too_large(f"its process was ended by signal {-ended.returncode}", needed)
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip()
        raise Corrupted(said if ended.returncode == _DIFFERS else f"the ONNX file could not be checked: {said[-1000:]}")


def _too_large(why: str, needed: float) -> InvalidInput:
    detail = f"is onnx, whose check takes about {needed / 2**20:.0f} MiB of memory; {why}; take safetensors"
    return InvalidInput.at("/query/format", detail)


def main() -> int:
    """Check the file named first with the golden rows from standard input."""
    arrays = load_npz(sys.stdin.buffer.read())
    try:
        check_onnx(Path(sys.argv[1]), arrays)
    except Corrupted as error:
        print(error, file=sys.stderr)  # noqa: T201 - the answer to whoever started this process
        return _DIFFERS
    return 0


if __name__ == "__main__":
    sys.exit(main())
