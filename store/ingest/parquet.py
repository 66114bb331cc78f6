"""Parquet: numbers, text, booleans, dates and dictionaries by column, nulls as missing, in batches of rows.

Read by pyarrow without threads and with text columns left as dictionaries, so that a value which a tiny file repeats a
billion times is held once. What the footer declares is held against the file's size; a
footer that lies about its pages meets a limit of memory that honest pages do not.
"""

from __future__ import annotations

import os
import resource
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kernels.errors import InvalidInput, TooLarge
from store.ingest.arrays import Floats, Spool, block_rows
from store.ingest.inflate import most_cells, most_inflated_bytes
from store.ingest.limits import CELL_BYTES, MAX_COLUMNS, MAX_DISTINCT, MAX_ERRORS
from store.ingest.options import Request, name_problem
from store.ingest.problems import CellError, cell, of_file, shown
from store.ingest.raw import RawColumn, RawTable
from store.ingest.tables import choose_columns, finish

DOC = "columnar table; numbers, text, booleans, dates and dictionaries; nulls are missing"

_TYPE_CHARACTERS = 100
"""Of a nested type, in messages."""

_BUFFER_BYTES = 1 << 20
ROOM_BYTES = 256 << 20
COLUMN_BYTES = 4 << 20
"""Address space that reading may take, and more per column: its pages, of a megabyte each where writers are usual."""


