"""NPZ: features and target as NumPy arrays, images included, without ever unpickling.

Every array's header is read and its declared size counted before anything is inflated; then the two arrays are
read from the archive block by block, so a file that lies about its sizes costs no memory.
"""

from __future__ import annotations

import errno
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from kernels.errors import InvalidInput, TooLarge, meant
from store.ingest.inflate import most_inflated_bytes
from store.ingest.limits import Limits
from store.ingest.options import Request
from store.ingest.pairs import read_pair
from store.ingest.parts import with_parts
from store.ingest.problems import of_file, of_option, shown
from store.ingest.source_arrays import SourceArray, continues, joined, read_npy_header

DOC = "NumPy archive with X (rows, features) or images (rows, height, width[, channels]), and y (rows,), also x_train …"

SPLIT_NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("X_train", "y_train", "X_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)
"""Names of features and target of the rows that train, and of those that test."""

FEATURE_NAMES = ("X", "x", "data", "images", "features", *(row[0] for row in SPLIT_NAMES), "arr_0")
"""Names under which the features are looked for, in this order."""

TARGET_NAMES = ("y", "Y", "target", "labels", "label", "y_train", "train_labels", "arr_1")
"""Names under which the target is looked for, unless `target` says."""

_MAX_MEMBERS = 1_000
_SHOWN = 10
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


def read(request: Request) -> dict[str, Any]:
    """Read features and target of one archive; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    path = request.sources[0].path
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = _arrays(archive, path.stat().st_size, request.limits)
            if not arrays:
                raise _no_arrays(archive.namelist())
            return _read(arrays, request)
    except _DAMAGED as error:
        raise of_file(f"is a damaged or unsupported archive: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a damaged directory makes zipfile seek to before the start
            raise
        raise of_file("is a damaged archive: its directory points outside of it") from error


def _read(arrays: Mapping[str, SourceArray], request: Request) -> dict[str, Any]:
    """Features and target, with the test rows after the others where the archive has both."""
    options, part = request.options, request.options.part
    names = next((row for row in SPLIT_NAMES if {row[0], row[2]} & arrays.keys()), SPLIT_NAMES[0])
    joins = part is None and options.missing != "drop" and options.target in {None, names[1]}
    tests = [arrays[name] for name in names[2:] if name in arrays]
    if part is not None and len(tests) < 2:
        raise of_option("part", f"is {part}; the archive has no {' and '.join(names[2:])}")
    if part == "test":
        used = tests
    else:
        used = [_find(arrays, FEATURE_NAMES, None), _find(arrays, TARGET_NAMES, options.target)]
    pairs = list(zip(used, tests, strict=True)) if joins and len(tests) == len(used) else []
    if not all(continues(*pair) for pair in pairs):
        pairs = []
    features, target = [joined(*pair) for pair in pairs] or used
    info = read_pair(features, target, request)
    left_out = arrays.keys() - {array.name for array in used} - {test.name for _, test in pairs}
    return with_parts(info, pairs[0][1].shape[0] if pairs else 0, _warnings(sorted(left_out)))


def _warnings(left_out: Sequence[str]) -> list[str]:
    more = ", …" if len(left_out) > _SHOWN else ""
    return [f"left out: {', '.join(map(shown, left_out[:_SHOWN]))}{more}"] if left_out else []


def _no_arrays(names: Sequence[str]) -> InvalidInput:
    """What a zip archive that is not NumPy's may be, and what to do with it."""
    if "[Content_Types].xml" in names:
        return of_file("is an office document; save its sheet as CSV")
    if not names:
        return of_file("is an empty archive; an NPZ holds arrays X and y")
    return of_file(
        f"is a zip archive of files such as {shown(names[-1])}; send one of them by itself, or images as "
        f"one NPZ with X (rows, height, width[, channels]) and y (rows,)"
    )


def _arrays(archive: zipfile.ZipFile, file_bytes: int, limits: Limits) -> dict[str, SourceArray]:
    """Every array by name, its declared size believed only if the archive's directory agrees."""
    entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
    if any(entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for entry in entries):
        raise of_file("is compressed in a way that NumPy does not write; use numpy.savez or savez_compressed")
    if len(entries) > _MAX_MEMBERS:
        raise of_file(f"holds {len(entries)} arrays; must be 2..{_MAX_MEMBERS}")
    found = [_array(archive, entry) for entry in entries]
    declared = sum(max(array.data_bytes, entry.file_size) for (array, _), entry in zip(found, entries, strict=True))
    limit = most_inflated_bytes(file_bytes, limits)
    if declared > limit:
        raise TooLarge(
            f"the archive has {file_bytes} bytes and declares arrays of {declared} bytes; must be 0..{limit}"
        )
    for (array, start), entry in zip(found, entries, strict=True):
        held = entry.file_size - start
        if held != array.data_bytes:
            raise of_file(f"array {shown(array.name)} declares {array.data_bytes} bytes and holds {held}")
    return {array.name: array for array, _ in found}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[SourceArray, int]:
    """An array, and where in its entry the values begin."""
    name = entry.filename.removesuffix(".npy")
    with archive.open(entry) as stream:
        header = read_npy_header(name, stream)

    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with archive.open(entry) as stream:
            stream.read(header.size)
            yield stream

    return SourceArray(name, header.dtype, header.shape, header.fortran_order, opened), header.size


def _find(arrays: Mapping[str, SourceArray], names: Sequence[str], asked: str | None) -> SourceArray:
    wanted = [asked] if asked is not None else names
    for name in wanted:
        if name in arrays:
            return arrays[name]
    held = ", ".join(shown(name) for name in arrays) or "no array"
    if asked is not None:
        raise of_option("target", f"is {shown(asked)}; the archive holds {held}{meant(asked, arrays)}")
    raise of_file(f"holds {held}; one must be called {' or '.join(names[:2])}")
