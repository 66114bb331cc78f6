"""A tape: the calls of one training step, bound once to their arrays and then only called.

Binding ahead (`functools.partial` on views that already exist) leaves nothing to look up, slice or
allocate in the step; on a GPU the same list of calls can be captured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

Array = Any
"""An array of the backend's array module; shapes are given beside every use."""

Tape = list[Callable[[], object]]


def call(tape: Tape, function: Callable[..., object], *args: object, **kwargs: object) -> None:
    """Append `function(*args, **kwargs)` to the tape."""
    tape.append(partial(function, *args, **kwargs))


def play(tape: Tape) -> None:
    """Make every call of the tape, in order."""
    for step in tape:
        step()
