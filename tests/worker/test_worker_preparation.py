"""Cancel, pause and a deploy take effect while the data of a job is still being prepared, which takes seconds."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
import pytest

from store.datasets import DatasetStore
from store.transitions import Status
from tests.processes import Worker, wait_until
from tests.site import QUICK, Site

FOLDS = 16
"""A preparation for each, and one for the job: seconds."""


@pytest.fixture(scope="module")
def big_table() -> bytes:
    random = np.random.default_rng(0)
    x = random.standard_normal((400_000, 20), dtype=np.float32)
    file = io.BytesIO()
    np.savez(file, x=x, y=(x[:, 0] > 0).astype(np.int64))
    return file.getvalue()


@pytest.fixture
def dataset(own_site: Site, big_table: bytes) -> str:
    """On a site with a folder of its own, since built-in sets are shared and uploaded ones need a record."""
    (own_site.data_dir / "datasets").unlink()
    store = DatasetStore(own_site.store.redis, own_site.data_dir)
    with store.receive() as intake:
        with intake.file("big.npz") as incoming:
            incoming.write(big_table)
        return store.create_from_upload(intake.uploads(), {}).id


def preparing(site: Site, dataset: str, folds: int = FOLDS) -> tuple[Worker, str]:
    """A worker in the middle of preparing a job."""
    heavy = QUICK | {"training": QUICK["training"] | {"folds": folds, "epochs": 1, "batch_size": 4096}}
    worker = site.processes.worker().ready()
    job_id = site.submit(heavy, dataset)
    site.wait(job_id, Status.RUNNING)
    time.sleep(0.5)
    assert "event=training " not in worker.log
    return worker, job_id


def in_seconds(action: Callable[[], object], reached: Callable[[], bool]) -> float:
    began = time.monotonic()
    action()
    wait_until(reached, 30)
    return time.monotonic() - began


@pytest.mark.parametrize(("action", "status"), [("cancel", Status.CANCELLED), ("pause", Status.PAUSED)])
def test_a_job_that_is_being_prepared_obeys_within_two_seconds(
    own_site: Site, dataset: str, action: str, status: Status
) -> None:
    worker, job_id = preparing(own_site, dataset)
    took = in_seconds(
        lambda: own_site.store.request(job_id, action), lambda: own_site.store.get(job_id).status is status
    )
    assert took < 2
    job = own_site.store.get(job_id)
    assert (job.attempt, job.crashes, job.checkpoints) == (1, 0, ())
    assert "event=training " not in worker.log, "preparation was over too soon for this test"
    assert own_site.wait(own_site.submit(QUICK, "iris")).status is Status.SUCCEEDED
    assert "trainer_died" not in worker.log


def test_a_job_paused_while_it_was_prepared_runs_when_resumed(own_site: Site, dataset: str) -> None:
    _, job_id = preparing(own_site, dataset, folds=7)
    own_site.store.request(job_id, "pause")
    own_site.wait(job_id, Status.PAUSED)
    own_site.store.request(job_id, "resume")
    job = own_site.wait(job_id, timeout_s=180)
    assert (job.status, job.attempt) == (Status.SUCCEEDED, 1)
    own_site.check()


def test_a_deploy_does_not_wait_for_a_preparation_and_counts_no_attempt(own_site: Site, dataset: str) -> None:
    worker, job_id = preparing(own_site, dataset)
    began = time.monotonic()
    assert worker.terminate() == 0
    assert time.monotonic() - began < 4
    job = own_site.store.get(job_id)
    assert (job.status, job.status_reason, job.attempt, job.crashes) == (Status.QUEUED, "given_back", 1, 0)
