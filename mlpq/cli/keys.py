"""Single keys of a terminal, without Enter; the terminal is as it was before, however the block ends."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Keyboard:
    """Keys as they are pressed. `handle` is None where standard input is no terminal: then nothing is ever pressed."""

    def __init__(self, handle: int | None) -> None:
        self._handle = handle

    def pressed(self, wanted: str, within_s: float) -> bool:
        """Whether one of these keys is pressed within so many seconds."""
        until = time.monotonic() + within_s
        while (left := until - time.monotonic()) > 0:
            if self._handle is None:
                time.sleep(left)
            elif select.select([self._handle], [], [], left)[0]:
                typed = os.read(self._handle, 64)
                if not typed or any(key.encode() in typed for key in wanted if len(typed) == 1):
                    return True
        return False


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """A terminal that gives keys at once and does not show them; SIGTERM and SIGHUP end the block, too."""
    endings = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    restored = [(number, signal.signal(number, _leave)) for number in endings]
    try:
        if os.name != "posix" or not sys.stdin.isatty():
            yield Keyboard(None)
            return
        import termios
        import tty

        handle = sys.stdin.fileno()
        before = termios.tcgetattr(handle)
        try:
            tty.setcbreak(handle)
            _without_suspension(handle)
            yield Keyboard(handle)
        finally:
            termios.tcsetattr(handle, termios.TCSADRAIN, before)
    finally:
        for number, handler in restored:
            signal.signal(number, handler)


def _leave(number: int, _: FrameType | None) -> Any:
    """End as by an exception, so that every block is left in order."""
    raise SystemExit(128 + number)


def _without_suspension(handle: int) -> None:
    """Ctrl-Z would leave the shell with a drawn-over screen."""
    import termios

    attributes = termios.tcgetattr(handle)
    attributes[6][termios.VSUSP] = b"\x00"
    termios.tcsetattr(handle, termios.TCSADRAIN, attributes)
