"""The pictures of README.md and docs/page.md: a real deployment, real jobs, a real browser (needs chromium).

Run with `make page-pictures`.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Page, expect, sync_playwright

from bench.deployment import deployment

HERE = Path(__file__).parent
PENGUINS = HERE.parent / "tests" / "data" / "penguins.csv"
JOBS: dict[str, dict[str, Any]] = {
    "digits": {"name": "handwritten digits", "dataset": "digits", "training": {"epochs": 40, "test_fraction": 0.1}},
    **{
        f"spiral {width}": {
            "name": f"spiral, {width} hidden units",
            "dataset": "spiral",
            "net": {"hidden": [width]},
            "optimizer": {"name": "adam", "learning_rate": rate},
            "training": {"epochs": 200},
        }
        for width, rate in ((3, 0.003), (6, 0.01), (20, 0.01), (64, 0.03))
    },
}


@dataclass(frozen=True)
class Picture:
    """One view: its file, its address, what to do before it is taken, its height."""

    name: str
    address: str
    prepare: Callable[[Page], None]
    height: int = 760


def _drawn(page: Page) -> None:
    expect(page.locator("figure .line").first).to_be_visible()


def _write_net(page: Page) -> None:
    page.locator("[name=file]").set_input_files(PENGUINS)
    expect(page.get_by_role("region", name="About penguins")).to_be_visible()
    page.get_by_label("Target", exact=True).select_option("species")
    page.get_by_role("button", name="Read again").click()
    expect(page.get_by_text("species: 3 classes")).to_be_visible()
    page.locator("[name=hidden]").fill("32 16 8")
    expect(page.locator("svg.net")).to_be_visible()


def _computed(page: Page) -> None:
    expect(page.get_by_text("rows hold, computed just now")).to_be_visible(timeout=60_000)
    page.get_by_role("article", name="L04 ").locator("summary").click()
    page.evaluate("scrollTo(0, 0)")


def _lines(page: Page) -> None:
    _drawn(page)
    expect(page.locator(".parallel .job").first).to_be_visible()


def pictures(ids: dict[str, str]) -> list[Picture]:
    """Every picture, given the jobs."""
    spirals = ",".join(job for name, job in ids.items() if name.startswith("spiral"))
    return [
        Picture("page", f"jobs/{ids['digits']}", _drawn),
        Picture("page-new", "new", _write_net, 1150),
        Picture("page-compare", f"compare/{spirals}", _lines, 1150),
        Picture("page-lecture", "lecture", _computed, 1150),
    ]


def main() -> None:
    """Train the jobs and take every picture."""
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_path is None:
        raise SystemExit("chromium is not installed")
    with deployment() as running, httpx2.Client(base_url=running.url, timeout=60) as client:
        ids = {n: client.post("/v1/jobs", json=body).raise_for_status().json()["id"] for n, body in JOBS.items()}
        while any(client.get(f"/v1/jobs/{job}").json()["status"] != "succeeded" for job in ids.values()):
            time.sleep(0.1)
        with sync_playwright() as engine:
            browser = engine.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            for one in pictures(ids):
                page = browser.new_page(viewport={"width": 1180, "height": one.height})
                page.goto(f"{running.url}/#/{one.address}")
                one.prepare(page)
                page.wait_for_timeout(500)
                page.screenshot(path=str(HERE / f"{one.name}.png"))
                page.close()
                sys.stdout.write(f"{one.name}.png\n")
            browser.close()


if __name__ == "__main__":
    main()
