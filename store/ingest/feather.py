"""Feather (the Arrow file format): columns as in Parquet, read a batch of rows at a time."""

from __future__ import annotations

import os
from typing import Any

from kernels.errors import InvalidInput, TooLarge
from store.ingest.arrays import Spool
from store.ingest.inflate import most_cells
from store.ingest.options import Request
from store.ingest.parquet import (
    COLUMN_BYTES,
    ROOM_BYTES,
    checked_names,
    chosen_scans,
    little_memory,
    parsed,
)
from store.ingest.problems import of_file, shown
from store.ingest.raw import RawColumn, RawTable
from store.ingest.tables import finish

DOC = "Feather or Arrow file: columns as in Parquet"

MAGIC = b"ARROW1\0\0"


def read(request: Request) -> dict[str, Any]:
    """Read one Feather file; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the others reserve more address space than the limit allows
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    try:
        return _read(request, pa)
    except pa.ArrowMemoryError as error:
        raise MemoryError from error
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, InvalidInput) or (isinstance(error, OSError) and error.errno is not None):
            raise
        said = (str(error).splitlines() or ["unreadable"])[0]
        raise of_file(f"is a damaged or unsupported Feather file: {shown(said)}") from error


def _read(request: Request, pa: Any) -> dict[str, Any]:
    path = request.sources[0].path
    file_bytes = path.stat().st_size
    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as plain:
        schema = plain.schema
        scans, warnings = chosen_scans(pa, schema, checked_names(schema), request)
    chosen = [scan.name for scan in scans]
    how = pa.ipc.IpcReadOptions(
        use_threads=False, included_fields=sorted(schema.get_field_index(name) for name in chosen)
    )
    raw = RawTable([], Spool(request.folder / "spool", len(scans)), warnings)
    room = ROOM_BYTES + len(scans) * COLUMN_BYTES
    with pa.OSFile(str(path)) as source, little_memory(room), pa.ipc.open_file(source, options=how) as file:
        for place in range(file.num_record_batches):
            batch = file.get_batch(place)
            rows = raw.spool.rows + batch.num_rows
            if rows * len(scans) > most_cells(file_bytes, request.limits):
                raise TooLarge(f"the file has {file_bytes} bytes and holds {rows} rows of {len(scans)} columns or more")
            columns = batch.select(chosen)
            raw.spool.append(parsed(columns, scans, raw.spool.rows, request))
    raw.columns = [RawColumn(scan.name, scan.texts, scan.kind) for scan in scans]
    return finish(raw, request)
