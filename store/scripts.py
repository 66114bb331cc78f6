"""Loads the Lua scripts. Each sees the tables and key names that Python uses, written out as Lua.

A script is one transaction: Redis runs it alone and whole, and writes its effects to the append-only file as
one block. What a script uses of that which they share (`SHARED`) is put before it; Redis caches the compiled text by
its hash.
"""

from __future__ import annotations

import re
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
    """The complete text of a script."""
    return complete(_text(name))


def complete(lines: str) -> str:
    """Lines of a script after the constants and the shared functions that they use, and no others.

    Lua makes them anew at every call: all of them would take longer than most scripts do.
    """
    constants = {
        "NOTIFY": keys.NOTIFY,
        "ENDED": keys.ENDED,
        "TRANSITIONS": transitions.TRANSITIONS,
        "TERMINAL": transitions.TERMINAL,
        "HELD": transitions.HELD,
        "REQUESTS": transitions.REQUESTS,
        "YIELDS": transitions.YIELDS,
        "MAX_CRASHES": transitions.MAX_CRASHES,
        "EVENTS_KEPT": EVENTS_KEPT,
    }
    used = lines
    for name, text in reversed(_shared()):  # what a function uses stands before it
        if name in _words(used):
            used = f"{text}\n\n{used}"
    keys_by_name = {
        **keys.TEMPLATES,
        "entry": wakeups.ENTRY_TEMPLATE,
        "entries": wakeups.LIST_KEY,
        "rq_queues": wakeups.QUEUES_KEY,
    }
    fields = set(re.findall(r"\bKEY\.(\w+)", used))
    head: dict[str, Any] = {"KEY": {name: value for name, value in keys_by_name.items() if name in fields}}
    head |= {name: value for name, value in constants.items() if name in _words(used)}
    return "\n".join([*(f"local {name} = {_lua(value)}" for name, value in head.items()), used])


@cache
def _shared() -> list[tuple[str, str]]:
    """What scripts share, by the name that each piece defines: one local function or variable between blank lines."""
    pieces = [piece for part in SHARED for piece in _text(part).split("\n\n")]
    named = [(re.search(r"^local (?:function )?(\w+)", piece, re.MULTILINE), piece.strip()) for piece in pieces]
    return [(found[1], piece) for found, piece in named if found]


def _text(name: str) -> str:
    return (Path(__file__).parent / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def _words(text: str) -> set[str]:
    """The words of a script, but for those of its comments."""
    return set(re.findall(r"\w+", re.sub("--.*", "", text)))


def load(redis: Redis) -> dict[str, Script]:
    """Every script, ready to be called; no round trip until the first call."""
    return {name: redis.register_script(source(name)) for name in NAMES}
