"""The place under a notebook's cell that is drawn again and again. IPython is imported only where it runs already."""

from __future__ import annotations

import sys
from typing import Any


class Screen:
    """HTML under the present cell, replaced by each `show`."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, html: str) -> None:
        """Draw, in the place of what was there."""
        from IPython.display import HTML, display

        if self._handle is None:
            self._handle = display(HTML(html), display_id=True)
        else:
            self._handle.update(HTML(html))


def screen() -> Screen | None:
    """A place to draw, inside a notebook's kernel; None in a terminal, a script, or without IPython."""
    python = sys.modules.get("IPython")
    shell = None if python is None else python.get_ipython()
    return None if getattr(shell, "kernel", None) is None else Screen()
