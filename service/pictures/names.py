"""Names of classes and columns as a picture shows them: short, on one line, of characters that its typeface has."""

from __future__ import annotations

import unicodedata
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font

ABSENT = "▯"
"""Stands for a character that the typeface lacks."""


def short(name: str, most: int = 18) -> str:
    """At most so many characters; the middle of a long name is left out, for its end may tell it from others."""
    text = unicodedata.normalize("NFC", " ".join(name.split()))
    if len(text) > most:
        head = (most - 1) * 2 // 3
        text = f"{text[:head].rstrip()}…{text[len(text) - (most - 1 - head) :].lstrip()}"
    return "".join(c if c.isascii() or _has(c) else ABSENT for c in text)


@cache
def _font() -> FT2Font:
    return get_font(findfont(FontProperties(family=["DejaVu Sans"])))


@cache
def _has(character: str) -> bool:
    return bool(_font().get_char_index(ord(character)))
