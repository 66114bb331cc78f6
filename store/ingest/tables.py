"""Tables of any format: which columns, of which kind, with which categories; from a spool to x.npy and y.npy.

A format module reads its file into a `RawTable`: a spool of float64 whose columns are the features in order and
then the target, numbers as they are, texts as codes of first appearance, NaN where a cell is missing. `finish`
does the rest in three passes over the spool, in constant memory: which rows stay, what the columns hold, writing.

Kinds: `numeric`; `datetime`, seconds since 1970; `boolean` for texts such as true/false or yes/no; `categorical` for
all other text; or what the option `columns` says (kinds.py). Categories are sorted; their codes are their places.
Beyond `MAX_CATEGORIES` the most frequent stay and the others share the code behind the last. A text feature that has
a different value in nearly every row (names, ids, free text) is left out unless `features` or `columns` names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.errors import meant
from store.ingest.arrays import Floats, NpyWriter
from store.ingest.columns import Column, Statistics
from store.ingest.kinds import check_kinds, with_kinds
from store.ingest.limits import MAX_CATEGORIES
from store.ingest.options import IngestOptions, Request
from store.ingest.problems import of_file, of_kind, of_option, shown
from store.ingest.raw import RawColumn, RawTable
from store.ingest.targets import Target, alike, check_label_lengths, target_of_numbers, target_of_texts

BOOLEAN_PAIRS = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"), ("0", "1"))
"""Pairs of texts (in any case) that make a column boolean; numbers only where that was asked for."""

_TRUTHS = frozenset(text for pair in BOOLEAN_PAIRS for text in pair)

IDENTIFIER_VALUES = 50
"""A text feature with more different values than this may be an identifier ..."""

IDENTIFIER_SHARE = 0.5
"""... if in addition they number more than this share of the rows."""


def choose_columns(names: Sequence[str], options: IngestOptions) -> tuple[list[int], int]:
    """Indices of the features, in the order asked for, and of the target (default the last column).

    Raises:
        InvalidInput: an unknown name; the target among the features; fewer than two columns.
    """
    if len(names) < 2:
        raise of_file(f"has {len(names)} column; at least one feature and a target are needed")
    if options.target is not None and options.target not in names:
        raise of_option("target", f"is {shown(options.target)}; {_columns(names, options.target)}")
    target = names.index(options.target) if options.target is not None else len(names) - 1
    if options.features is None:
        return [index for index in range(len(names)) if index != target], target
    if names[target] in options.features:
        raise of_option("features", f"names the target {shown(names[target])}")
    return choose_features(names, options.features), target


def choose_features(names: Sequence[str], features: Sequence[str] | None) -> list[int]:
    """Indices of the named columns, in the order asked for (default all). Raises: InvalidInput for an unknown name."""
    if features is None:
        return list(range(len(names)))
    place = {name: index for index, name in enumerate(names)}
    for name in features:
        if name not in place:
            raise of_option("features", f"names {shown(name)}; {_columns(names, name)}")
    return [place[name] for name in features]


def _columns(names: Sequence[str], wanted: str) -> str:
    """The columns that there are, and the one that was meant."""
    cut = ", ".join(shown(name) for name in names[:20])
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"the columns are {cut}{more}{meant(wanted, names)}"


def finish(raw: RawTable, request: Request) -> dict[str, Any]:
    """Write `x.npy` (n_rows, n_features) and `y.npy` (n_rows,); return the content of `info.json`.

    Raises:
        InvalidInput: no rows, or a target that cannot be learned.
    """
    options = request.options
    check_kinds(options, [column.name for column in raw.columns[:-1]], raw.columns[-1].name)
    raw = with_kinds(raw, options, request.folder)
    warnings = list(raw.warnings)
    keep = _rows_to_keep(raw, options, warnings)
    statistics = _measure(raw, keep)
    features = _features(raw, statistics, options, warnings)
    if _counts_rows(raw, options):
        name = shown(raw.columns[0].name)
        warnings.append(
            f"column {name} counts the rows; unless their order means something, leave it out with features"
        )
    encoders = [_encoder(raw.columns[index], statistics, index, warnings) for index in features]
    target = _target(raw, keep, options)
    with NpyWriter(request.folder / "x.npy", raw.dtype, (len(features),)) as x:
        for place, block in raw.spool.blocks():
            x.append(_encoded(block[keep[place]], features, encoders))
    with NpyWriter(request.folder / "y.npy", target.y.dtype, ()) as y:
        y.append(target.y)
    return describe(
        columns=[encoder.column for encoder in encoders],
        target=target,
        target_name=raw.columns[-1].name,
        standardize=raw.standardize if options.standardize is None else options.standardize,
        warnings=warnings,
        image=raw.image,
    )


def boolean_pair(categories: Sequence[str]) -> tuple[str, ...] | None:
    """False and true as a column writes them, if these are its only texts; the one that never occurs is added."""
    for pair in BOOLEAN_PAIRS:
        written = {text.lower(): text for text in categories}
        if len(written) == len(categories) and set(written) <= set(pair):
            return tuple(written.get(text, text) for text in pair)
    return None


def describe(
    *,
    columns: Sequence[Column],
    target: Target,
    target_name: str,
    standardize: bool,
    warnings: Sequence[str],
    image: dict[str, int] | None = None,
) -> dict[str, Any]:
    """The content of `info.json`, the same for every format."""
    return {
        "n_rows": len(target.y),
        "n_features": len(columns),
        "task": target.task,
        "target": target_name,
        "n_classes": len(target.classes) or None,
        "classes": list(target.classes),
        "standardize": standardize,
        "image": image,
        "columns": [column.to_json() for column in columns],
        "warnings": [*warnings, *target.warnings],
    }


def _rows_to_keep(raw: RawTable, options: IngestOptions, warnings: list[str]) -> npt.NDArray[np.bool_]:
    keep = np.ones(raw.spool.rows, np.bool_)
    unlabelled = 0
    for place, block in raw.spool.blocks():
        labelled = ~np.isnan(block[:, -1])
        unlabelled += int(np.count_nonzero(~labelled))
        keep[place] = labelled & ~np.isnan(block).any(axis=1) if options.missing == "drop" else labelled
    dropped = len(keep) - int(np.count_nonzero(keep)) - unlabelled
    if unlabelled:
        warnings.append(f"{unlabelled} rows have no target and are left out")
    if dropped:
        warnings.append(f"{dropped} rows have missing cells and are left out")
    if not keep.any():
        raise of_file("has no rows with a target" if len(keep) else "has no rows; at least 1 is needed")
    return keep


def _measure(raw: RawTable, keep: npt.NDArray[np.bool_]) -> Statistics:
    statistics = Statistics([None if column.texts is None else len(column.texts) for column in raw.columns])
    for place, block in raw.spool.blocks():
        statistics.add(block[keep[place]])
    return statistics


def _features(raw: RawTable, statistics: Statistics, options: IngestOptions, warnings: list[str]) -> list[int]:
    """The features to store: all, less what looks like an identifier unless it was asked for."""
    every = list(range(len(raw.columns) - 1))
    if options.features is not None:
        return every
    kinds = options.kinds
    found = [
        index
        for index in every
        if raw.columns[index].name in kinds or not _is_identifier(raw.columns[index], statistics, index)
    ]
    warnings.extend(
        f"column {shown(raw.columns[index].name)} is left out: {statistics.distinct(index)} different texts in "
        f"{statistics.present[index]} rows look like names or ids; list it in features to use it"
        for index in sorted(set(every) - set(found))
    )
    if not found:
        raise of_file("has no feature left: every text column has a different value in nearly every row")
    return found


def _is_identifier(column: RawColumn, statistics: Statistics, index: int) -> bool:
    distinct = statistics.distinct(index) or 0
    return column.texts is not None and distinct > max(
        IDENTIFIER_VALUES, IDENTIFIER_SHARE * float(statistics.present[index])
    )


def _counts_rows(raw: RawTable, options: IngestOptions) -> bool:
    """Whether the first feature is 0, 1, 2, … or 1, 2, 3, …, one more in every row of the file."""
    rows = raw.spool.rows
    if raw.columns[0].texts is not None or rows <= IDENTIFIER_VALUES or options.features is not None:
        return False
    first = next(float(block[0, 0]) for _, block in raw.spool.blocks())
    if first not in {0.0, 1.0}:
        return False
    return all(
        bool(np.array_equal(block[:, 0], first + np.arange(place.start, place.start + len(block))))
        for place, block in raw.spool.blocks()
    )


@dataclass(frozen=True)
class _Encoder:
    """A stored column and, for text, the table from code of first appearance to stored code (NaN: missing)."""

    column: Column
    table: Floats | None


def _encoder(raw: RawColumn, statistics: Statistics, index: int, warnings: list[str]) -> _Encoder:
    column = statistics.column(index, raw.name)
    if not statistics.present[index]:
        warnings.append(f"column {shown(raw.name)} has no value in any row")
    elif statistics.is_constant(index):
        warnings.append(f"column {shown(raw.name)} has the same value in every row")
    counts, texts = statistics.counts[index], raw.texts
    if counts is None or texts is None:
        return _Encoder(replace(column, kind=raw.kind or "numeric", order=raw.order), None)
    used = np.flatnonzero(counts)
    kept = used[np.argsort(-counts[used], kind="stable")][:MAX_CATEGORIES].tolist()
    if len(used) > MAX_CATEGORIES:
        warnings.append(
            f"column {shown(raw.name)} has {len(used)} categories; the {MAX_CATEGORIES} most frequent are kept, "
            f"the others count as one"
        )
    categories = tuple(sorted(texts[code] for code in kept))
    check_label_lengths(raw.name, categories)
    warnings.extend(alike(raw.name, categories))
    pair = boolean_pair(categories) if raw.kind != "categorical" else None
    if raw.kind == "boolean" and pair is None:
        example = next((text for text in categories if text.lower() not in _TRUTHS), categories[0])
        raise of_kind(raw.name, f"is boolean, but the column holds {shown(example)}")
    if pair is not None and (raw.kind == "boolean" or (len(categories) == 2 and pair != ("0", "1"))):
        column, categories = replace(column, kind="boolean"), pair
    else:
        column = replace(column, kind="categorical")
    place = {text: float(code) for code, text in enumerate(categories)}
    others = float(len(categories))
    table = np.array([place.get(text, others) for text in texts] or [others])
    return _Encoder(replace(column, categories=categories), table)


def _encoded(block: Floats, features: Sequence[int], encoders: Sequence[_Encoder]) -> Floats:
    out = block[:, features]
    for place, encoder in enumerate(encoders):
        if encoder.table is not None:
            codes = out[:, place]
            known = ~np.isnan(codes)
            out[known, place] = encoder.table[codes[known].astype(np.intp)]
    return out


def _target(raw: RawTable, keep: npt.NDArray[np.bool_], options: IngestOptions) -> Target:
    column = raw.columns[-1]
    values = raw.spool.column(len(raw.columns) - 1)[keep]
    if column.texts is None:
        return target_of_numbers(column.name, values, options.task)
    return target_of_texts(column.name, values.astype(np.int64), column.texts, options.task)
