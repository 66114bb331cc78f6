"""Weights as files: the same arrays give the same bytes, and no reader ever unpickles."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from kernels.errors import MalformedInput

Arrays = Mapping[str, NDArray[Any]]
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAX_BYTES = 1 << 36


def to_npz(arrays: Arrays) -> bytes:
    """An uncompressed .npz with fixed dates: `numpy.load` reads it, equal arrays give equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with archive.open(member, "w", force_zip64=array.nbytes > 1 << 30) as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    return out.getvalue()


def to_safetensors(arrays: Arrays) -> bytes:
    """A .safetensors file; `meta` travels as its metadata. Text arrays other than `meta` do not exist here."""
    tensors = {name: np.asarray(a, order="C") for name, a in arrays.items() if name != "meta"}
    return safetensors.numpy.save(tensors, metadata={"meta": str(arrays["meta"])})


def load_npz(source: bytes | Path) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz, never unpickling. Raises MalformedInput for anything that is not plain arrays."""
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _MAX_BYTES:
            raise MalformedInput(f"declares {size} bytes; at most {_MAX_BYTES} are read")
        with np.load(file, allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError, struct.error) as error:
        raise MalformedInput(f"not an .npz of plain arrays: {error}") from error


def load_safetensors(source: bytes) -> dict[str, NDArray[Any]]:
    """Arrays of a .safetensors file, with `meta` as a 0-d text array. Raises MalformedInput if it is none."""
    try:
        arrays: dict[str, NDArray[Any]] = dict(safetensors.numpy.load(source))
        (length,) = struct.unpack("<Q", source[:8])
        header = json.loads(source[8 : 8 + length])
    except (safetensors.SafetensorError, ValueError, struct.error) as error:
        raise MalformedInput(f"not a .safetensors file: {error}") from error
    return arrays | {"meta": np.array(header.get("__metadata__", {}).get("meta", "{}"))}
