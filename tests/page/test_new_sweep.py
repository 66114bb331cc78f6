"""A sweep is started from the form: what is refused is said at its field, and the calls of its view start it again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from bench.deployment import Deployment
from tests.page.conftest import expect_focused

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

ASKED = ("name", "dataset", "base", "kind", "objective", "direction")


def newest(client: httpx2.Client) -> dict[str, Any]:
    [listed] = client.get("/v1/sweeps?limit=1").raise_for_status().json()["data"]
    sweep: dict[str, Any] = client.get(f"/v1/sweeps/{listed['id']}").raise_for_status().json()
    return sweep


def asked(sweep: dict[str, Any]) -> dict[str, Any]:
    return {field: sweep[field] for field in (*ASKED, sweep["kind"])}


def points(client: httpx2.Client, sweep: dict[str, Any]) -> list[Any]:
    """What its jobs set."""
    details = client.get(f"/v1/sweeps/{sweep['id']}").raise_for_status().json()
    return [job["point"] for job in details["jobs"]]


def begin(page: Page, running: Deployment, plan: str) -> None:
    """The form of a sweep on iris that trains for two epochs."""
    page.goto(f"{running.url}/#/new")
    page.locator("[name=dataset]").select_option("iris")
    page.locator("[name=epochs]").fill("2")
    page.get_by_label("Try", exact=True).select_option(plan)
    expect(page.get_by_role("heading", name="New sweep")).to_be_visible()


def start(page: Page) -> None:
    page.get_by_role("button", name="Start").click()
    expect(page).to_have_url(re.compile(r"#/sweeps/swp_\w+$"))


def test_a_bound_that_is_not_written_is_asked_for(page: Page, running: Deployment) -> None:
    begin(page, running, "random")
    page.locator(".vary [name=from]").fill("")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".vary .fault")).to_have_text("is null; must be a number")


def test_a_grid_is_started_and_what_is_refused_is_said_at_its_field(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    begin(page, running, "grid")
    page.locator(".vary [name=values]").fill("0.01, 0.1")
    page.get_by_role("button", name="Vary another setting").click()
    page.locator(".vary [name=setting]").nth(1).select_option("Hidden layers")
    widths = page.locator(".vary [name=values]").nth(1)
    widths.fill("none, 8, 8 0")
    page.locator("[name=name]").fill("rates and widths")
    page.get_by_role("button", name="Start 6 jobs").click()
    expect(page.locator(".vary").nth(1).locator(".fault")).to_have_text("is 0; must be 1..65536")
    expect(widths).to_have_attribute("aria-invalid", "true")
    expect_focused(widths)
    widths.fill("none, 8, 8 4")
    page.locator("[name=batch_size]").fill("-1")
    page.get_by_role("button", name="Start 6 jobs").click()
    expect(page.locator(".field:has([name=batch_size]) .fault")).to_contain_text("is -1")
    expect(page.locator(".fault")).to_have_count(1)
    page.locator("[name=batch_size]").fill("16")
    start(page)
    sweep = newest(client)
    assert sweep["grid"] == {"optimizer.learning_rate": [0.01, 0.1], "net.hidden": [[], [8], [8, 4]]}
    assert sweep["base"] == {"training": {"epochs": 2, "batch_size": 16}}
    assert (sweep["name"], sweep["n_jobs"], sweep["dataset"]) == ("rates and widths", 6, "iris")
    expect(page.get_by_role("heading", name="rates and widths")).to_be_visible()


def test_draws_and_lists_are_what_the_form_says(page: Page, running: Deployment, client: httpx2.Client) -> None:
    begin(page, running, "random")
    page.get_by_label("Draws", exact=True).fill("3")
    page.get_by_label("From", exact=True).fill("0.001")
    page.get_by_role("button", name="Vary another setting").click()
    page.locator(".vary [name=setting]").nth(1).select_option("Activation")
    page.locator(".vary [name=values]").last.fill("relu, tanh")
    page.get_by_label("Objective", exact=True).select_option("val accuracy")
    start(page)
    sweep = newest(client)
    space = sweep["random"]["space"]
    assert space["optimizer.learning_rate"]["log_uniform"] == [0.001, 1]
    assert space["net.activation"]["choice"] == ["relu", "tanh"]
    assert (sweep["random"]["n"], sweep["objective"], sweep["direction"]) == (3, "val_accuracy", "maximize")
    begin(page, running, "list")
    page.locator("[name=points]").fill("optimizer.learning_rate=0.1 net.hidden=[8,4]\n\noptimizer.name=sgd")
    start(page)
    assert newest(client)["list"] == [
        {"optimizer.learning_rate": 0.1, "net.hidden": [8, 4]},
        {"optimizer.name": "sgd"},
    ]


@pytest.mark.parametrize("plan", ["grid", "random", "asha", "list"])
def test_the_calls_of_a_sweep_start_the_same_sweep(
    page: Page, running: Deployment, client: httpx2.Client, tmp_path: Path, plan: str
) -> None:
    begin(page, running, plan)
    page.locator("[name=name]").fill("it's $HOME, again")
    if plan == "list":
        page.locator("[name=points]").fill('net.activation="tanh" net.hidden=[8,4]\nloss={"name":"softmax"}')
    if plan == "random":
        page.get_by_label("Draws", exact=True).fill("2")
    if plan == "asha":
        page.get_by_label("Draws", exact=True).fill("4")
        page.get_by_label("Last epoch", exact=True).fill("2")
        page.locator("[name=epochs]").fill("")
    start(page)
    first, seen = newest(client), {newest(client)["id"]}
    bins = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name, runner in (("curl", ["bash", "-e"]), ("Python", [sys.executable]), ("Command line", ["bash", "-e"])):
        page.get_by_role("button", name=name, exact=True).click()
        script = tmp_path / "call"
        script.write_text(page.locator("#call").text_content() or "", encoding="utf-8")
        done = subprocess.run(
            [*runner, script], env=os.environ | {"PATH": bins}, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
        sweep = newest(client)
        assert sweep["id"] not in seen, name
        assert asked(sweep) == asked(first), name
        assert points(client, sweep) == points(client, first), name
        seen.add(sweep["id"])


def test_a_sweep_starts_around_the_settings_of_a_job(page: Page, running: Deployment, client: httpx2.Client) -> None:
    body = {"dataset": "wine", "net": {"hidden": [6]}, "training": {"epochs": 2}}
    job = client.post("/v1/jobs", json=body).raise_for_status().json()
    page.goto(f"{running.url}/#/jobs/{job['id']}")
    page.get_by_role("link", name="Sweep", exact=True).click()
    expect(page.locator("[name=hidden]")).to_have_value("6")
    start(page)
    sweep = newest(client)
    assert (sweep["dataset"], sweep["base"]["net"]["hidden"], sweep["n_jobs"]) == ("wine", [6], 3)
