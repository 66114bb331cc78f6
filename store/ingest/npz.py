"""NPZ: features and target as NumPy arrays, images included, without ever unpickling.

Every array's header is read and its declared size counted before anything is inflated; then the two arrays are
read from the archive block by block, so a file that lies about its sizes costs no memory.
"""

from __future__ import annotations

import errno
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from kernels.errors import InvalidInput, TooLarge
from store.ingest.arrays import Floats, Spool, block_rows
from store.ingest.images import Layout, row_layout, write_images
from store.ingest.limits import BOMB_FREE_BYTES, BOMB_RATIO, MAX_ERRORS, Limits
from store.ingest.options import Request
from store.ingest.problems import cell, of_file, of_option, shown
from store.ingest.tables import RawColumn, RawTable, choose_features, finish
from store.ingest.targets import target_of_numbers, target_of_texts

DOC = "NumPy archive with X (rows, features) or images (rows, height, width[, channels]), and y (rows,)"

FEATURE_NAMES = ("X", "x", "data", "images", "features", "x_train")
"""Names under which the features are looked for, in this order."""

TARGET_NAMES = ("y", "Y", "target", "labels", "label", "y_train")
"""Names under which the target is looked for, unless `target` says."""

_FITS_FLOAT32 = tuple(np.dtype(name) for name in ("?", "i1", "u1", "i2", "u2", "f2", "f4"))
"""Types whose every value is a float32."""

_TARGET_BYTES = 1 << 29
"""Size of the target, which is held in memory."""

_HEADER_LIMIT = 10_000
_MAX_MEMBERS = 1_000
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    UnicodeDecodeError,
    EOFError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)
"""What zipfile raises for damaged, truncated, exotic or encrypted archives."""


@dataclass(frozen=True)
class Member:
    """One array of the archive as its header declares it."""

    name: str
    entry: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    data_start: int

    @property
    def data_bytes(self) -> int:
        """Declared size of the values."""
        return prod(self.shape) * self.dtype.itemsize


