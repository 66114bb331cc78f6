"""Text that came from outside: what a name may hold, and how a value is shown back safely."""

from __future__ import annotations

import json
import unicodedata
from difflib import get_close_matches

from kernels.errors import InvalidInput
from store.builtin import BUILTINS

MAX_NAME_CHARACTERS = 200

_SHOWN_CHARACTERS = 60
"""Of a rejected value; enough to recognise it."""

_DETAIL_CHARACTERS = 1000
"""Of any sentence in an error, whoever wrote it."""

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def forbidden_character(text: str) -> str | None:
    """The first control, surrogate, line-separating or bidirectional character, as U+XXXX; None if clean."""
    for character in text:
        if character in _BIDI or unicodedata.category(character) in _FORBIDDEN_CATEGORIES:
            return f"U+{ord(character):04X}"
    return None


def name_error(text: str, limit: int = MAX_NAME_CHARACTERS) -> str | None:
    """Why `text` cannot be a name that people will read, or None."""
    if len(text) > limit:
        return f"has {len(text)} characters; at most {limit} are allowed"
    if "../" in text or "..\\" in text:
        return f"is {echo(text)}; must not contain ../"
    character = forbidden_character(text)
    if character is not None:
        return f"holds the control character {character}; names are one line of printable text"
    return None


def echo(value: object) -> str:
    """A rejected value as it may be shown: JSON notation in ASCII, short; containers by their size only."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 4 * _SHOWN_CHARACTERS:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str):
        value = value[: _SHOWN_CHARACTERS + 1]
    if isinstance(value, (str, int, float, bool)) or value is None:
        shown = json.dumps(value)
        return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"
    return f"a {type(value).__name__}"


def safe_sentence(text: str) -> str:
    """`text` without anything that cannot be sent as JSON or read in a terminal, and not too long."""
    if len(text) > _DETAIL_CHARACTERS:
        text = text[:_DETAIL_CHARACTERS] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if forbidden_character(c) is None else f"\\u{ord(c):04x}" for c in text)


def no_dataset(pointer: str, dataset_id: str) -> InvalidInput:
    """Of a request that names a data set which is not there; a built-in one of nearly that name is offered."""
    near = get_close_matches(dataset_id, BUILTINS, n=1)
    meant = f"did you mean {echo(near[0])}? All are in" if near else "see"
    return InvalidInput.at(pointer, f"is {echo(dataset_id)}; there is no such data set: {meant} GET /v1/datasets")
