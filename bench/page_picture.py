"""The picture of the page in the README: a real deployment, a real job, a real browser (needs chromium).

Run with `python -m bench.page_picture`; writes docs/page.png.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import httpx2
from playwright.sync_api import sync_playwright

from bench.deployment import deployment

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "page.png"
SPEC = {"name": "handwritten digits", "dataset": "digits", "training": {"epochs": 40}}


def main() -> None:
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_path is None:
        raise SystemExit("chromium is not installed")
    with (
        deployment() as running,
        httpx2.Client(base_url=running.url, timeout=60) as client,
        sync_playwright() as engine,
    ):
        job = client.post("/v1/jobs", json=SPEC).raise_for_status().json()
        while client.get(f"/v1/jobs/{job['id']}").json()["status"] != "succeeded":
            time.sleep(0.1)
        browser = engine.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 760}, device_scale_factor=1.5)
        page.goto(f"{running.url}/#/jobs/{job['id']}")
        page.wait_for_selector("figure .line")
        page.wait_for_timeout(500)
        page.screenshot(path=str(PICTURE))
        browser.close()


if __name__ == "__main__":
    main()
