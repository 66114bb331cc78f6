"""A job is forked on the page: from its result or from a checkpoint, with changed settings; figures are in tables."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from bench.deployment import Deployment
from tests.page.conftest import LONG, reached
from tests.processes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def submitted(client: httpx2.Client, **body: Any) -> str:
    return str(client.post("/v1/jobs", json=body).raise_for_status().json()["id"])


def newest(client: httpx2.Client) -> dict[str, Any]:
    job: dict[str, Any] = client.get("/v1/jobs?limit=1").raise_for_status().json()["data"][0]
    return job


def test_a_fork_of_a_result_changes_what_the_form_changed_and_nothing_else(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    stops = {"metric": "val_loss", "patience": 40}
    training = {"epochs": 3, "shuffle": False, "test_fraction": 0.1, "early_stopping": stops}
    first = submitted(client, dataset="iris", name="first", net={"hidden": [9]}, training=training)
    reached(client, f"jobs/{first}")
    page.goto(f"{running.url}/#/jobs/{first}")
    page.get_by_role("link", name="Fork").click()
    expect(page.get_by_role("heading", name="Fork: first")).to_be_visible()
    expect(page.get_by_label("Start from")).to_have_value("")
    expect(page.locator("[name='early_stopping.patience']")).to_have_value("40")
    page.locator("[name=epochs]").fill("2")
    page.locator("[name=shuffle]").select_option("yes")
    page.locator("[name=early_stopping]").select_option("no")
    page.locator("[name='optimizer.learning_rate']").fill("0.001")
    page.get_by_role("button", name="Fork").click()
    expect(page).to_have_url(re.compile(r"#/jobs/job_"))
    job = newest(client)
    before = client.get(f"/v1/jobs/{first}").json()["spec"]
    assert job["origin"] == {"job": first, "checkpoint": None}
    assert job["spec"]["net"] == before["net"]
    assert job["spec"]["optimizer"] == before["optimizer"] | {"learning_rate": 0.001}
    changed = {"epochs": 2, "shuffle": True, "early_stopping": None}
    assert job["spec"]["training"] == before["training"] | changed


def test_a_fork_starts_from_the_checkpoint_that_is_chosen(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    first = submitted(client, **LONG | {"training": LONG["training"] | {"checkpoint_every_s": 0.2}})
    wait_until(lambda: client.get(f"/v1/jobs/{first}/checkpoints").json()["data"], 60, "a checkpoint")
    client.post(f"/v1/jobs/{first}/pause").raise_for_status()
    reached(client, f"jobs/{first}", "paused")
    kept = [checkpoint["step"] for checkpoint in client.get(f"/v1/jobs/{first}/checkpoints").json()["data"]]
    page.goto(f"{running.url}/#/fork/{first}")
    options = page.get_by_label("Start from").locator("option")
    expect(options).to_have_text([re.compile(rf"step {step}, epoch \d+") for step in kept])
    page.get_by_label("Start from").select_option(str(kept[-1]))
    page.locator("[name=epochs]").fill("1")
    page.get_by_role("button", name="Fork").click()
    expect(page).to_have_url(re.compile(r"#/jobs/job_"))
    assert newest(client)["origin"] == {"job": first, "checkpoint": kept[-1]}
    client.post(f"/v1/jobs/{first}/cancel").raise_for_status()


def test_figures_stand_in_tables_by_rows_and_by_fold(page: Page, running: Deployment, client: httpx2.Client) -> None:
    job = submitted(client, dataset="iris", training={"epochs": 4, "folds": 3, "test_fraction": 0.2})
    reached(client, f"jobs/{job}")
    metrics = client.get(f"/v1/jobs/{job}").json()["metrics"]
    page.goto(f"{running.url}/#/jobs/{job}")
    by_rows = page.get_by_role("region", name="Figures by rows")
    expect(by_rows.locator("thead th")).to_have_text(["Figures", "Training", "Validation", "Test"])
    accuracy = by_rows.get_by_role("row").filter(has=page.get_by_role("rowheader", name="Accuracy", exact=True))
    shown = [f"{metrics[f'{rows}_accuracy']:.4g}" for rows in ("train", "val", "test")]
    expect(accuracy.locator("td")).to_have_text(shown)
    by_fold = page.get_by_role("region", name="Cross-validation by fold")
    titles = ["Cross-validation", "Mean ± deviation", "Fold 1", "Fold 2", "Fold 3"]
    expect(by_fold.locator("thead th")).to_have_text(titles)
    loss = by_fold.get_by_role("row").filter(has=page.get_by_role("rowheader", name="Loss"))
    mean = f"{metrics['cv_val_loss']:.4g} ± {metrics['cv_val_loss_std']:.2g}"
    expect(loss.locator("td")).to_have_text([mean, *(f"{metrics[f'fold{n}_val_loss']:.4g}" for n in (1, 2, 3))])
