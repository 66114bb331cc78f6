"""How much memory a CPU worker has in all: what is built in, or less where a container grants less."""

from __future__ import annotations

import os
from pathlib import Path


def total_bytes() -> int:
    """Bytes of memory of this machine, or of the control group (v2) that holds this process."""
    built_in = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(built_in, granted_bytes(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")) or built_in)


def granted_bytes(root: Path, membership: Path) -> int | None:
    """The smallest `memory.max` on the way from the root of the control groups to ours; None where none is set."""
    try:
        lines = membership.read_text("ascii").splitlines()
    except OSError:
        return None
    path = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    group = root / path
    places = [group, *(parent for parent in group.parents if parent.is_relative_to(root))]
    limits = [limit for place in places if (limit := _limit(place / "memory.max")) is not None]
    return min(limits, default=None)


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text("ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max": nothing limits it here
