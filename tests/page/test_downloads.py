"""What cannot be saved is said."""

from __future__ import annotations

import httpx2
import pytest
from playwright.sync_api import Page, expect

from bench.deployment import Deployment
from tests.page.conftest import reached

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def test_what_cannot_be_saved_is_said(page: Page, running: Deployment, client: httpx2.Client) -> None:
    body = {"dataset": "moons", "training": {"epochs": 1}}
    job = client.post("/v1/jobs", json=body).raise_for_status().json()["id"]
    reached(client, f"jobs/{job}")
    page.goto(f"{running.url}/#/jobs/{job}")
    numbers = page.get_by_role("button", name="Confusion matrix: save the numbers as JSON")
    expect(numbers).to_be_visible()
    page.context.set_offline(True)
    for button in (numbers, page.get_by_role("button", name="npz")):
        button.click()
        alert = page.get_by_role("alert")
        expect(alert).to_have_text("the service cannot be reached")
        expect(alert).to_be_in_viewport()
    page.context.set_offline(False)
    client.delete(f"/v1/jobs/{job}").raise_for_status()
    page.get_by_role("button", name="npz").click()
    expect(page.get_by_role("alert")).to_have_text("There is no such resource")
