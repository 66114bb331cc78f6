"""NPY: a table of numbers in one file, its last column the target, or features and target in two.

The declared size is held against the file's before a value is read, so a header that lies costs no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import IO, Any

import numpy as np

from store.ingest.arrays import Spool
from store.ingest.images import row_layout
from store.ingest.inflate import check_inflates, open_bytes
from store.ingest.options import Request, Source
from store.ingest.pairs import check_finite, read_pair, stored_dtype
from store.ingest.problems import of_file, of_option, shown
from store.ingest.raw import RawColumn, RawTable
from store.ingest.source_arrays import SourceArray, read_npy_header
from store.ingest.tables import choose_columns, finish

DOC = "NumPy array (rows, columns) with the target in the last column, or two files: features and target (rows,)"


def read(request: Request) -> dict[str, Any]:
    """Read one or two NPY files; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    arrays = [_array(source, request) for source in request.sources]
    if len(arrays) == 1:
        return _read_table(arrays[0], request)
    if request.options.target is not None:
        raise of_option("target", "names a column of one table; of two files the one with one value per row is taken")
    targets = [array for array in arrays if prod(array.shape[1:]) == 1 and len(array.shape) <= 2]
    if len(targets) != 1:
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise of_file(f"came as arrays of shapes {shapes}; exactly one must have one value per row, the target")
    [features] = [array for array in arrays if array is not targets[0]]
    return read_pair(features, targets[0], request)


def _array(source: Source, request: Request) -> SourceArray:
    held = check_inflates(source.path, request.limits)
    with open_bytes(source.path, request.limits) as stream:
        header = read_npy_header(source.filename, stream)

    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with open_bytes(source.path, request.limits) as stream:
            stream.read(header.size)
            yield stream

    array = SourceArray(source.filename, header.dtype, header.shape, header.fortran_order, opened)
    if array.data_bytes != held - header.size:
        raise of_file(f"array {shown(array.name)} declares {array.data_bytes} bytes and holds {held - header.size}")
    return array


def _read_table(array: SourceArray, request: Request) -> dict[str, Any]:
    if len(array.shape) != 2:
        raise of_file(
            f"{shown(array.name)} has the shape {array.shape}; must be (rows, columns) with the target as one column, "
            f"or come with a second file that holds the target"
        )
    names = row_layout(array.name, array.dtype, array.shape).names
    features, target = choose_columns(names, request.options)
    used = [*features, target]
    raw = RawTable([RawColumn(names[index]) for index in used], Spool(request.folder / "spool", len(used)))
    raw.dtype = stored_dtype(array.dtype)
    for block in array.blocks(request.folder):
        numbers = block.astype(np.float64)[:, used]
        check_finite(numbers, raw.spool.rows, array.name, [names[index] for index in used], request)
        numbers[~np.isfinite(numbers)] = np.nan
        raw.spool.append(numbers)
    return finish(raw, request)
