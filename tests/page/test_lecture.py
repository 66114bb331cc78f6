"""The lecture on the page: every row is computed by the service as one looks, and says whether it holds."""

from __future__ import annotations

import re

import httpx2
import pytest
from playwright.sync_api import Page, expect

from bench.deployment import Deployment

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def test_every_row_is_computed_and_holds(page: Page, running: Deployment, client: httpx2.Client) -> None:
    page.goto(f"{running.url}/#/lecture")
    rows = page.get_by_role("article")
    expect(rows).to_have_count(50)
    chapters = ["Linear scores and losses", "Optimisation", "Why networks", "Backpropagation"]
    expect(page.locator("h2")).to_have_text(chapters)
    expect(page.get_by_role("status").filter(has_text="rows hold")).to_have_text(
        "45 of 45 rows hold, computed just now", timeout=60_000
    )
    assert rows.locator("> .verdict").all_text_contents().count("holds") == 45
    row = page.get_by_role("article", name="L04 ")
    row.locator("summary").click()
    numbers = row.get_by_role("region", name="Numbers of L04").locator("tbody tr")
    claims = client.get("/v1/lecture/L04").json()["claims"]
    expect(numbers.locator("th")).to_have_text([claim["what"] for claim in claims])
    expect(numbers.last.locator("td")).to_have_text(["0.451749", "0.451749", "0.452", "yes"])


def test_a_deep_link_opens_its_row(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/lecture/L38")
    row = page.get_by_role("article", name="L38 ")
    expect(row.get_by_role("region", name="Numbers of L38")).to_be_visible()
    expect(row).to_be_in_viewport()
    page.get_by_role("link", name="needs trained jobs: the playground").first.click()
    expect(page).to_have_url(re.compile(r"#/playground$"))


TABLE = """async (claims) => {
  const { table } = await import("/static/lecture.js");
  return [...table({ id: "L00" }, claims).querySelectorAll("tbody tr")].map((row) => row.lastChild.textContent);
}"""


def test_a_number_that_is_off_is_said_to_be(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/queue")
    claim = {"what": "a claim", "expected": 1.0, "tolerance": 0.0, "slide": None}
    claims = [claim | {"got": 1.0, "ok": True}, claim | {"got": 2.0, "ok": False}, claim | {"got": None, "ok": False}]
    assert page.evaluate(TABLE, claims) == ["yes", "no", "no"]
