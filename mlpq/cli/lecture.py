"""`mlpq lecture`: the theory behind the service, row by row, its numbers computed by the service as one looks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlpq.cli.arguments import AsJson, Url, connect
from mlpq.cli.exits import FAILED
from mlpq.cli.output import console, facts, number, print_json, table

VERDICTS = {True: "holds", False: "does NOT hold", None: "elsewhere"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Theory")(lecture)


def lecture(
    row: Annotated[str | None, typer.Argument(metavar="ROW", help="Such as L04; without it all rows.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Compute what the lecture claims, now: all rows, or the numbers of one. A row that does not hold is status 1."""
    with connect(url) as client:
        names = [row.upper()] if row is not None else [one["id"] for one in client.lecture()]
        found = [client.lecture_row(name) for name in names]
    if as_json:
        print_json(found[0] if row is not None else {"object": "list", "data": found})
    elif row is not None:
        _print_row(found[0])
    else:
        _print_all(found)
    if any(one["ok"] is False for one in found):
        raise typer.Exit(FAILED)


def _print_all(rows: list[dict[str, Any]]) -> None:
    table(
        ("row", "what it says", "numbers", ""),
        [(r["id"], r["title"], len(r["claims"]) or "", _verdict(r)) for r in rows],
    )


def _print_row(row: dict[str, Any]) -> None:
    console().print(f"{row['id']} · {row['title']}", markup=False, style="bold")
    console().print(row["text"], markup=False)
    facts([("where", row["where"] or None), ("proof", row["proof"]), ("verdict", _verdict(row))])
    if row["claims"]:
        claims = [
            (one["what"], _shown(one["got"]), _shown(one["expected"]), one["slide"], VERDICTS[one["ok"]])
            for one in row["claims"]
        ]
        table(("what", "computed", "expected", "slide", ""), claims)


def _verdict(row: dict[str, Any]) -> str:
    return VERDICTS[row["ok"]]


def _shown(value: object) -> str:
    """Numbers to seven digits, statements as yes or no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value, 7) if isinstance(value, int | float) else str(value)
