"""Kinds that the uploader chose: numbers become categories, texts become numbers or dates, and misfits are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kernels.dates import EXAMPLES, ORDERS, seconds_of
from kernels.errors import InvalidInput
from store.ingest.arrays import Floats, Spool
from store.ingest.limits import MAX_DISTINCT
from store.ingest.options import IngestOptions
from store.ingest.problems import cell, of_kind, shown
from store.ingest.raw import RawColumn, RawTable


def check_kinds(options: IngestOptions, features: Sequence[str], target: str) -> None:
    """Whether the option `columns` names features. Raises: InvalidInput."""
    for name in options.kinds:
        if name == target:
            raise of_kind(name, "is the target; say with task what it is")
        if name not in features:
            raise of_kind(name, f"is no feature; they are {', '.join(map(shown, features[:20]))}")


def with_kinds(raw: RawTable, options: IngestOptions, folder: Path) -> RawTable:
    """The table whose columns are of the kinds that were asked for; itself where they are.

    Raises:
        InvalidInput: a text that is no number, or no date, with its row; too many different numbers for categories.
    """
    kinds = options.kinds
    recodings: dict[int, Callable[[Floats, int], Floats]] = {}
    columns = list(raw.columns)
    for index, column in enumerate(raw.columns[:-1]):
        kind = kinds.get(column.name, column.kind)
        if kind is None or column.kind == kind:
            continue
        if column.texts is None and kind in {"categorical", "boolean"}:
            values = _distinct(raw.spool, index, column.name)
            texts = tuple(_text(value) for value in values.tolist())
            recodings[index] = _places(values)
            columns[index] = RawColumn(column.name, texts, kind)
        elif column.texts is not None and kind in {"numeric", "datetime"}:
            order = options.dates or found_order(column.texts) if kind == "datetime" else None
            recodings[index] = _parsed(column, kind, order)
            columns[index] = RawColumn(column.name, None, kind, order)
        else:
            columns[index] = replace(column, kind=kind)
    if not recodings:
        return replace(raw, columns=columns)
    spool = Spool(folder / "spool-of-kinds", raw.spool.width)
    for place, block in raw.spool.blocks():
        for index, recode in recodings.items():
            block[:, index] = recode(block[:, index], place.start)
        spool.append(block)
    return replace(raw, columns=columns, spool=spool, dtype=np.dtype(np.float64))


def _distinct(spool: Spool, index: int, name: str) -> Floats:
    found = np.empty(0)
    for _, block in spool.blocks():
        found = np.union1d(found, block[~np.isnan(block[:, index]), index])
        if len(found) > MAX_DISTINCT:
            raise of_kind(name, f"has more than {MAX_DISTINCT} different numbers; too many for categories")
    return found


def _text(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _places(values: Floats) -> Callable[[Floats, int], Floats]:
    return lambda cells, _: np.where(np.isnan(cells), np.nan, np.searchsorted(values, cells).astype(np.float64))


def found_order(texts: Iterable[str]) -> str | None:
    """The only order of day and month in which all of some texts are dates; None where there are two, or none."""
    orders = possible_orders(texts)
    return orders[0] if len(orders) == 1 else None


def possible_orders(texts: Iterable[str]) -> tuple[str, ...]:
    """The orders of day and month in which all of some texts are dates."""
    orders: tuple[str, ...] = ORDERS
    for text in texts:
        orders = tuple(order for order in orders if seconds_of(text.strip(), order) is not None)
        if not orders:
            break
    return orders


def _parsed(column: RawColumn, kind: str, order: str | None) -> Callable[[Floats, int], Floats]:
    """Codes of texts -> the numbers or dates that they spell."""
    texts = list(column.texts or ())
    parsed = [seconds_of(text.strip(), order) if kind == "datetime" else _number(text.strip()) for text in texts]
    table = np.array([np.nan if value is None else value for value in parsed] + [np.nan])
    wanted = f"no date-time; write it like {EXAMPLES}" if kind == "datetime" else "not a number"

    def recode(cells: Floats, first_row: int) -> Floats:
        codes = np.where(np.isnan(cells), len(texts), cells).astype(np.intp)
        out = table[codes]
        wrong = np.flatnonzero(np.isnan(out) & ~np.isnan(cells))
        if len(wrong):
            row = int(wrong[0])
            raise InvalidInput(cell(first_row + row + 1, column.name, f"{shown(texts[codes[row]])} is {wanted}"))
        return out

    return recode


def _number(text: str) -> float | None:
    from store.ingest.csv_columns import is_number

    value = float(text) if is_number(text) else float("nan")
    return value if np.isfinite(value) else None
