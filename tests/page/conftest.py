"""A real deployment and a real browser for the tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from bench.deployment import Deployment, deployment
from tests.processes import http_client, wait_until

STARTS = 20_000
"""Milliseconds in which a job must have started and the page must show it, on a busy machine."""

expect.set_options(timeout=STARTS)


@pytest.fixture(scope="module")
def running() -> Iterator[Deployment]:
    with deployment() as found:
        yield found


@pytest.fixture(scope="module")
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
    with http_client(running.url, timeout_s=30) as opened:
        yield opened


def reached(client: httpx2.Client, path: str, status: str = "succeeded") -> None:
    """Wait until the job or sweep at `path` has this status."""
    wait_until(lambda: client.get(f"/v1/{path}").json()["status"] == status, 120, f"{path} {status}")
