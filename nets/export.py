"""Weights as files: the same arrays give the same bytes, and no reader ever unpickles."""

from __future__ import annotations

import errno
import io
import json
import struct
import zipfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from kernels.errors import DiskFull, MalformedInput

Arrays = Mapping[str, NDArray[Any]]
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAX_BYTES = 1 << 36
_PIECE_BYTES = 1 << 20
_LOCAL_HEADER = 30
"""Bytes of a zip member's local header before its name; the lengths of name and extra field end it."""


def to_npz(arrays: Arrays) -> bytes:
    """An uncompressed .npz with fixed dates: `numpy.load` reads it, equal arrays give equal bytes."""
    out = io.BytesIO()
    write_npz(arrays, out)
    return out.getvalue()


def write_npz(arrays: Arrays, out: Path | IO[bytes]) -> None:
    """The same file, array by array."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            rows = np.asarray(array, order="C")
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with archive.open(member, "w", force_zip64=rows.nbytes > 1 << 30) as file:
                file.write(_npy_header(rows.dtype, rows.shape))
                file.write(rows.reshape(-1).view(np.uint8).data)


@lru_cache(maxsize=1024)
def _npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """How an .npy of plain values in C order begins; files of nets of one shape begin alike."""
    if dtype.hasobject:
        raise ValueError(f"{dtype} holds objects")
    out = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, described)
    return out.getvalue()


def little_endian(array: NDArray[Any], dtype: Any) -> Iterator[bytes]:
    """The values in C order as the bytes of `dtype`, a few rows at a time, whatever lies where."""
    wanted = np.dtype(dtype).newbyteorder("<")
    rows = array if array.ndim > 1 else array.reshape(-1, 1)
    step = max(1, _PIECE_BYTES // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):
        yield rows[start : start + step].astype(wanted, order="C").tobytes()


def to_safetensors(arrays: Arrays) -> bytes:
    """A .safetensors file; `meta` travels as its metadata. Text arrays other than `meta` do not exist here."""
    return safetensors.numpy.save(_tensors(arrays), metadata={"meta": str(arrays["meta"])})


def _tensors(arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name: np.asarray(a, order="C") for name, a in arrays.items() if name != "meta"}


def write_safetensors(arrays: Arrays, path: Path) -> None:
    """The same file, in little memory where the arrays are mapped ones. Raises DiskFull."""
    try:
        safetensors.numpy.save_file(_tensors(arrays), path, metadata={"meta": str(arrays["meta"])})
    except safetensors.SafetensorError as error:
        if f"os error {errno.ENOSPC}" in str(error):
            raise DiskFull("no space left on the data volume") from error
        raise


def map_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of an uncompressed .npz without reading them: each is a read-only view of the file.

    Raises MalformedInput for anything that is not plain arrays, stored as they are.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            members = archive.infolist()
            return {member.filename.removesuffix(".npy"): _mapped(path, file, member) for member in members}
    except (ValueError, EOFError, zipfile.BadZipFile, struct.error) as error:
        raise MalformedInput(f"not an uncompressed .npz of plain arrays: {error}") from error


def _mapped(path: Path, file: IO[bytes], member: zipfile.ZipInfo) -> NDArray[Any]:
    """One array of the archive, at its place behind the local header of its member and its own."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    file.seek(member.header_offset)
    n_name, n_extra = struct.unpack("<HH", file.read(_LOCAL_HEADER)[-4:])
    file.seek(n_name + n_extra, io.SEEK_CUR)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran_order, dtype = read_header[np.lib.format.read_magic(file)](file)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds objects")
    if 0 in shape:
        return np.empty(shape, dtype)
    order: Literal["C", "F"] = "F" if fortran_order else "C"
    return np.asarray(np.memmap(path, dtype, "r", file.tell(), shape, order))


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
