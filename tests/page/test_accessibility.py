"""axe-core finds no violation in any view: light and dark, on a desktop and on a phone."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from bench.deployment import Deployment
from tests.page.conftest import reached, visit
from tests.processes import http_client

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

CSV = "kind,size\n" + "".join(f"{'ab'[n % 2]},{n % 7}\n" for n in range(40))


@pytest.fixture(scope="module")
def views(running: Deployment) -> dict[str, str]:
    """Every view: its name, its address."""
    with http_client(running.url, timeout_s=30) as client:
        bodies: list[dict[str, Any]] = [
            {"dataset": "moons", "name": f"job {n}", "net": {"hidden": [4 + n]}, "training": {"epochs": 3, "folds": 2}}
            for n in range(2)
        ]
        jobs = [client.post("/v1/jobs", json=body).raise_for_status().json()["id"] for body in bodies]
        for job in jobs:
            reached(client, f"jobs/{job}")
        grid = {"optimizer.learning_rate": [0.001, 0.1], "training.seed": [1, 2]}
        body = {"dataset": "iris", "grid": grid, "base": {"training": {"epochs": 2}}, "name": "a sweep"}
        sweep = client.post("/v1/sweeps", json=body).raise_for_status().json()["id"]
        reached(client, f"sweeps/{sweep}")
    return {
        "jobs": "",
        "new": "new",
        "retry": f"new/{jobs[0]}",
        "fork": f"fork/{jobs[0]}",
        "job": f"jobs/{jobs[0]}",
        "compare": f"compare/{','.join(jobs)}",
        "playground": "playground",
        "lecture": "lecture/L05",
        "queue": "queue",
        "sweeps": "sweeps",
        "new sweep": "sweeps/new",
        "sweep": f"sweeps/{sweep}",
        "not here": "jobs/job_none",
    }


SHOWN = {
    "job": ".charts path.line",
    "compare": ".parallel .job",
    "new": "svg.net",
    "retry": "svg.net",
    "fork": "svg.net",
    "new sweep": "svg.net",
    "lecture": "#L05 tbody tr",
    "jobs": "tbody tr",
    "sweeps": "tbody tr",
    "sweep": ".parallel .job",
    "not here": "[role=alert]",
}
"""What a view has when it is drawn."""


ALL: dict[str, Any] = {"resultTypes": ["violations"]}
OF_COLOURS = ALL | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""In the dark a view has other colours, and is the same in all else."""


def violations(page: Page, options: dict[str, Any]) -> list[str]:
    found = Axe().run(page, options=options).response["violations"]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("width", [360, 1100])
def test_axe_finds_nothing(page: Page, running: Deployment, views: dict[str, str], width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for name, address in views.items():
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        visit(page, f"{running.url}/#/{address}")
        if name in SHOWN:
            expect(page.locator(SHOWN[name]).first).to_be_attached()
        if name == "new":
            for summary in page.locator("summary:visible").all():
                summary.click()
            page.locator("[name=optimizer]").select_option("sgd")
            page.locator("[name=early_stopping]").select_option("yes")
            page.locator("[name=file]").set_input_files(
                {"name": "t.csv", "mimeType": "text/csv", "buffer": CSV.encode()}
            )
            expect(page.get_by_role("region", name="About t")).to_be_visible()
            page.get_by_role("button", name="Check first").click()
            expect(page.get_by_role("region", name="What it would be")).to_be_visible()
        if name == "new sweep":
            page.get_by_label("Try", exact=True).select_option("asha")
            page.get_by_label("Draws", exact=True).fill("-1")
            page.get_by_role("button", name="Start").click()
            expect(page.locator(".fault")).to_be_visible()
        assert violations(page, ALL) == [], f"{name}, light, {width}"
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        assert violations(page, OF_COLOURS) == [], f"{name}, dark, {width}"
