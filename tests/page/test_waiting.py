"""On a machine whose kernels are not compiled: the page says what a job waits for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from mlpq.up.launch import deployment
from tests.page.conftest import STARTS
from tests.processes import http_client

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def test_a_job_and_its_worker_say_that_kernels_are_compiled(browser: Browser, tmp_path: Path) -> None:
    environment = os.environ | {"MLPQ_COMPILED_DIR": str(tmp_path / "empty")}
    options = ("--port", "0", "--device", "cpu")
    with deployment(tmp_path / "data", *options, environment=environment) as (url, _), http_client(url) as client:
        job = client.post("/v1/jobs", json={"dataset": "iris"}).raise_for_status().json()["id"]
        page = browser.new_page()
        page.set_default_timeout(STARTS)
        page.goto(f"{url}/#/jobs/{job}")
        expect(page.get_by_role("status").filter(has_text="kernels are being compiled")).to_be_visible()
        page.goto(f"{url}/#/queue")
        expect(page.get_by_role("row").filter(has_text="compiling the CPU kernels")).to_contain_text(job)
        page.close()
