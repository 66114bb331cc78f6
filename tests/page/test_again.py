"""A job is submitted again: by the exact calls that its view shows, and by the form that starts with its settings."""

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
from tests.page.conftest import reached, visit
from tests.processes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

BODY: dict[str, Any] = {
    "name": """it's a "name" with $HOME, `id` and \\ — ω""",
    "dataset": "digits",
    "features": ["raw", {"name": "hog", "cell": 4}],
    "net": {"hidden": [12, 5], "activation": [{"name": "leaky_relu", "alpha": 0.2}, "tanh"], "dropout": 0.1},
    "loss": {"name": "softmax", "label_smoothing": 0.05},
    "optimizer": {"name": "rmsprop", "learning_rate": 0.002, "l2": 1e-6},
    "training": {"epochs": 2, "early_stopping": {"metric": "val_loss", "patience": 5}, "shuffle": False},
    "tags": ["one", "two"],
    "metadata": {"who": "O'Hara"},
    "priority": 3,
}
ASKED = ("name", "dataset", "spec", "tags", "metadata", "priority")


def asked(job: dict[str, Any]) -> dict[str, Any]:
    return {field: job[field] for field in ASKED}


def in_clipboard(page: Page, text: str | None) -> str:
    """Wait until a text has been copied: that one was before it is still told."""
    return wait_until(
        lambda: text == page.evaluate("navigator.clipboard.readText()") and text, what=f"{text} is copied"
    )


def newest(client: httpx2.Client) -> dict[str, Any]:
    job: dict[str, Any] = client.get("/v1/jobs?limit=1").raise_for_status().json()["data"][0]
    return job


def test_the_calls_shown_on_a_jobs_view_submit_the_same_job(
    page: Page, running: Deployment, client: httpx2.Client, tmp_path: Path
) -> None:
    first = client.post("/v1/jobs", json=BODY).raise_for_status().json()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{running.url}/#/jobs/{first['id']}")
    seen = {first["id"]}
    bins = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name, runner in (("curl", ["bash", "-e"]), ("Python", [sys.executable]), ("Command line", ["bash", "-e"])):
        page.get_by_role("button", name=name, exact=True).click()
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_text("copied", exact=True)).to_be_visible()
        script = tmp_path / "call"
        script.write_text(in_clipboard(page, page.locator("#call").text_content()), encoding="utf-8")
        environment = os.environ | {"PATH": bins}
        done = subprocess.run([*runner, script], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        job = newest(client)
        assert job["id"] not in seen, name
        assert asked(job) == asked(first), name
        seen.add(job["id"])


def test_each_copy_is_told_for_as_long(page: Page, running: Deployment, client: httpx2.Client) -> None:
    body = {"dataset": "iris", "training": {"epochs": 1}}
    job = client.post("/v1/jobs", json=body).raise_for_status().json()["id"]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.clock.install(time=0)
    visit(page, f"{running.url}/#/jobs/{job}")
    page.clock.pause_at(60)
    told = page.get_by_text("copied", exact=True)
    for name in ("Python", "curl"):
        page.clock.run_for(1500)
        page.get_by_role("button", name=name, exact=True).click()
        page.get_by_role("button", name="Copy").click()
        in_clipboard(page, page.locator("#call").text_content())
    page.clock.run_for(1500)
    assert told.is_visible()
    page.clock.run_for(600)
    assert told.is_hidden()


def test_change_and_retry_opens_the_form_with_the_jobs_settings(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    first = client.post("/v1/jobs", json=BODY).raise_for_status().json()
    page.goto(f"{running.url}/#/jobs/{first['id']}")
    page.get_by_role("link", name="Change and retry").click()
    expect(page).to_have_url(re.compile(rf"#/new/{first['id']}$"))
    expect(page.locator("[name=hidden]")).to_have_value("12 5")
    page.get_by_role("button", name="Train").click()
    expect(page).to_have_url(re.compile(r"#/jobs/job_"))
    assert asked(newest(client)) == asked(first)
    page.go_back()
    expect(page.locator("[name=epochs]")).to_have_value("2")
    page.locator("[name=epochs]").fill("1")
    page.locator("[name=optimizer]").select_option("sgd")
    page.get_by_role("button", name="Train").click()
    expect(page).to_have_url(re.compile(r"#/jobs/job_"))
    changed = newest(client)["spec"]
    assert changed["training"] == first["spec"]["training"] | {"epochs": 1}
    assert changed["optimizer"]["name"] == "sgd"
    assert changed["net"] == first["spec"]["net"]


def test_a_fork_says_whose_weights_it_started_from(page: Page, running: Deployment, client: httpx2.Client) -> None:
    first = client.post("/v1/jobs", json={"dataset": "iris", "training": {"epochs": 2}}).raise_for_status().json()["id"]
    reached(client, f"jobs/{first}")
    fork = client.post(f"/v1/jobs/{first}/fork", json={}).raise_for_status().json()["id"]
    page.goto(f"{running.url}/#/jobs/{fork}")
    page.get_by_role("link", name=first).click()
    expect(page).to_have_url(re.compile(rf"#/jobs/{first}$"))
    expect(page.get_by_role("heading", name=first)).to_be_visible()
    expect(page.get_by_role("heading", name="The same job again")).to_be_visible()
    expect(page.get_by_text("It started from the weights of")).to_have_count(0)


def test_other_settings_are_json_and_what_is_wrong_with_it_is_said(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/new")
    page.get_by_text("Other settings, as JSON").click()
    page.locator("[name=rest]").fill('{"training": ')
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_role("alert")).to_contain_text("Other settings are no JSON")
    page.locator("[name=rest]").fill('{"training": {"batch_size": 7, "epochs": 1}}')
    page.get_by_role("button", name="Train").click()
    expect(page).to_have_url(re.compile(r"#/jobs/job_"))
    job = httpx2.get(f"{running.url}/v1/jobs/{page.url.rpartition('/')[2]}").json()
    assert job["spec"]["training"]["batch_size"] == 7
