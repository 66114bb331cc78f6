"""On a machine whose kernels are not compiled jobs wait for a minute or two; everybody is told why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nets.engines import COMPILED_VARIABLE
from store.events import EventLog
from store.transitions import Status
from store.workers import Workers
from tests.processes import wait_until
from tests.site import QUICK, Site
from worker.compiler import WAITS


def kernels(site: Site) -> list[str]:
    return [worker.kernels for worker in Workers(site.store.redis).list()]


def test_a_worker_says_when_its_kernels_are_loaded(site: Site) -> None:
    worker = site.processes.worker()
    wait_until(lambda: kernels(site) == ["loading"], what="it is listed")
    wait_until(lambda: kernels(site) == ["ready"], what="they are loaded")
    assert "event=compiling" not in worker.log


def test_a_job_that_waits_for_the_compiler_is_told_so_and_can_be_cancelled(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(COMPILED_VARIABLE)
    worker = site.processes.worker(MLPQ_COMPILED_DIR=str(tmp_path / "empty"))
    wait_until(lambda: kernels(site) == ["compiling"], what="an idle worker says so")
    assert worker.log.count("event=compiling") == 1
    job_id = site.submit(QUICK, "iris")

    def told() -> list[str]:
        found = EventLog(site.store.redis).read(job_id)
        return [json.loads(event.data)["message"] for event in found if event.type == "log"]

    wait_until(lambda: told() == [WAITS], what="the job says what it waits for")
    site.store.request(job_id, "cancel")
    site.wait(job_id, Status.CANCELLED, timeout_s=5)
    assert told() == [WAITS]
    assert "event=training " not in worker.log, "it was not compiled yet"
