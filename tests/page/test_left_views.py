"""A view that was left leaves nothing behind."""

from __future__ import annotations

import httpx2
import pytest
from playwright.sync_api import CDPSession, Page, expect

from bench.deployment import Deployment
from tests.page.conftest import reached

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def visit(page: Page, view: str) -> None:
    """Show the curves of a view, then the queue."""
    page.evaluate("view => { location.hash = view; }", view)
    expect(page.locator(".charts figure path.line").first).to_be_visible()
    page.evaluate("location.hash = '#/queue'")
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()


def listeners(page: Page, session: CDPSession) -> int:
    """How many the page still has, those of its own view included."""
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
    for view in (f"#/jobs/{job['id']}", f"#/compare/{job['id']}", f"#/sweeps/{sweep}"):
        visit(page, view)
        before = listeners(page, session)
        for _ in range(2):
            visit(page, view)
        page.wait_for_timeout(200)
        assert listeners(page, session) <= before + 5, view
