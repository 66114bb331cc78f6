"""The file formats of weights, one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nets.export import Arrays, to_npz, to_safetensors
from nets.onnx_file import to_onnx
from nets.script import to_script
from nets.torch_file import to_torch

EXPORTERS: Mapping[str, Callable[[Arrays], bytes]] = {
    "npz": to_npz,
    "safetensors": to_safetensors,
    "onnx": to_onnx,
    "torch": to_torch,
    "predict.py": to_script,
}
"""File formats of weights: name -> arrays to bytes."""

SUFFIXES: Mapping[str, str] = {"torch": "pt"}
"""Endings of file names where they are not the format's name."""
