"""A sweep on the page: its best job, its curves, the way from settings to the outcome, and its end."""

from __future__ import annotations

import httpx2
import pytest
from playwright.sync_api import Page, expect

from bench.deployment import Deployment
from tests.processes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

GRID = {"optimizer.learning_rate": [0.0001, 0.05], "net.hidden": [[4], [8]]}


def swept(client: httpx2.Client, **body: object) -> str:
    answer = client.post("/v1/sweeps", json={"dataset": "iris"} | body).raise_for_status()
    return str(answer.json()["id"])


def test_a_sweep_shows_its_best_its_curves_and_every_point(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    sweep = swept(client, grid=GRID, base={"training": {"epochs": 5}}, name="rates and widths")
    page.goto(f"{running.url}/#/sweeps/{sweep}")
    expect(page.get_by_role("heading", name="rates and widths")).to_be_visible()
    expect(page.locator(".facts .status")).to_have_text("succeeded")
    best = client.get(f"/v1/sweeps/{sweep}").json()["best"]
    expect(page.locator("dl.facts")).to_contain_text(best["name"])
    figure = page.locator(".charts figure").filter(has_text="Validation loss")
    expect(figure.locator("path.line")).to_have_count(4)
    expect(page.locator("svg.parallel path.line")).to_have_count(4)
    expect(page.locator("table thead th")).to_have_text(
        ["Job", "optimizer.learning_rate", "net.hidden", "Validation loss", "Epoch", "Status"]
    )
    rows = page.locator("table tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("★")
    expect(rows.first.get_by_role("link")).to_have_attribute("href", f"#/jobs/{best['id']}")
    expect(page.get_by_role("button", name="Cancel all")).to_be_hidden()
    page.get_by_role("link", name="Sweeps").click()
    expect(page.get_by_role("heading", name="Sweeps", exact=True)).to_be_visible()
    row = page.get_by_role("row").filter(has_text="rates and widths")
    expect(row).to_contain_text("4/4")


def test_a_sweep_is_cancelled_as_a_whole(page: Page, running: Deployment, client: httpx2.Client) -> None:
    seeds = {"training.seed": [1, 2, 1_234_567]}
    sweep = swept(client, dataset="digits", grid=seeds, base={"training": {"epochs": 1_000_000}})
    page.goto(f"{running.url}/#/sweeps/{sweep}")
    expect(page.get_by_role("cell", name="1,234,567", exact=True)).to_be_visible()
    page.get_by_role("button", name="Cancel all").click()
    expect(page.locator(".facts .status")).to_have_text("cancelled")
    wait_until(lambda: client.get(f"/v1/sweeps/{sweep}").json()["counts"]["cancelled"] == 3, 30, "all are cancelled")


def test_a_sweep_goes_on_being_watched_after_its_end_was_asked_for_without_a_connection(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    sweep = swept(client, grid={"training.seed": [1]}, base={"training": {"epochs": 1_000_000}})
    page.goto(f"{running.url}/#/sweeps/{sweep}")
    cancel = page.get_by_role("button", name="Cancel all")
    expect(cancel).to_be_visible()
    page.context.set_offline(True)
    cancel.click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(page.locator("#connection")).to_contain_text("connection lost")
    page.context.set_offline(False)
    expect(page.locator("#connection")).to_be_empty()
    client.post(f"/v1/sweeps/{sweep}/cancel").raise_for_status()
    expect(page.locator(".facts .status")).to_have_text("cancelled")


def test_points_that_are_added_join_the_table_which_tells_once_what_is_the_same(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    training = {"training.epochs": 2, "training.batch_size": 50}
    points = [{"optimizer": {"name": "sgd", "learning_rate": rate}, **training} for rate in (0.1, 0.01)]
    sweep = swept(client, list=points[:1], name="a study")
    page.goto(f"{running.url}/#/sweeps/{sweep}")
    expect(page.locator(".facts .status")).to_have_text("succeeded")
    heads, rows = page.locator("table thead th"), page.locator("table tbody tr")
    alone = ["optimizer.name", "optimizer.learning_rate", "training.epochs", "training.batch_size"]
    expect(heads).to_have_text(["Job", *alone, "Validation loss", "Epoch", "Status"])
    client.post(f"/v1/sweeps/{sweep}/points", json={"list": points[1:]}).raise_for_status()
    expect(rows).to_have_count(2)  # an ended list is looked at now and then
    expect(heads).to_have_text(["Job", "optimizer.learning_rate", "Validation loss", "Epoch", "Status"])
    shared = "The same in all: optimizer.name sgd, training.epochs 2, training.batch_size 50"
    expect(page.get_by_text(shared, exact=True)).to_be_visible()
    expect(page.locator("dl.facts")).to_contain_text("2 of 2")
    expect(page.locator("svg.parallel path.line")).to_have_count(2)
    client.delete(f"/v1/sweeps/{sweep}").raise_for_status()
    expect(page.get_by_role("alert")).to_have_text("There is no such resource")
    expect(page.locator("#connection")).to_be_empty()


def test_older_sweeps_are_asked_for(page: Page, running: Deployment, client: httpx2.Client) -> None:
    oldest = swept(client, list=[{"training.epochs": 1}], name="the oldest of them")
    for _ in range(50):
        swept(client, list=[{"training.epochs": 1}])
    page.goto(f"{running.url}/#/sweeps")
    rows, link = page.locator("table tbody tr"), page.get_by_role("link", name="the oldest of them")
    expect(rows).to_have_count(50)
    expect(link).to_have_count(0)
    page.get_by_role("button", name="Older sweeps").click()
    expect(link).to_have_attribute("href", f"#/sweeps/{oldest}")
    expect(rows).not_to_have_count(50)
