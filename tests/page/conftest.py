"""A real deployment and a real browser for the tests of the page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

from bench.deployment import Deployment, deployment
from tests.processes import http_client, wait_until

STARTS = 40_000
"""Milliseconds in which a job must have started and the page must show it, on a busy machine."""

LONG: dict[str, Any] = {"dataset": "digits", "training": {"epochs": 200_000}}
"""A job that trains until it is told to stop, for minutes if nobody does; its curve gets a point every 100 epochs."""

ENDED = {"succeeded", "failed", "cancelled"}

expect.set_options(timeout=STARTS)


@pytest.fixture(scope="session")
def shared() -> Iterator[Deployment]:
    with deployment() as found:
        yield found


@pytest.fixture(scope="module")
def running(shared: Deployment) -> Iterator[Deployment]:
    """A deployment that has nothing but the built-in data sets: what a file makes is deleted at its end."""
    yield shared
    with http_client(shared.url, timeout_s=30) as client:
        empty(client)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "chromium is not on PATH: apt-get install chromium"
    with sync_playwright() as engine:
        launched = engine.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, running: Deployment) -> Iterator[Page]:
    """A page that must not write an error to its console, nor fetch anything from elsewhere."""
    opened = browser.new_page(viewport={"width": 1100, "height": 800})
    errors: list[str] = []
    opened.on("console", lambda message: _note(message, errors))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "request",
        lambda r: r.url.startswith((running.url, "blob:", "data:")) or errors.append(f"asked elsewhere: {r.url}"),
    )
    opened.set_default_timeout(STARTS)
    yield opened
    opened.close()
    assert errors == []


def _note(message: ConsoleMessage, errors: list[str]) -> None:
    if message.type == "error" and "Failed to load resource" not in message.text:
        errors.append(message.text)


@pytest.fixture
def client(running: Deployment) -> Iterator[httpx2.Client]:
    """A client; what a test leaves training, as one that fails does, ends with it: jobs of others would wait."""
    with http_client(running.url, timeout_s=30) as opened:
        before = _live(opened)
        yield opened
        _cancel(opened, _live(opened) - before)


def empty(client: httpx2.Client) -> None:
    """End every job, and delete all that was made."""
    wait_until(lambda: _all_ended(client), 60, "every job has ended", every_s=0.1)
    for kind in ("sweeps", "jobs", "datasets"):
        while made := [one for one in _newest(client, kind) if not one.get("builtin")]:
            for one in made:
                client.delete(f"/v1/{kind}/{one['id']}").raise_for_status()


def _all_ended(client: httpx2.Client) -> bool:
    live = _live(client)
    _cancel(client, live)
    return not live


def _live(client: httpx2.Client) -> set[str]:
    return {job["id"] for job in _newest(client, "jobs") if job["status"] not in ENDED}


def _cancel(client: httpx2.Client, jobs: set[str]) -> None:
    for job in jobs:
        client.post(f"/v1/jobs/{job}/cancel")  # refused where it ends just now


def _newest(client: httpx2.Client, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/v1/{kind}?limit=100").raise_for_status().json()["data"]
    return found


def visit(page: Page, url: str) -> None:
    """Go to a view and wait until it is drawn: it gives the page its title last. The view before, which stands there
    until then where only the end of the address differs, is drawn too."""
    before = re.escape(page.title())
    page.goto(url)
    expect(page).to_have_title(re.compile(rf"^(?!{before}$).+ · mlpq$"))


def expect_focused(control: Locator) -> None:
    """Wait until a control has its document's focus. Whether the window has that of the screen is not the page's."""
    control.page.wait_for_function("one => one === document.activeElement", arg=control.element_handle())


def points(count: int) -> re.Pattern[str]:
    """The `d` of a line that is drawn through so many points."""
    return re.compile(rf"^M[^ML]+(L[^ML]+){{{count - 1}}}$")


def reached(client: httpx2.Client, path: str, status: str = "succeeded") -> None:
    """Wait until the job or sweep at `path` has this status."""
    wait_until(lambda: client.get(f"/v1/{path}").json()["status"] == status, 120, f"{path} {status}")
