"""The pages that are written from the code are as the code is."""

from __future__ import annotations

import pytest

from docs.generated import HERE, PAGES
from nets.reference import page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_gives(name: str) -> None:
    assert (HERE / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_the_reference_of_a_job_is_what_the_registries_give() -> None:
    assert (HERE / "reference.md").read_text(encoding="utf-8") == page(), "run `make docs`"


def test_the_pages_hold_every_route_command_and_call() -> None:
    from mlpq.cli import app
    from mlpq.job import Job

    api, commands, python = (PAGES[name]() for name in ("reference-api.md", "reference-cli.md", "reference-python.md"))
    assert "### POST /v1/jobs\n" in api
    assert api.count("### ") > 30
    assert "`Idempotency-Key`" in api
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"### mlpq {command.callback.__name__}\n" in commands
    assert "`--learning-rate, --lr`" in commands
    assert "`job.wait(timeout_s: float | None = None, *, check: bool = True, progress: bool = False) -> Job`" in python
    assert all(f"### job.{name}\n" in python for name in ("events", "fork", "picture") if hasattr(Job, name))
