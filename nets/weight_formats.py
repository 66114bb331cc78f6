"""The file formats of weights, one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from nets.export import Arrays, to_npz, to_safetensors, write_npz, write_safetensors
from nets.onnx_check import check_onnx, check_onnx_apart
from nets.onnx_file import to_onnx, write_onnx
from nets.script import to_script
from nets.torch_file import to_torch, write_torch


def _checked_onnx(arrays: Arrays) -> bytes:
    content = to_onnx(arrays)
    check_onnx(content, arrays)
    return content


def _write_checked_onnx(arrays: Arrays, path: Path) -> None:
    write_onnx(arrays, path)
    check_onnx_apart(path, arrays)


EXPORTERS: Mapping[str, Callable[[Arrays], bytes]] = {
    "npz": to_npz,
    "safetensors": to_safetensors,
    "onnx": _checked_onnx,
    "torch": to_torch,
    "predict.py": to_script,
}
"""File formats of weights: name -> arrays to bytes."""

SUFFIXES: Mapping[str, str] = {"torch": "pt"}
"""Endings of file names where they are not the format's name."""

_WRITERS: Mapping[str, Callable[[Arrays, Path], None]] = {
    "npz": write_npz,
    "safetensors": write_safetensors,
    "onnx": _write_checked_onnx,
    "torch": write_torch,
}


def write(name: str, arrays: Arrays, path: Path) -> None:
    """Write a file of the format; all but predict.py in little memory where the arrays are mapped ones.

    An ONNX file is checked by another process. Raises InvalidInput where it has too little memory for that.
    """
    writer = _WRITERS.get(name)
    if writer:
        writer(arrays, path)
    else:
        path.write_bytes(EXPORTERS[name](arrays))
