"""What every input of a net is called, after the columns of its data set."""

from __future__ import annotations

from nets.table import MAX_ONE_HOT, Column, TableInfo

_CYCLES = ("day", "week", "year")


def input_names(info: TableInfo) -> list[str]:
    """One name per input (I,): `size`, `weather = sun`, `born (sine of year)`, `size is missing`."""
    return [name for column in info.columns for name in _of(column)]


def _of(column: Column) -> list[str]:
    if column.kind == "categorical":
        if len(column.categories) > MAX_ONE_HOT:  # which ones have inputs is decided by the training rows
            return [f"{column.name}, category {place + 1}" for place in range(MAX_ONE_HOT)] + [f"{column.name}, others"]
        return [f"{column.name} = {category}" for category in column.categories] or [column.name]
    names = [column.name]
    if column.kind == "datetime":
        names += [f"{column.name} ({wave} of {cycle})" for cycle in _CYCLES for wave in ("sine", "cosine")]
    return names + ([f"{column.name} is missing"] if column.has_indicator else [])
