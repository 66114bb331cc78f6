"""All rows of the lecture, in its order, by chapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from nets.lecture import features, flat, graphs, networks, optimisation, scores
from nets.lecture.claim import Row

_FOUND = {
    row.id: row
    for rows in (scores.ROWS, optimisation.ROWS, features.ROWS, networks.ROWS, flat.ROWS, graphs.ROWS)
    for row in rows
}

ROWS: Final[Mapping[str, Row]] = {name: _FOUND[name] for name in sorted(_FOUND)}

CHAPTERS: Final[Mapping[str, tuple[str, ...]]] = {
    title: tuple(f"L{number:02d}" for number in range(first, last + 1))
    for title, first, last in (
        ("Linear scores and losses", 1, 10),
        ("Optimisation", 11, 15),
        ("Why networks", 16, 32),
        ("Backpropagation", 33, 50),
    )
}


def chapter_of(name: str) -> str:
    """The chapter that a row stands in."""
    return next(title for title, names in CHAPTERS.items() if name in names)
