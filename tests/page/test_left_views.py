"""A view that was left leaves nothing behind."""

from __future__ import annotations

import httpx2
import pytest
from playwright.sync_api import CDPSession, Page, expect

from bench.deployment import Deployment
from tests.page.conftest import reached
from tests.processes import wait_until

MODULES = 5
"""Listeners that modules, which are loaded with the first view that needs them, may add once."""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def visit(page: Page, view: str) -> None:
    """Show the curves of a view, then the queue."""
    page.evaluate("view => { location.hash = view; }", view)
    expect(page.locator(".charts figure path.line").first).to_be_visible()
    page.evaluate("location.hash = '#/queue'")
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()


def listeners(page: Page, session: CDPSession) -> int:
    """How many the page still has; those of a view that was left go some collections of garbage later."""
    session.send("HeapProfiler.collectGarbage")
    found = session.send("Performance.getMetrics")["metrics"]
    return int(next(one["value"] for one in found if one["name"] == "JSEventListeners"))


def test_curves_of_a_view_that_was_left_are_forgotten(page: Page, running: Deployment, client: httpx2.Client) -> None:
    plan = {"dataset": "iris", "grid": {"training.seed": [1]}, "base": {"training": {"epochs": 5}}}
    sweep = client.post("/v1/sweeps", json=plan).raise_for_status().json()["id"]
    reached(client, f"sweeps/{sweep}")
    [job] = client.get(f"/v1/sweeps/{sweep}").json()["jobs"]
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.goto(f"{running.url}/#/queue")
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()
    own = listeners(page, session)
    for view in (f"#/jobs/{job['id']}", f"#/compare/{job['id']}", f"#/sweeps/{sweep}"):
        for _ in range(3):
            visit(page, view)
        wait_until(lambda: listeners(page, session) <= own + MODULES, what=f"{view} is forgotten", every_s=0.2)
