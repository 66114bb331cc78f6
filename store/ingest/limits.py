"""What one file may cost before it is refused: bytes, cells, seconds. One place, units in the names."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

_MIB = 1 << 20
_GIB = 1 << 30

MAX_ERRORS = 10
"""Locations named in one answer; the first ones found."""

MAX_NAME_CHARACTERS = 200
"""Length of a data set's or a column's name."""

MAX_COLUMNS = 65_536
"""Columns of a table; the widest layer a net may have."""

MAX_FIELD_CHARACTERS = 65_536
"""Length of one CSV field. A forgotten closing quote is found after this much text."""

MAX_LINE_CHARACTERS = 8 * _MIB
"""Length of one line of a CSV file: the widest table with 128 characters a cell."""

MAX_LABEL_CHARACTERS = 1_000
"""Length of one category or class name."""

MAX_CATEGORIES = 256
"""Categories kept per feature, the most frequent ones; the rest count as missing."""

MAX_DISTINCT = 100_000
"""Distinct texts remembered per column while reading; what comes later is counted as one."""

MAX_CLASSES = 1_000
"""Classes of a target."""

BOMB_RATIO = 200
"""Inflated over compressed size from which a file is taken for a bomb (deflate reaches 1 032)."""

BOMB_FREE_BYTES = 64 * _MIB
"""Files that inflate to less than this may have any ratio."""

CELL_BYTES = 8
"""A cell of a table while it is read."""

CELL_RATIO = 8
"""Encodings pack cells closer than compression packs bytes: a number in one bit is no bomb."""


@dataclass(frozen=True)
class Limits:
    """Limits of one ingest.

    Attributes:
        memory_bytes: address space of the process (`RLIMIT_AS`).
        cpu_s: processor time (`RLIMIT_CPU`).
        wall_s: time from start to kill.
        inflated_bytes: size of a file once decompressed, or the sum of an archive's declared arrays.
        output_bytes: size of one written array (`RLIMIT_FSIZE`).
    """

    memory_bytes: int = 2 * _GIB
    cpu_s: int = 900
    wall_s: float = 1_200.0
    inflated_bytes: int = 32 * _GIB
    output_bytes: int = 64 * _GIB

    def to_json(self) -> dict[str, Any]:
        """The limits as a JSON object."""
        return asdict(self)
