"""Names of classes and columns as a picture shows them: short, on one line, of characters that a typeface has.

A picture's own typeface has Latin, Greek, Cyrillic, Hebrew and Arabic. Where the machine has one of `MORE_FAMILIES`,
other characters come from that; else a letter is written as Unicode spells it (`ネコ` as "neko"), a symbol in words
(`🐶` as "(dog face)"), and an ideograph by its number (`猫` as "U+732B"), so that names stay apart.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

FAMILY = "DejaVu Sans"
MORE_FAMILIES = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans JP",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "Unifont",
)
"""Free typefaces of many scripts, taken where they are installed."""

_SPELLED = re.compile(r"(?:LETTER|SYLLABLE|CHARACTER|VOWEL SIGN)(?: (?:SMALL|CAPITAL))? ([A-Z]+)")
_SILENT = {"Mn", "Mc", "Me", "Cf"}
"""Marks that add nothing where the letter before them is spelled."""


@cache
def families(more: tuple[str, ...] = MORE_FAMILIES) -> list[str]:
    """The typefaces in the order in which a character is looked for."""
    installed = {font.name for font in fontManager.ttflist}
    return [FAMILY, *(name for name in more if name in installed)]


def short(name: str, most: int = 18) -> str:
    """At most so many characters; the middle of a long name is left out, for its end may tell it from others."""
    text = unicodedata.normalize("NFC", " ".join(name.split()))
    text = "".join(c if c.isascii() or has(c) else _spelled(c) for c in text)
    if len(text) <= most:
        return text
    head = (most - 1) * 2 // 3
    return f"{text[:head].rstrip()}…{text[len(text) - (most - 1 - head) :].lstrip()}"


@cache
def has(character: str, more: tuple[str, ...] = MORE_FAMILIES) -> bool:
    """Whether one of the typefaces has a character."""
    fonts = (get_font(findfont(FontProperties(family=[name]))) for name in families(more))
    return any(font.get_char_index(ord(character)) for font in fonts)


def _spelled(character: str) -> str:
    """A character that no typeface has, in those that every one has."""
    name, category = unicodedata.name(character, ""), unicodedata.category(character)
    if found := _SPELLED.search(name):
        return found[1].lower()
    if category in _SILENT:
        return ""
    return f"({name.lower()})" if name and category == "So" else f"U+{ord(character):04X}"
