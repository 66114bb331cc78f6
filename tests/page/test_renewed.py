"""What a view shows anew while jobs train keeps its focus and its clicks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from bench.deployment import Deployment
from tests.page.conftest import LONG, expect_focused, reached

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PLAN = {
    "dataset": LONG["dataset"],
    "grid": {"optimizer.learning_rate": [0.01, 1e-7]},
    "objective": "train_loss",
    "base": {"training": LONG["training"]},
}


@pytest.fixture(scope="module")
def sweep(running: Deployment) -> Iterator[str]:
    """A sweep of two jobs that train as long as they are needed; the first is always the better one."""
    with httpx2.Client(base_url=running.url, timeout=30) as client:
        made = client.post("/v1/sweeps", json=PLAN).raise_for_status().json()
        jobs = client.get(f"/v1/sweeps/{made['id']}").json()["jobs"]
        for job in jobs:
            reached(client, f"jobs/{job['id']}", "running")
        yield str(made["id"])
        client.post(f"/v1/sweeps/{made['id']}/cancel").raise_for_status()


@pytest.fixture
def jobs(client: httpx2.Client, sweep: str) -> list[str]:
    return [job["id"] for job in client.get(f"/v1/sweeps/{sweep}").json()["jobs"]]


def changed(cell: Locator) -> None:
    """Wait until a cell shows something else."""
    expect(cell).not_to_have_text(cell.text_content() or "")


def test_a_link_of_the_queue_keeps_the_focus(page: Page, running: Deployment, jobs: list[str]) -> None:
    page.goto(f"{running.url}/#/queue")
    link = page.get_by_role("link", name=jobs[0])
    link.focus()
    changed(page.get_by_role("region", name="Workers").locator("tbody td").nth(4))
    expect_focused(link)


def test_a_link_to_a_compared_job_is_followed_while_it_trains(page: Page, running: Deployment, jobs: list[str]) -> None:
    page.goto(f"{running.url}/#/compare/{','.join(jobs)}")
    row = page.get_by_role("region", name="Figures").locator("tbody tr").first
    expect(row).to_contain_text("running")
    expect(page.locator(".charts figure").first.locator("path.line")).to_have_count(2)
    epoch = row.locator("td").nth(-2)
    changed(epoch)
    row.get_by_role("link").hover()
    page.mouse.down()
    changed(epoch)
    page.mouse.up()
    expect(page).to_have_url(re.compile(rf"#/jobs/{jobs[0]}$"))


def test_the_keyboard_hides_and_shows_the_curves_of_a_job(page: Page, running: Deployment, jobs: list[str]) -> None:
    page.goto(f"{running.url}/#/compare/{','.join(jobs)}")
    key = page.locator(".keys button").first
    key.focus()
    for pressed in ("false", "true"):
        page.keyboard.press("Space")
        expect(key).to_have_attribute("aria-pressed", pressed)
        expect_focused(key)


def test_figures_of_a_job_keep_the_focus_while_it_trains(page: Page, running: Deployment, jobs: list[str]) -> None:
    page.goto(f"{running.url}/#/jobs/{jobs[0]}")
    table = page.get_by_role("region", name="Figures by rows")
    table.focus()
    changed(table.locator("td").first)
    expect_focused(table)


def test_a_link_of_a_sweep_keeps_the_focus(page: Page, running: Deployment, sweep: str, jobs: list[str]) -> None:
    page.goto(f"{running.url}/#/sweeps/{sweep}")
    row = page.locator("table tbody tr").filter(has=page.get_by_role("link", name=jobs[0]))
    link = row.get_by_role("link")
    link.focus()
    changed(row.locator("td").nth(-2))
    expect_focused(link)
