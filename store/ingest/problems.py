"""Where in a file something is wrong: the row and the column beside the sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kernels.errors import DiskFull, FieldError, InvalidInput, MlpqError, TooLarge
from store.ingest.limits import MAX_ERRORS

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class CellError(FieldError):
    """A rejected place of an uploaded file.

    Attributes:
        row: counted from 1 as a spreadsheet shows it (a header is row 1); None for the whole file.
        column: the column's name, or its number from 1 where it has none; None for a whole row or file.
    """

    row: int | None = None
    column: str | None = None


def shown(text: object) -> str:
    """A value as it appears in a message: quoted, on one line, of bounded length."""
    raw = str(text)
    cut = raw if len(raw) <= _SHOWN_CHARACTERS else raw[:_SHOWN_CHARACTERS] + "…"
    return (
        '"' + cut.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'
        if not cut.isprintable()
        else f'"{cut}"'
    )


def in_json(value: object) -> str:
    """A value of an option as JSON, of bounded length."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def cell(row: int, column: str, detail: str) -> CellError:
    """An error in one cell."""
    return CellError(f"/file/{row}/{_escaped(column)}", f"row {row}, column {shown(column)}: {detail}", row, column)


def _escaped(name: str) -> str:
    """A name as one step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def of_kind(column: str, detail: str) -> InvalidInput:
    """An error of what the option `columns` says about one column."""
    return of_option(f"columns/{_escaped(column)}", detail)


def of_file(detail: str) -> InvalidInput:
    """An error of the file as a whole."""
    return InvalidInput(CellError("/file", detail))


def of_option(option: str, detail: str) -> InvalidInput:
    """An error of one ingest option."""
    return InvalidInput(CellError(f"/options/{option}", detail))


def to_json(error: MlpqError) -> dict[str, Any]:
    """An error as the ingest process hands it to its parent: `code`, `detail`, `errors`."""
    found = error.errors if isinstance(error, InvalidInput) else ()
    errors = [
        {
            "pointer": e.pointer,
            "row": getattr(e, "row", None),
            "column": getattr(e, "column", None),
            "detail": e.detail,
        }
        for e in found[:MAX_ERRORS]
    ]
    return {"code": error.code, "detail": str(error), "errors": errors}


def from_json(data: Mapping[str, Any]) -> MlpqError:
    """The inverse of `to_json`: the exception to raise in the parent."""
    if data["code"] == TooLarge.code:
        return TooLarge(data["detail"])
    if data["code"] == DiskFull.code:
        return DiskFull(data["detail"])
    return InvalidInput(*(CellError(e["pointer"], e["detail"], e["row"], e["column"]) for e in data["errors"]))
