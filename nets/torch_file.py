"""A trained net as a PyTorch state_dict file, written without PyTorch; `torch.load(file, weights_only=True)` reads it.

The file is an uncompressed zip: `data.pkl` names the tensors, `data/0`, `data/1`, ... hold their bytes. The pickle is a
fixed sequence of opcodes written here by hand (never read, nothing but tensors in it): a dict from names to calls of
`torch._utils._rebuild_tensor_v2` on storages, as PyTorch itself has written it since version 1.6.

Names are those of `torch.nn.Sequential(Linear, [BatchNorm1d,] activation, Linear, ...)`: `0.weight` (out, in),
`0.bias`, ...; `input_mean` and the other arrays that prepare the inputs stand beside them.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nets.export import little_endian

Arrays = Mapping[str, NDArray[Any]]

_EPOCH = (1980, 1, 1, 0, 0, 0)
_STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage", "bool": "BoolStorage"}
_ALIGNMENT = 64


def to_torch(arrays: Arrays) -> bytes:
    """The file for the arrays of a weights file; equal arrays give equal bytes."""
    out = io.BytesIO()
    write_torch(arrays, out)
    return out.getvalue()


def write_torch(arrays: Arrays, out: Path | IO[bytes]) -> None:
    """The same file, a few rows at a time."""
    tensors = state_dict(arrays)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        _write(archive, "archive/data.pkl", [_pickle(tensors)], 1)
        _write(archive, "archive/byteorder", [b"little"], 1)
        for key, tensor in enumerate(tensors.values()):
            pieces = little_endian(tensor, tensor.dtype)
            _write(archive, f"archive/data/{key}", pieces, _ALIGNMENT, tensor.nbytes)
        _write(archive, "archive/version", [b"3\n"], 1)


def state_dict(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Tensors by name: the layers' as a Sequential counts them, then what prepares inputs and restores targets."""
    found: dict[str, NDArray[Any]] = {}
    layers = sum(name[0] == "W" and name[1:].isdigit() for name in arrays)
    place = 0
    for layer in range(1, layers + 1):
        found[f"{place}.weight"] = arrays[f"W{layer}"].T
        if f"b{layer}" in arrays:
            found[f"{place}.bias"] = arrays[f"b{layer}"]
        if f"gamma{layer}" in arrays:
            place += 1
            own = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}
            found |= {f"{place}.{theirs}": arrays[f"{ours}{layer}"] for theirs, ours in own.items()}
            found[f"{place}.num_batches_tracked"] = np.array(0, np.int64)
        place += 2
    return found | {name: np.asarray(a) for name, a in arrays.items() if name.startswith(("input_", "target_"))}


def _write(archive: zipfile.ZipFile, name: str, pieces: Iterable[bytes], alignment: int, n_bytes: int = 0) -> None:
    """A member whose bytes begin at a multiple of `alignment`, so that the file can be mapped into memory."""
    member = zipfile.ZipInfo(name, _EPOCH)
    if archive.fp is None:
        raise ValueError("the archive is closed")
    header = 30 + len(name) + 4
    padding = -(archive.fp.tell() + header) % alignment
    member.extra = struct.pack("<HH", 0x4246, padding) + b"Z" * padding  # the field that PyTorch pads with
    member.file_size = n_bytes
    with archive.open(member, "w") as file:
        for piece in pieces:
            file.write(piece)


def _pickle(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Protocol 2: an empty dict, then its items."""
    out = [b"\x80\x02}("]
    for key, (name, tensor) in enumerate(tensors.items()):
        out += [_text(name), _tensor(tensor, key)]
    return b"".join([*out, b"u."])


def _tensor(tensor: NDArray[Any], key: int) -> bytes:
    """torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)."""
    storage = _STORAGES[tensor.dtype.name]
    strides, step = [], 1
    for length in reversed(tensor.shape):
        strides.append(step)
        step *= length
    persistent = b"(" + _text("storage") + _name("torch", storage) + _text(str(key)) + _text("cpu")
    persistent += _int(tensor.size) + b"tQ"
    hooks = _name("collections", "OrderedDict") + b")R"
    arguments = b"(" + persistent + _int(0) + _tuple(tensor.shape) + _tuple(strides[::-1]) + b"\x89" + hooks + b"t"
    return _name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode("ascii")


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def _int(value: int) -> bytes:
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def _tuple(values: Any) -> bytes:
    return b"(" + b"".join(map(_int, values)) + b"t"
