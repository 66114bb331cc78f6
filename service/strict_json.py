"""A JSON parser for bodies that strangers send: what Python's own accepts silently is refused here.

Duplicate keys, nesting beyond the interpreter's stack and numbers of thousands of digits are malformed
(`MalformedInput`). `NaN`, `Infinity` and `1e999` do parse, so that the strict models can name the field that holds
them; a lone surrogate, which no model would notice, is refused here with its field named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from kernels.errors import FieldError, InvalidInput, MalformedInput
from service.text import echo

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse(raw: bytes, what: str = "the body") -> object:
    """The value that `raw` (UTF-8) holds; `what` names it in refusals.

    Raises:
        MalformedInput: not JSON, not UTF-8, a key twice, nested too deeply, or a number too long.
        InvalidInput: a string holds half of a surrogate pair; the pointer names it.
    """
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=lambda pairs: _unique(pairs, what))
    except UnicodeDecodeError as error:
        raise MalformedInput(f"{what} is not UTF-8: byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise MalformedInput(f"{what} is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise MalformedInput(f"{what} is nested too deeply") from None
    except MalformedInput:
        raise
    except ValueError:
        raise MalformedInput(f"{what} holds a number of more than 4300 digits") from None
    if _SURROGATE_ESCAPE.search(raw):
        _refuse_surrogates(value)
    return value


def escape_pointer(key: str) -> str:
    """One step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _unique(pairs: list[tuple[str, object]], what: str) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise MalformedInput(f"{what} is not valid: the key {echo(twice)} appears twice in one object")
    return found


def _refuse_surrogates(value: object) -> None:
    found = [
        FieldError(pointer, f"is {echo(text)}; half of a surrogate pair is not text")
        for pointer, text in _strings(value)
        if any("\ud800" <= character <= "\udfff" for character in text)
    ]
    if found:
        raise InvalidInput(*found[:10])


def _strings(root: object) -> Iterator[tuple[str, str]]:
    """Every string in `root`, keys included, with the pointer to it (of the object, for a key)."""
    pending: list[tuple[str, object]] = [("", root)]
    while pending:
        pointer, value = pending.pop()
        if isinstance(value, str):
            yield pointer, value
        elif isinstance(value, list):
            pending.extend((f"{pointer}/{index}", item) for index, item in enumerate(value))
        elif isinstance(value, dict):
            for key, item in value.items():
                yield pointer, key
                pending.append((f"{pointer}/{escape_pointer(key)}", item))
