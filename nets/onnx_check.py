"""An ONNX file proves itself before it goes out: onnxruntime, where it is installed, runs its golden rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import Corrupted

TOLERANCE = 1e-4
"""Of the largest score, or of 1: the net runs in single precision there."""


def check_onnx(content: bytes, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise Corrupted unless the file gives the golden outputs of the arrays it was made from."""
    try:
        import onnxruntime
    except ImportError:  # an optional part of the server
        return
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(["scores"], {"x": np.asarray(arrays["golden_inputs"], np.float64)})
    expected = arrays["golden_outputs"]
    gap = float(np.abs(found - expected).max(initial=0.0))
    if not gap <= TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0.0))):
        raise Corrupted(f"the ONNX file's scores of the golden rows differ by {gap:g}")
