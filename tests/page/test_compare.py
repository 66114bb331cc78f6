"""Jobs are chosen in the list, compared by curves, figures and settings, and cancelled together."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from bench.deployment import Deployment
from tests.page.conftest import LONG, points, reached

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PERIOD_MS = 5000
"""After which the list looks for new jobs."""


def submitted(client: httpx2.Client, **body: Any) -> str:
    return str(client.post("/v1/jobs", json=body).raise_for_status().json()["id"])


def trained(client: httpx2.Client, **body: Any) -> str:
    job = submitted(client, **body)
    reached(client, f"jobs/{job}")
    return job


def test_chosen_jobs_are_compared_by_curves_figures_and_differing_settings(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    for rate in (0.05, 0.5):
        trained(
            client,
            dataset="iris",
            name=f"rate {rate}",
            optimizer={"name": "sgd", "learning_rate": rate},
            training={"epochs": 9},
        )
    page.goto(f"{running.url}/")
    page.get_by_role("checkbox", name="choose rate 0.05").check()
    page.get_by_role("checkbox", name="choose rate 0.5").check()
    page.get_by_role("link", name="Compare").click()
    expect(page).to_have_url(re.compile(r"#/compare/job_\w+,job_\w+$"))
    expect(page.locator(".charts figcaption strong")).to_have_text(["Validation loss", "Training loss", "Accuracy"])
    for figure in page.locator(".charts figure").all():
        expect(figure.locator("path.line")).to_have_count(2)
    strokes = "figure => [...figure.querySelectorAll('path')].map(path => getComputedStyle(path).stroke)"
    colours = [figure.evaluate(strokes) for figure in page.locator(".charts figure").all()]
    assert colours == [colours[0]] * 3
    assert colours[0][0] != colours[0][1]
    settings = page.locator("table.settings")
    expect(settings.locator("thead th")).to_have_text(["Setting", "rate 0.05", "rate 0.5"])
    expect(settings.locator("tbody tr")).to_have_count(1)
    expect(settings.locator("tbody tr").locator("th, td")).to_have_text(["optimizer.learning_rate", "0.05", "0.5"])
    best = min(client.get("/v1/jobs?limit=2").json()["data"], key=lambda job: job["metrics"]["train_loss"])
    row = page.locator("table").first.get_by_role("row").filter(has_text=best["name"])
    expect(row.locator("td.best").first).to_have_text(f"{best['metrics']['train_loss']:.4g}")
    page.get_by_role("button", name="rate 0.05").click()
    expect(page.locator("figure").first.locator("path.line")).to_have_count(1)
    page.get_by_role("link", name="leave out rate 0.05").click()
    expect(page.get_by_role("heading", name="1 job compared")).to_be_visible()


def test_lines_lead_from_differing_settings_to_the_outcome_and_one_is_brought_out(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    kinds = {"small": ([4], 0.001), "middle": ([8], 0.01), "large": ([8, 8], 0.1)}
    jobs = [
        trained(
            client,
            dataset="iris",
            name=name,
            net={"hidden": hidden},
            optimizer={"name": "sgd", "learning_rate": rate},
            training={"epochs": 3},
        )
        for name, (hidden, rate) in kinds.items()
    ]
    losses = [client.get(f"/v1/jobs/{job}").json()["metrics"]["val_loss"] for job in jobs]
    page.goto(f"{running.url}/#/compare/{','.join(jobs)}")
    ways = page.get_by_role("group", name="Settings and outcome of each job")
    expect(ways.locator("text.strong")).to_have_text(["hidden", "activation", "learning rate", "validation loss"])
    lines = ways.get_by_role("img")
    expect(lines).to_have_count(3)
    about = [
        f"learning rate {rate}, validation loss {loss:.4g}"
        for (_, rate), loss in zip(kinds.values(), losses, strict=True)
    ]
    for line, text in zip(lines.all(), about, strict=True):
        expect(line).to_have_attribute("aria-label", re.compile(re.escape(text) + "$"))
    rates = [lines.nth(n).locator("circle").nth(2) for n in range(3)]
    heights = [float(rate.get_attribute("cy") or 0) for rate in rates]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.5), "a logarithmic axis"
    ordered = sorted(range(3), key=lambda n: float(lines.nth(n).locator("circle").last.get_attribute("cy") or 0))
    assert ordered == sorted(range(3), key=lambda n: -losses[n])
    lines.nth(1).focus()
    expect(page.locator(".ways [role=status]")).to_contain_text("middle: hidden 8")
    expect(ways.locator(".pointed")).to_have_count(1)
    lines.nth(1).blur()
    page.get_by_role("button", name="large").hover()
    expect(page.locator(".ways [role=status]")).to_contain_text("large: hidden 8, 8")


def test_a_comparison_shows_jobs_that_train_and_names_those_that_are_gone(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    job = submitted(client, **LONG, name="goes on")
    page.goto(f"{running.url}/#/compare/{job},job_none")
    expect(page.get_by_role("alert")).to_have_text("There is no job job_none any more.")
    line = page.locator("figure").first.locator("path.line")
    expect(line).to_have_count(1)
    drawn = line.get_attribute("d")
    expect(line).not_to_have_attribute("d", drawn or "")
    client.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    expect(page.locator(".status.cancelled")).to_be_visible()


def test_curves_have_a_log_axis_smoothing_and_zoom(page: Page, running: Deployment, client: httpx2.Client) -> None:
    job = trained(client, dataset="iris", name="curve", training={"epochs": 60})
    page.goto(f"{running.url}/#/jobs/{job}")
    loss = page.locator("figure").first
    line = loss.locator("path.line").first
    steps = client.get(f"/v1/jobs/{job}/metrics").json()["columns"]["step"]
    expect(line).to_have_attribute("d", points(len(steps)))
    plain = line.get_attribute("d") or ""
    page.get_by_label("log loss").check()
    expect(line).not_to_have_attribute("d", plain)
    page.get_by_label("log loss").uncheck()
    expect(line).to_have_attribute("d", plain)
    page.get_by_label("smoothing").fill("0.9")
    expect(loss.locator("path.faint").first).to_have_attribute("d", plain)
    assert loss.locator("path.line:not(.faint)").first.get_attribute("d") != plain
    page.get_by_label("smoothing").fill("0")
    ticks = loss.locator("text[text-anchor=middle]")
    whole = ticks.all_text_contents()
    loss.locator("svg").first.scroll_into_view_if_needed()
    box = loss.locator("svg").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(ticks.first).not_to_have_text(whole[0])
    page.get_by_role("button", name="whole curve").click()
    expect(ticks).to_have_text(whole)
    loss.locator("svg").first.focus()
    page.keyboard.press("+")
    expect(page.get_by_role("button", name="whole curve")).to_be_visible()
    page.keyboard.press("Escape")
    expect(ticks).to_have_text(whole)


def test_jobs_are_cancelled_together(page: Page, running: Deployment, client: httpx2.Client) -> None:
    jobs = [submitted(client, **LONG, name=f"bulk {n}") for n in range(3)]
    page.goto(f"{running.url}/")
    for n in range(2):
        page.get_by_role("checkbox", name=f"choose bulk {n}").check()
    page.get_by_role("button", name="Cancel 2").click()
    expect(page.get_by_role("row").filter(has_text="bulk").locator(".status.cancelled")).to_have_count(2)
    expect(page.get_by_role("region", name="Chosen jobs")).to_be_hidden()
    assert client.get(f"/v1/jobs/{jobs[2]}").json()["status"] in {"queued", "running"}
    client.post(f"/v1/jobs/{jobs[2]}/cancel").raise_for_status()


def test_the_list_is_filtered_by_status_tag_and_text_and_its_address_keeps_that(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    trained(client, dataset="iris", name="alpha", tags=["red"], training={"epochs": 1})
    trained(client, dataset="iris", name="beta", tags=["red", "blue"], training={"epochs": 1})
    page.clock.install()
    page.goto(f"{running.url}/#/?tag=red")
    names = page.locator("tbody tr:visible td:nth-child(2) a")
    expect(names).to_have_text(["beta", "alpha"])
    page.get_by_label("Text").fill("ALPH iris")
    expect(names).to_have_text(["alpha"])
    expect(page).to_have_url(re.compile(r"#/\?tag=red&text=ALPH\+iris$"))
    page.reload()
    expect(names).to_have_text(["alpha"])
    page.get_by_label("Status").select_option("failed")
    expect(page.get_by_text("No job fits.")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(names.filter(has_text="beta")).to_be_visible()
    trained(client, dataset="iris", name="came later", training={"epochs": 1})
    page.clock.fast_forward(PERIOD_MS)
    expect(names.first).to_have_text("came later")
