"""What the target is: classes or a quantity, and its codes.

With `task: auto`:

- text and true/false are classes;
- whole numbers are classes if there are at most two different ones, or at most `AUTO_CLASSES` with
  `AUTO_ROWS_PER_CLASS` rows each on average;
- every other number is a quantity (regression).

Number labels must be whole and not negative (`-1` and `1` alone are accepted as the two classes of the SVM
convention), so that a shifted or scaled label column is noticed instead of learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from store.ingest.arrays import Floats
from store.ingest.limits import MAX_CLASSES, MAX_LABEL_CHARACTERS
from store.ingest.problems import of_file, of_option, shown

AUTO_CLASSES = 100
"""Most different whole numbers that are taken for classes without being told."""

AUTO_ROWS_PER_CLASS = 3
"""Fewest rows per different whole number, on average, for the same."""

MAX_LABEL = 2**31 - 1
"""Largest number accepted as a label."""


@dataclass(frozen=True)
class Target:
    """The target, ready to be stored.

    Attributes:
        task: `classification` or `regression`.
        classes: class names in the order of their codes; empty for regression.
        y: shape (n_rows,); int64 codes, or float64 values.
        warnings: sentences for the uploader.
    """

    task: str
    classes: tuple[str, ...]
    y: npt.NDArray[Any]
    warnings: tuple[str, ...] = ()


def target_of_texts(name: str, codes: npt.NDArray[np.int64], texts: Sequence[str], task: str) -> Target:
    """Labels given as text.

    Args:
        name: of the target column, for messages.
        codes: shape (n_rows,), indices into `texts`.
        texts: the different labels, in any order; unused ones are left out.
        task: `auto`, `classification` or `regression`.

    Raises:
        InvalidInput: text cannot be a quantity; one class; too many classes.
    """
    if task == "regression":
        example = shown(texts[int(codes[0])])
        raise of_option("task", f"is regression, but the target {shown(name)} holds text such as {example}")
    used = np.flatnonzero(np.bincount(codes, minlength=len(texts)))
    order = sorted(used.tolist(), key=lambda code: texts[code])
    table = np.full(len(texts), -1, np.int64)
    table[order] = np.arange(len(order))
    return _classification(name, table[codes], tuple(texts[code] for code in order))


def target_of_numbers(name: str, values: Floats, task: str) -> Target:
    """A target given as finite numbers, shape (n_rows,): labels or a quantity.

    Raises:
        InvalidInput: labels that are fractional, negative, too large, of one class or of too many; numbers that
            may be either and need `task`.
    """
    distinct, codes = np.unique(values, return_inverse=True)
    if task == "regression" or (task == "auto" and not _looks_like_labels(distinct, len(values))):
        constant = (f"the target {shown(name)} has the same value in every row",) if len(distinct) == 1 else ()
        return Target("regression", (), values, constant)
    _check_labels(name, distinct, task)
    found = _classification(name, codes.astype(np.int64), tuple(str(int(value)) for value in distinct))
    if task == "auto" and len(distinct) > 2:
        said = (
            f"the target {shown(name)} has {len(distinct)} different whole numbers and is taken for classes; "
            f"task: regression would predict the number"
        )
        return Target(found.task, found.classes, found.y, (*found.warnings, said))
    return found


def target_of_codes(name: str, codes: npt.NDArray[np.int64], names: Sequence[str]) -> Target:
    """Labels given as places in a list of names, whose order is kept; names without a row are left out.

    Raises:
        InvalidInput: one class; too many classes.
    """
    used = np.flatnonzero(np.bincount(codes, minlength=len(names)))
    table = np.zeros(len(names), np.int64)
    table[used] = np.arange(len(used))
    return _classification(name, table[codes], tuple(names[code] for code in used.tolist()))


def check_label_lengths(name: str, labels: Sequence[str]) -> None:
    """Refuse classes and categories that are documents. Raises: InvalidInput."""
    longest = max(map(len, labels), default=0)
    if longest > MAX_LABEL_CHARACTERS:
        raise of_file(f"column {shown(name)} has a text of {longest} characters; must be 0..{MAX_LABEL_CHARACTERS}")


def alike(name: str, labels: Sequence[str]) -> list[str]:
    """What is said of labels that differ in case or blanks alone: probably one, written in two ways."""
    known: dict[str, str] = {}
    for label in labels:
        other = known.setdefault(label.strip().casefold(), label)
        if other != label:
            return [f"column {shown(name)} tells {shown(other)} and {shown(label)} apart"]
    return []


def _looks_like_labels(distinct: Floats, n_rows: int) -> bool:
    if not bool(np.all(distinct == np.floor(distinct))):
        return False
    count = len(distinct)
    return count <= 2 or (count <= AUTO_CLASSES and n_rows >= AUTO_ROWS_PER_CLASS * count)


def _check_labels(name: str, distinct: Floats, task: str) -> None:
    fractional = distinct[distinct != np.floor(distinct)]
    if len(fractional):
        raise of_file(f"the target {shown(name)} has the label {fractional[0]:g}; labels must be whole numbers or text")
    if distinct[-1] > MAX_LABEL:
        raise of_file(f"the target {shown(name)} has the label {distinct[-1]:.0f}; labels must be 0..{MAX_LABEL}")
    if distinct[0] < 0 and distinct.tolist() != [-1.0, 1.0]:
        hint = "; send task: regression if these are quantities" if task == "auto" else ""
        raise of_file(
            f"the target {shown(name)} has the label {distinct[0]:.0f}; labels must be 0..{MAX_LABEL}, "
            f"text, or exactly -1 and 1{hint}"
        )


def _classification(name: str, codes: npt.NDArray[np.int64], classes: tuple[str, ...]) -> Target:
    if len(classes) < 2:
        raise of_file(f"the target {shown(name)} has one class, {shown(classes[0])}; at least 2 are needed")
    if len(classes) > MAX_CLASSES:
        raise of_file(f"the target {shown(name)} has {len(classes)} different labels; must be 2..{MAX_CLASSES}")
    check_label_lengths(name, classes)
    counts = np.bincount(codes, minlength=len(classes))
    rare = np.flatnonzero(counts < 2)
    said = (
        f"{len(rare)} of {len(classes)} classes have one row only, such as {shown(classes[rare[0]])}"
        if len(rare)
        else ""
    )
    return Target("classification", classes, codes, (*((said,) if said else ()), *alike(name, classes)))
