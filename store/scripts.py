"""Loads the Lua scripts. Each sees the tables and key names that Python uses, written out as Lua.

A script is one transaction: Redis runs it alone and whole, and writes its effects to the append-only file as
one block. What they share (`SHARED`) is put before each; Redis caches the compiled text by its hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from redis import Redis
from redis.commands.core import Script

from store import keys, transitions, wakeups

EVENTS_KEPT = 200_000
"""Events kept per job (at least; Redis trims whole blocks). A reader who missed more gets a `reset`."""

SHARED = ("log", "queue", "turns", "record")
"""Functions for all scripts, in this order: each file knows those before it."""

NAMES = (
    "create",
    "get",
    "page",
    "statistics",
    "patch",
    "delete",
    "request",
    "claim",
    "companions",
    "write",
    "finish",
    "keep",
    "crashed",
    "reap",
    "decide",
    "sweep_cancel",
    "sweep_delete",
)


def _lua(value: Any) -> str:
    """A Python constant as Lua source."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"[{_lua(key)}] = {_lua(item)}" for key, item in sorted(value.items())) + "}"
    if isinstance(value, frozenset):
        return _lua(dict.fromkeys(value, True))
    return str(value).lower() if isinstance(value, bool) else str(value)


@cache
def source(name: str) -> str:
    """The complete text of a script: constants, shared functions, its own lines."""
    folder = Path(__file__).parent / "lua"
    constants = {
        "KEY": dict(keys.TEMPLATES)
        | {"entry": wakeups.ENTRY_TEMPLATE, "entries": wakeups.LIST_KEY, "rq_queues": wakeups.QUEUES_KEY},
        "NOTIFY": keys.NOTIFY,
        "TRANSITIONS": transitions.TRANSITIONS,
        "TERMINAL": transitions.TERMINAL,
        "HELD": transitions.HELD,
        "REQUESTS": transitions.REQUESTS,
        "YIELDS": transitions.YIELDS,
        "MAX_CRASHES": transitions.MAX_CRASHES,
        "EVENTS_KEPT": EVENTS_KEPT,
    }
    head = "\n".join(f"local {key} = {_lua(value)}" for key, value in constants.items())
    return "\n".join([head, *((folder / f"{part}.lua").read_text(encoding="utf-8") for part in (*SHARED, name))])


def load(redis: Redis) -> dict[str, Script]:
    """Every script, ready to be called; no round trip until the first call."""
    return {name: redis.register_script(source(name)) for name in NAMES}
