"""What holds of every view: it fits the window, its controls have names, it says what is wrong and comes back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from bench.deployment import Deployment
from tests.page.conftest import reached, visit
from tests.processes import http_client

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

NAMELESS = re.compile(
    r"^ *- (button|link|checkbox|combobox|listbox|textbox|searchbox|slider|img|progressbar)(?! \")", re.M
)

CHARTED = ("jobs/", "compare/", "sweeps/swp_")
"""Views that draw curves."""


@pytest.fixture(scope="module")
def views(running: Deployment) -> list[str]:
    """The address of every view, of two jobs where it shows some."""
    with http_client(running.url, timeout_s=30) as client:
        bodies = [
            {"dataset": "moons", "name": f"a name of some length, number {n}", "tags": ["t"], "training": {"epochs": 3}}
            for n in range(2)
        ]
        jobs = [client.post("/v1/jobs", json=body).raise_for_status().json()["id"] for body in bodies]
        for job in jobs:
            reached(client, f"jobs/{job}")
        grid = {"optimizer.learning_rate": [0.01, 0.1], "net.hidden": [[4], [8, 8]]}
        plan = {"dataset": "moons", "grid": grid, "base": {"training": {"epochs": 3}}}
        sweep = client.post("/v1/sweeps", json=plan).raise_for_status().json()["id"]
        reached(client, f"sweeps/{sweep}")
    first = jobs[0]
    return [
        "",
        "new",
        f"new/{first}",
        f"fork/{first}",
        "queue",
        "sweeps",
        "sweeps/new",
        f"sweeps/{sweep}",
        "playground",
        "lecture",
        f"jobs/{first}",
        f"compare/{','.join(jobs)}",
    ]


@pytest.mark.parametrize("width", [360, 1100])
def test_no_view_scrolls_sideways(page: Page, running: Deployment, views: list[str], width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    for view in views:
        visit(page, f"{running.url}/#/{view}")
        if view.startswith(CHARTED):
            expect(page.locator("figure svg path.line").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{view} at {width}"


def test_every_control_has_a_name_and_every_view_a_title(page: Page, running: Deployment, views: list[str]) -> None:
    titles = set()
    for view in views:
        visit(page, f"{running.url}/#/{view}")
        expect(page).to_have_title(f"{page.locator('h1').text_content()} · mlpq")
        titles.add(page.title())
        if view.startswith(CHARTED):
            expect(page.locator("figure svg path.line").first).to_be_visible()
        assert NAMELESS.findall(page.locator("body").aria_snapshot()) == [], view
    assert len(titles) == len(views)


def test_a_view_that_was_opened_offline_appears_when_the_service_is_back(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/new")
    expect(page.get_by_role("heading", name="New job")).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("link", name="Queue").click()
    expect(page.get_by_role("heading", name="The service cannot be reached")).to_be_visible()
    expect(page.locator("#connection")).to_contain_text("connection lost")
    page.context.set_offline(False)
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()
    expect(page.locator("#connection")).to_be_empty()


def test_a_job_that_does_not_exist_is_said_not_to(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/jobs/job_none")
    expect(page.get_by_role("heading", name="Not here")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_text("There is no such resource")
    page.get_by_role("link", name="All jobs", exact=True).click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()


def test_an_address_without_a_view_says_so(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/nothing")
    expect(page.get_by_role("alert")).to_have_text("The page has no such view.")
    page.get_by_role("link", name="All jobs", exact=True).click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()


def test_a_job_is_submitted_with_the_keyboard_alone(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/new")
    expect(page.locator("h1")).to_be_visible()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "epochs":
            break
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"#/jobs/job_"))
    expect(page.locator(".status.succeeded")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "view"