def read(request: Request) -> dict[str, Any]:
    """Read features and target of one archive; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    path = request.sources[0].path
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path.stat().st_size, request.limits)
            features = _find(members, FEATURE_NAMES, None)
            target = _find(members, TARGET_NAMES, request.options.target)
            layout = row_layout(features.name, features.dtype, features.shape)
            _check_pair(features, target)
            if layout.image is not None and features.dtype == np.uint8:
                return _read_images(archive, features, target, layout, request)
            return _read_table(archive, features, target, layout, request)
    except _DAMAGED as error:
        raise of_file(f"is a damaged or unsupported archive: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a damaged directory makes zipfile seek to before the start
            raise
        raise of_file("is a damaged archive: its directory points outside of it") from error


def _read_images(
    archive: zipfile.ZipFile, features: Member, target: Member, layout: Layout, request: Request
) -> dict[str, Any]:
    names, texts, values = _target_values(archive, target, request)
    if np.isnan(values).any():
        raise of_file(f"{shown(names)} has rows without a value; images need a label each")
    if texts is None:
        found = target_of_numbers(names, values, request.options.task)
    else:
        found = target_of_texts(names, values.astype(np.int64), texts, request.options.task)
    return write_images(_blocks(archive, features, request), layout, found, names, request)


def _read_table(
    archive: zipfile.ZipFile, features: Member, target: Member, layout: Layout, request: Request
) -> dict[str, Any]:
    name, texts, values = _target_values(archive, target, request)
    chosen = choose_features(layout.names, request.options.features)
    columns = [RawColumn(layout.names[index]) for index in chosen]
    raw = RawTable([*columns, RawColumn(name, texts)], Spool(request.folder / "spool", len(chosen) + 1))
    raw.dtype = np.dtype(np.float32) if features.dtype in _FITS_FLOAT32 else np.dtype(np.float64)
    raw.image = layout.image if len(chosen) == len(layout.names) else None
    unit = raw.image is not None
    for block in _blocks(archive, features, request):
        numbers = block.astype(np.float64)
        _check_finite(numbers, raw.spool.rows, features.name, layout.names, request)
        numbers = numbers[:, chosen]
        numbers[~np.isfinite(numbers)] = np.nan
        unit = unit and bool(np.all((numbers >= 0) & (numbers <= 1)))
        labels = values[raw.spool.rows : raw.spool.rows + len(numbers), None]
        raw.spool.append(np.concatenate([numbers, labels], axis=1))
    raw.standardize = not unit
    return finish(raw, request)


def _check_pair(features: Member, target: Member) -> None:
    n_rows = features.shape[0]
    if target.shape not in {(n_rows,), (n_rows, 1)}:
        raise of_file(
            f"{shown(target.name)} has the shape {target.shape}; must be ({n_rows},), "
            f"one value for each row of {shown(features.name)}"
        )
    if n_rows == 0:
        raise of_file("has no rows; at least 1 is needed")
    if target.dtype.kind not in "biufUS":
        raise of_file(f"{shown(target.name)} has the type {target.dtype}; must be numbers or text")
    if target.data_bytes > _TARGET_BYTES:
        raise TooLarge(f"{shown(target.name)} has {target.data_bytes} bytes; must be 0..{_TARGET_BYTES}")


def _members(archive: zipfile.ZipFile, file_bytes: int, limits: Limits) -> dict[str, Member]:
    entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
    if any(entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for entry in entries):
        raise of_file("is compressed in a way that NumPy does not write; use numpy.savez or savez_compressed")
    if len(entries) > _MAX_MEMBERS:
        raise of_file(f"holds {len(entries)} arrays; must be 2..{_MAX_MEMBERS}")
    members: dict[str, Member] = {}
    for entry in entries:
        name = entry.filename.removesuffix(".npy")
        with archive.open(entry) as stream:
            member = _read_header(name, entry, stream)
        members[name] = member
    declared = sum(max(m.data_bytes, archive.getinfo(m.entry).file_size) for m in members.values())
    limit = min(limits.inflated_bytes, max(BOMB_FREE_BYTES, BOMB_RATIO * file_bytes))
    if declared > limit:
        raise TooLarge(
            f"the archive has {file_bytes} bytes and declares arrays of {declared} bytes; must be 0..{limit}"
        )
    for member in members.values():
        held = archive.getinfo(member.entry).file_size - member.data_start
        if held != member.data_bytes:
            raise of_file(f"array {shown(member.name)} declares {member.data_bytes} bytes and holds {held}")
    return members


def _read_header(name: str, entry: zipfile.ZipInfo, stream: IO[bytes]) -> Member:
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            header = np.lib.format.read_array_header_1_0(stream, _HEADER_LIMIT)
        elif version == (2, 0):
            header = np.lib.format.read_array_header_2_0(stream, _HEADER_LIMIT)
        else:
            raise of_file(f"array {shown(name)} has NPY version {version}; must be (1, 0) or (2, 0)")
    except InvalidInput:
        raise
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise of_file(f"array {shown(name)} has no valid NPY header") from error
    shape, fortran_order, dtype = header
    if dtype.hasobject:
        raise of_file(
            f"array {shown(name)} holds Python objects (pickle), which are never loaded; save numbers or text"
        )
    if any(not isinstance(length, int) or length < 0 for length in shape):
        raise of_file(f"array {shown(name)} has the shape {shown(shape)}; lengths must be 0 or more")
    return Member(name, entry.filename, dtype, tuple(shape), fortran_order, stream.tell())


def _find(members: dict[str, Member], names: Sequence[str], asked: str | None) -> Member:
    wanted = [asked] if asked is not None else names
    for name in wanted:
        if name in members:
            return members[name]
    held = ", ".join(shown(name) for name in members) or "no array"
    if asked is not None:
        raise of_option("target", f"is {shown(asked)}; the archive holds {held}")
    raise of_file(f"holds {held}; one must be called {' or '.join(names[:2])}")


def _stream(archive: zipfile.ZipFile, member: Member) -> Iterator[bytes]:
    """The values of an array in pieces that hold whole rows (of a C-ordered array); exactly the declared bytes."""
    row_bytes = max(1, prod(member.shape[1:]) * member.dtype.itemsize)
    step = block_rows(row_bytes) * row_bytes
    with archive.open(member.entry) as stream:
        stream.read(member.data_start)
        left = member.data_bytes
        while left:
            piece = stream.read(min(step, left))
            if len(piece) != min(step, left):
                raise EOFError(f"array {member.name} ends {left - len(piece)} bytes early")
            left -= len(piece)
            yield piece
        stream.read(1)  # at the end of the entry zipfile compares the checksum


def _blocks(archive: zipfile.ZipFile, member: Member, request: Request) -> Iterator[npt.NDArray[Any]]:
    """The rows of an array, flattened to (k, width), in its own dtype."""
    width = prod(member.shape[1:])
    if not member.fortran_order or len(member.shape) == 1:
        for piece in _stream(archive, member):
            yield np.frombuffer(piece, member.dtype).reshape(-1, width)
        return
    raw = request.folder / "columns"
    with raw.open("wb") as file:
        for piece in _stream(archive, member):
            file.write(piece)
    turned = np.memmap(raw, member.dtype, "r", shape=member.shape, order="F")
    step = block_rows(width * member.dtype.itemsize)
    for start in range(0, len(turned), step):
        block = np.ascontiguousarray(turned[start : start + step])
        yield block.reshape(len(block), width)


def _target_values(archive: zipfile.ZipFile, member: Member, request: Request) -> tuple[str, list[str] | None, Floats]:
    """The target's name, its different texts (None for numbers), and values or codes of shape (n_rows,)."""
    values = np.concatenate([np.frombuffer(piece, member.dtype) for piece in _stream(archive, member)])
    if member.dtype.kind == "b":
        values = values.astype("U5")
    if values.dtype.kind in "US":
        distinct, codes = np.unique(values, return_inverse=True)
        return member.name, _decoded(member.name, distinct), codes.astype(np.float64)
    numbers = values.astype(np.float64)
    _check_finite(numbers[:, None], 0, member.name, [member.name], request)
    numbers[~np.isfinite(numbers)] = np.nan
    return member.name, None, numbers


def _decoded(name: str, distinct: npt.NDArray[Any]) -> list[str]:
    try:
        texts = [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in distinct.tolist()]
        "".join(texts).encode("utf-8")
    except (UnicodeError, ValueError) as error:
        raise of_file(f"{shown(name)} holds text that is not Unicode") from error
    return texts


def _check_finite(block: Floats, first_row: int, array: str, names: Sequence[str], request: Request) -> None:
    """Refuse NaN and infinities, first locations named, unless `missing` says what to do with them."""
    if request.options.accepts_nan:
        return
    places = np.argwhere(~np.isfinite(block))[:MAX_ERRORS].tolist()
    if places:
        raise InvalidInput(
            *(
                cell(
                    first_row + row + 1,
                    names[column],
                    f"{array}[{first_row + row}, {column}] is {block[row, column]}; send "
                    f'"missing": "impute" to have it filled in, or "drop"',
                )
                for row, column in places
            )
        )
