"""Rows to predict from files that are stored by column: Parquet and Feather, by pyarrow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from mlpq.errors import InvalidArgumentError


def read_columns(content: bytes, known: Sequence[str]) -> list[dict[str, Any]]:
    """Rows by name, of the columns that are known where there are such; dates as text, NaN and null as None.

    Raises:
        InvalidArgumentError: pyarrow is not installed, or cannot read the file.
    """
    try:
        import pyarrow as pa
        from pyarrow import feather, parquet
    except ImportError as error:
        raise InvalidArgumentError("Parquet and Feather files need pyarrow", "`pip install pyarrow`") from error
    read = parquet.read_table if content.startswith(b"PAR1") else feather.read_table
    try:
        table = read(pa.BufferReader(content))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidArgumentError(f"the file cannot be read: {error}") from error
    chosen = [name for name in table.column_names if name in known] or table.column_names
    return [{name: _value(value) for name, value in row.items()} for row in table.select(chosen).to_pylist()]


def _value(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return None if isinstance(value, float) and math.isnan(value) else value
