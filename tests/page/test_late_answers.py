"""What was asked for before a person went on: a late answer changes nothing of what is shown or done by then."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, Route, expect

from bench.deployment import Deployment
from tests.page.conftest import STARTS, reached

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


class Held:
    """Requests of a page that wait until they are let go."""

    def __init__(self, page: Page, url: str | re.Pattern[str], method: str = "GET") -> None:
        self.page, self.url, self.method = page, url, method
        self.waiting: list[Route] = []
        self.holding = True
        page.route(url, self._take)

    def _take(self, route: Route) -> None:
        if self.holding and route.request.method == self.method:
            self.waiting.append(route)
        else:
            route.continue_()

    def wait(self, count: int = 1) -> None:
        for _ in range(STARTS // 50):
            if len(self.waiting) >= count:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{self.url}: {len(self.waiting)} of {count} were asked for")

    def let_go(self) -> None:
        """Send what waits, hold nothing more, and wait until the page has the answers."""
        self.holding = False
        for route in self.waiting:
            with self.page.expect_response(route.request.url) as answer:
                route.continue_()
            answer.value.finished()
        self.page.wait_for_timeout(200)


def test_a_view_that_was_left_while_it_loaded_does_not_come_back(page: Page, running: Deployment) -> None:
    held = Held(page, "**/v1/capabilities")
    page.goto(f"{running.url}/#/new")
    held.wait()
    page.get_by_role("link", name="Queue").click()
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()
    held.let_go()
    assert page.locator("h1").all_text_contents() == ["Queue"]


def test_a_job_that_is_taken_late_does_not_take_a_person_to_its_view(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    page.goto(f"{running.url}/#/new")
    page.locator("[name=dataset]").select_option("iris")
    page.locator("[name=epochs]").fill("1")
    held = Held(page, re.compile(r"/v1/jobs$"), "POST")
    page.get_by_role("button", name="Train").click()
    held.wait()
    page.get_by_role("link", name="Queue").click()
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()
    held.let_go()
    assert page.url.endswith("#/queue")
    assert client.get("/v1/jobs?limit=1").json()["data"][0]["dataset"] == "iris"


def test_what_a_data_set_chosen_before_would_be_does_not_hide_the_net(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/new")
    net = page.locator("svg.net")
    expect(net).to_have_attribute("aria-label", re.compile("64 inputs"))
    late: list[Route] = []
    page.route("**/v1/jobs?dry_run=true", lambda route: route.continue_() if late else late.append(route))
    page.locator("[name=dataset]").select_option("wine")
    page.locator("[name=dataset]").select_option("iris")
    expect(net).to_have_attribute("aria-label", re.compile("The net: 4 inputs"))
    with page.expect_response(lambda answer: answer.status == 422):
        late[0].fulfill(status=422, content_type="application/problem+json", body='{"detail": "refused"}')
    page.wait_for_timeout(200)
    expect(net).to_have_attribute("aria-label", re.compile("The net: 4 inputs"))


def playground(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/playground?dataset=moons&hidden=3&epochs=1000000")
    expect(page.get_by_role("button", name="Train")).to_be_visible()


def newest(client: httpx2.Client) -> dict[str, Any]:
    job: dict[str, Any] = client.get("/v1/jobs?limit=1").json()["data"][0]
    return job


def test_a_playground_that_was_left_follows_nothing(page: Page, running: Deployment, client: httpx2.Client) -> None:
    playground(page, running)
    followed: list[str] = []
    page.on("request", lambda request: followed.append(request.url) if "/v1/events" in request.url else None)
    held = Held(page, re.compile(r"/v1/jobs$"), "POST")
    page.get_by_role("button", name="Train").click()
    held.wait()
    page.get_by_role("link", name="Queue").click()
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()
    held.let_go()
    assert followed == []
    client.post(f"/v1/jobs/{newest(client)['id']}/cancel").raise_for_status()


def test_a_net_that_is_made_after_another_took_its_place_is_stopped(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    playground(page, running)
    held = Held(page, re.compile(r"/v1/jobs$"), "POST")
    page.get_by_role("button", name="Train").click()
    held.wait()
    page.get_by_role("button", name="Train").click()
    held.wait(2)
    held.let_go()
    last, first = client.get("/v1/jobs?limit=2").json()["data"]
    reached(client, f"jobs/{first['id']}", "cancelled")
    expect(page.locator(".planes a")).to_have_attribute("href", f"#/jobs/{last['id']}")
    assert client.get(f"/v1/jobs/{last['id']}").json()["status"] in ("queued", "running")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".status.cancelled")).to_be_visible()


def test_the_list_shows_the_jobs_of_the_filter_that_was_chosen_last(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    body = {"dataset": "iris", "name": "ended", "training": {"epochs": 1}}
    job = client.post("/v1/jobs", json=body).raise_for_status().json()["id"]
    reached(client, f"jobs/{job}")
    page.goto(f"{running.url}/#/")
    row = page.get_by_role("row").filter(has_text="ended").first
    expect(row).to_be_visible()
    held = Held(page, re.compile("status=failed"))
    page.get_by_label("Status").select_option("failed")
    held.wait()
    with page.expect_response(re.compile("status=succeeded")):
        page.get_by_label("Status").select_option("succeeded")
    expect(row).to_be_visible()
    held.let_go()
    assert row.is_visible()
