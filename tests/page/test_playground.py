"""The playground: the decision boundary is redrawn while nets train, one or three side by side."""

from __future__ import annotations

import re

import httpx2
import pytest
from playwright.sync_api import Page, expect

from bench.deployment import Deployment

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PICTURE = "canvas => canvas.toDataURL()"
COLOURS = """canvas => {
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = new Set();
  for (let at = 0; at < data.length; at += 4) found.add(data.slice(at, at + 3).join());
  return found.size;
}"""


def test_the_boundary_is_redrawn_while_the_net_trains(page: Page, running: Deployment, client: httpx2.Client) -> None:
    page.goto(f"{running.url}/#/playground?dataset=moons&hidden=6+4&epochs=1000000")
    page.get_by_role("button", name="Train").click()
    plane = page.locator("canvas")
    expect(plane).to_have_attribute("data-step", re.compile(r"\d"))
    drawn = plane.evaluate(PICTURE)
    first = plane.get_attribute("data-step") or ""
    expect(page.locator(".status.running")).to_be_visible()
    expect(plane).not_to_have_attribute("data-step", first)
    assert plane.evaluate(PICTURE) != drawn
    assert plane.evaluate(COLOURS) > 100, "a field with shades, not one colour"
    expect(plane).to_have_attribute(
        "aria-label", re.compile(r"Decision boundary of 6 4 hidden units: epoch .* accuracy ")
    )
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".status.cancelled")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    job = client.get("/v1/jobs?limit=1").json()["data"][0]
    assert job["dataset"] == "moons"
    assert job["spec"]["net"]["hidden"] == [6, 4]
    assert job["tags"] == ["playground"]


@pytest.mark.parametrize(
    ("button", "titles", "part", "key", "values"),
    [
        ("3 / 6 / 20", ["3 hidden units", "6 hidden units", "20 hidden units"], "net", "hidden", [[3], [6], [20]]),
        ("λ = ", ["λ = 0.001", "λ = 0.01", "λ = 0.1"], "optimizer", "l2", [0.001, 0.01, 0.1]),
    ],
)
def test_the_lectures_comparisons_train_side_by_side(
    page: Page,
    running: Deployment,
    client: httpx2.Client,
    button: str,
    titles: list[str],
    part: str,
    key: str,
    values: list[object],
) -> None:
    page.goto(f"{running.url}/#/playground")
    page.get_by_label("Epochs").fill("300")
    page.get_by_role("button", name=button).click()
    expect(page.locator("figcaption strong")).to_have_text(titles)
    expect(page.locator("figure .status.succeeded")).to_have_count(3)
    for plane in page.locator("canvas").all():
        expect(plane).to_have_attribute("data-step", "result")
    jobs = client.get("/v1/jobs?limit=3").json()["data"]
    assert [job["spec"][part][key] for job in reversed(jobs)] == values
    assert {job["status"] for job in jobs} == {"succeeded"}


def test_the_playground_says_what_is_wrong_and_its_address_keeps_the_settings(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/playground")
    page.get_by_label("Learning rate").fill("-1")
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_role("alert")).to_contain_text("/optimizer/learning_rate")
    page.get_by_label("Learning rate").fill("0.02")
    page.get_by_label("Data set").select_option("xor")
    page.get_by_label("Epochs").fill("5")
    page.get_by_role("button", name="Train").click()
    expect(page.locator(".status.succeeded")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Learning rate")).to_have_value("0.02")
    expect(page.get_by_label("Data set")).to_have_value("xor")