def read(request: Request) -> dict[str, Any]:
    """Read one Parquet file; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the others reserve more address space than the limit allows
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    try:
        return _read(request, pa, pq)
    except pa.ArrowMemoryError as error:
        raise MemoryError from error
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, InvalidInput) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise of_file(f"is a damaged or unsupported Parquet file: {shown(str(error).splitlines()[0])}") from error


def _read(request: Request, pa: Any, pq: Any) -> dict[str, Any]:
    path = str(request.sources[0].path)
    with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as plain:
        schema = plain.schema_arrow
        metadata = plain.metadata
        names = checked_names(schema)
        _check_footer(metadata, names, request)
        scans, warnings = chosen_scans(pa, schema, names, request)
    used = scans
    raw = RawTable([], Spool(request.folder / "spool", len(used)), warnings)
    step = min(block_rows(CELL_BYTES * len(used)), 1 << 16)
    texts = [scan.name for scan in scans if scan.is_text]
    chosen = [scan.name for scan in scans]
    how = {"memory_map": False, "pre_buffer": False, "buffer_size": _BUFFER_BYTES, "read_dictionary": texts}
    with pq.ParquetFile(path, **how) as file, little_memory(ROOM_BYTES + len(used) * COLUMN_BYTES):
        for batch in file.iter_batches(step, columns=chosen, use_threads=False):
            raw.spool.append(parsed(batch, scans, raw.spool.rows, request))
    if raw.spool.rows != metadata.num_rows:
        raise of_file(f"declares {metadata.num_rows} rows and holds {raw.spool.rows}")
    raw.columns = [RawColumn(scan.name, scan.texts, scan.kind) for scan in scans]
    return finish(raw, request)


def chosen_scans(pa: Any, schema: Any, names: Sequence[str], request: Request) -> tuple[list[Scan], list[str]]:
    """The columns to read, the target last, and what is said of those that cannot be read. Raises: InvalidInput."""
    features, target = choose_columns(names, request.options)
    features, warnings = _usable(pa, schema, features, request)
    return [_scan(pa, names[index], schema.field(index).type) for index in (*features, target)], warnings


def checked_names(schema: Any) -> list[str]:
    """The names of all columns. Raises: InvalidInput for too many, or names that mislead or are there twice."""
    names = [str(name) for name in schema.names]
    if len(names) > MAX_COLUMNS:
        raise of_file(f"has {len(names)} columns; must be 2..{MAX_COLUMNS}")
    for index, name in enumerate(names):
        if (problem := name_problem(name)) is not None:
            raise of_file(f"column {index + 1}: the name {problem}")
    if twice := next((name for name, times in Counter(names).items() if times > 1), None):
        raise of_file(f"has two columns named {shown(twice)}")
    return names


def _usable(pa: Any, schema: Any, features: Sequence[int], request: Request) -> tuple[list[int], list[str]]:
    """The features that are numbers, text, truth values or dates, unless they were named; what is said of the others.

    Raises: InvalidInput where none is left.
    """
    if request.options.features is not None:
        return list(features), []
    kept: list[int] = []
    warnings: list[str] = []
    for index in features:
        name, kind = str(schema.names[index]), schema.field(index).type
        if _is_usable(pa, kind) or name in request.options.kinds:
            kept.append(index)
        elif len(warnings) < MAX_ERRORS:
            warnings.append(f"column {shown(name)} is left out: it has the type {str(kind)[:_TYPE_CHARACTERS]}")
    if not kept:
        raise of_file(f"has no feature that can be used: {warnings[0]}")
    return kept, warnings


@contextmanager
def little_memory(n_bytes: int) -> Iterator[None]:
    """Bound the address space to what is taken now and `n_bytes` more, where the system tells how much that is."""
    if sys.platform != "linux":
        yield
        return
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = taken + n_bytes if soft == resource.RLIM_INFINITY else min(soft, taken + n_bytes)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _check_footer(metadata: Any, names: Sequence[str], request: Request) -> None:
    file_bytes = request.sources[0].path.stat().st_size
    limit = most_inflated_bytes(file_bytes, request.limits)
    declared = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    cells = metadata.num_rows * len(names)
    if declared > limit or cells > most_cells(file_bytes, request.limits):
        raise TooLarge(
            f"the file has {file_bytes} bytes and declares {metadata.num_rows} rows of {len(names)} columns, "
            f"{max(declared, cells * CELL_BYTES)} bytes; must be 0..{limit}"
        )


def parsed(batch: Any, scans: Sequence[Scan], first_row: int, request: Request) -> Floats:
    """The cells of some rows, (k, columns). Raises: InvalidInput naming rows."""
    out = np.empty((batch.num_rows, len(scans)))
    errors: list[CellError] = []
    for place, scan in enumerate(scans):
        values, null = scan.convert(batch.column(place))
        wrong = ~np.isfinite(values)
        if request.options.missing == "error":
            wrong |= null
        elif request.options.accepts_nan:
            wrong[:] = False
        else:
            wrong &= ~null
        for row in np.flatnonzero(wrong)[:MAX_ERRORS].tolist():
            said = "the value is missing (null)" if null[row] else f"{values[row]} is not a finite number"
            errors.append(cell(first_row + row + 1, scan.name, said))
        values[~np.isfinite(values)] = np.nan
        out[:, place] = values
    if errors:
        raise InvalidInput(*sorted(errors, key=lambda error: error.row or 0)[:MAX_ERRORS])
    return out


@dataclass
class Scan:
    """One column while it is read: numbers, or texts by code."""

    name: str
    is_text: bool
    cast: Any
    texts: list[str] | None = None
    kind: str | None = None
    codes: dict[str, int] = field(default_factory=dict)

    def convert(self, array: Any) -> tuple[Floats, np.ndarray[Any, np.dtype[np.bool_]]]:
        """Numbers or codes (k,), NaN where null; and where null (k,).

        Raises: pyarrow's ArrowInvalid for places beyond the dictionary, which a damaged file may hold.
        """
        array.validate(full=True)
        null = np.asarray(array.is_null().to_numpy(zero_copy_only=False), bool)
        if self.texts is None:
            numbers = self.cast(array).to_numpy(zero_copy_only=False).astype(np.float64)
            numbers[null] = np.nan
            return numbers, null
        encoded = self.cast(array)
        table = np.array([self._code(text) for text in encoded.dictionary.to_pylist()] or [0.0])
        indices = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        return np.where(null, np.nan, table[indices]), null

    def _code(self, text: Any) -> float:
        """The code of a text; beyond `MAX_DISTINCT` all share the last one. NaN for a null in the dictionary."""
        texts = self.texts
        if text is None or texts is None:
            return float("nan")
        code = self.codes.get(text)
        if code is None:
            if len(texts) >= MAX_DISTINCT:
                return len(texts) - 1.0
            code = self.codes[text] = len(texts)
            texts.append(text)
        return float(code)


def _is_usable(pa: Any, kind: Any) -> bool:
    """Whether cells of an Arrow type, or of what its dictionary holds, can be inputs."""
    types = pa.types
    value = kind.value_type if types.is_dictionary(kind) else kind
    tests = (types.is_string, types.is_large_string, types.is_boolean, types.is_null, types.is_date, types.is_timestamp)
    return any(test(value) for test in (*tests, types.is_integer, types.is_floating, types.is_decimal))


def _scan(pa: Any, name: str, kind: Any) -> Scan:
    """How a column of an Arrow type is read. Raises: InvalidInput for lists, structures, bytes."""
    import pyarrow.compute as compute

    types = pa.types
    value = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_string(value) or types.is_large_string(value) or types.is_boolean(value):
        truth = types.is_boolean(value)
        text = pa.dictionary(pa.int32(), pa.string())

        def encoded(array: Any) -> Any:
            if truth:
                array = array.cast(pa.string())
            if not types.is_dictionary(array.type):
                return array.dictionary_encode()
            return array if array.type == text else array.cast(text)

        return Scan(name, not truth, encoded, [], "boolean" if truth else None)
    if types.is_null(value):
        return Scan(name, False, lambda array: array.cast(pa.float64()))
    if types.is_date(value) or types.is_timestamp(value):

        def seconds(array: Any) -> Any:
            plain = array if value is kind else array.dictionary_decode()
            return compute.divide(plain.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).cast(pa.float64()), 1e6)

        return Scan(name, False, seconds, kind="datetime")
    if types.is_integer(value) or types.is_floating(value) or types.is_decimal(value):

        def numbers(array: Any) -> Any:
            return (array if value is kind else array.dictionary_decode()).cast(pa.float64(), safe=False)

        return Scan(name, False, numbers)
    raise of_file(
        f"column {shown(name)} has the type {str(kind)[:_TYPE_CHARACTERS]}; must be numbers, text, true/false or "
        f"dates; name the columns to use in features"
    )
