"""Kills at named points and at awkward moments: the job still finishes, as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from store.transitions import Status
from tests.history import History, assert_same_run
from tests.processes import is_alive, wait_until
from tests.site import ENDLESS, QUICK, STEADY, Site
from worker import failpoints


@pytest.mark.parametrize("place", failpoints.PLACES)
def test_a_trainer_killed_at_any_named_point_changes_nothing(
    place: str, site: Site, reference: tuple[History, Path]
) -> None:
    worker = site.processes.worker(CRASH_AT=place, HOLD_WHILE=site.hold())
    job_id = site.submit(STEADY)
    wait_until(lambda: site.store.get(job_id).checkpoints, 60, "a checkpoint, whatever was killed before it")
    site.release()
    job = site.wait(job_id)
    assert job.status is Status.SUCCEEDED
    (history,) = site.check()
    wait_until(lambda: len(worker.trainer_pids()) == 2, what=f"{place} was reached, and a fresh trainer started")
    assert job.attempt == (1 if place in {"before_claim", "after_publish"} else 2)
    assert_same_run(history, site.data_dir, *reference)
    wait_until(lambda: site.processes.trainers() == worker.trainer_pids()[-1:], what="the fresh one alone lives")


def test_a_trainer_killed_at_random_moments_changes_nothing(site: Site, reference: tuple[History, Path]) -> None:
    worker = site.processes.worker(HOLD_WHILE=site.hold()).ready()
    moments = random.Random(20261123)
    job_id = site.submit(STEADY)
    for kills in range(2):
        wait_until(lambda runs=kills + 1: worker.log.count("event=training") == runs, 30, "training again")
        time.sleep(moments.uniform(0.0, 0.6))
        os.kill(worker.trainer_pid(), signal.SIGKILL)
    site.release()
    assert site.wait(job_id).status is Status.SUCCEEDED
    (history,) = site.check()
    assert_same_run(history, site.data_dir, *reference)


def test_a_killed_worker_takes_its_trainer_along_and_another_finishes(
    site: Site, reference: tuple[History, Path]
) -> None:
    first = site.processes.worker(HOLD_WHILE=site.hold()).ready()
    job_id = site.submit(STEADY)
    site.wait_for_step(job_id)
    site.processes.worker().ready()
    trainer = first.trainer_pid()
    first.kill()
    killed_at = time.monotonic()
    wait_until(lambda: not is_alive(trainer), 5, "no orphan trains on")
    site.release()
    wait_until(lambda: site.store.get(job_id).attempt == 2, 15, "taken back and resumed")
    assert time.monotonic() - killed_at < 15
    assert site.wait(job_id).status is Status.SUCCEEDED
    (history,) = site.check()
    assert_same_run(history, site.data_dir, *reference)


def test_a_worker_that_slept_past_its_lease_is_fenced(site: Site) -> None:
    sleeper = site.processes.worker().ready()
    job_id = site.submit(ENDLESS)
    site.wait_for_step(job_id)
    for pid in (sleeper.pid, sleeper.trainer_pid()):
        os.kill(pid, signal.SIGSTOP)
    other = site.processes.worker().ready()
    wait_until(lambda: site.store.get(job_id).fence == 2, 60, "the lease expires and another worker takes the job")
    for pid in (sleeper.trainer_pid(), sleeper.pid):
        os.kill(pid, signal.SIGCONT)
    sleeper.wait_for(r"event=fenced")
    assert len(sleeper.trainer_pids()) == 1  # fenced is no crash: it stays warm and works on
    site.store.request(job_id, "cancel")
    site.wait(job_id, Status.CANCELLED)
    second = site.submit(QUICK)
    assert site.wait(second).status is Status.SUCCEEDED
    site.check()
    assert "trainer_died" not in sleeper.log + other.log


def test_three_crashes_end_the_job(site: Site) -> None:
    worker = site.processes.worker(CRASH_AT="after_claim*3")
    job = site.wait(site.submit(QUICK))
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error["code"] == "crashed"
    assert site.wait(site.submit(QUICK)).status is Status.SUCCEEDED
    site.check()
    assert len(worker.trainer_pids()) == 4


def test_sigterm_gives_the_job_back_without_counting_an_attempt(site: Site, reference: tuple[History, Path]) -> None:
    job_id = site.submit(STEADY)
    for _ in range(2):
        worker = site.processes.worker(HOLD_WHILE=site.hold()).ready()
        site.wait_for_step(job_id, site.store.get(job_id).last_metric_step + 1)
        asked_at = time.monotonic()
        assert worker.terminate() == 0
        assert time.monotonic() - asked_at < 10
        assert not site.processes.trainers()
        job = site.store.get(job_id)
        assert (job.status, job.attempt, job.crashes) == (Status.QUEUED, 1, 0)
    site.release()
    site.processes.worker()
    assert site.wait(job_id).status is Status.SUCCEEDED
    (history,) = site.check()
    assert_same_run(history, site.data_dir, *reference)


def test_a_full_disk_at_a_checkpoint_ends_the_job_and_not_the_worker(site: Site) -> None:
    worker = site.processes.worker(DISK_FULL_AT="checkpoint")
    job = site.wait(site.submit(ENDLESS))
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error["code"] == "disk_full"
    assert site.wait(site.submit(QUICK)).status is Status.SUCCEEDED
    site.check()
    assert len(worker.trainer_pids()) == 1
    leftovers = [path.name for path in site.data_dir.rglob("*") if path.name.startswith(".tmp-")]
    assert leftovers == []


def test_a_full_disk_at_the_result_publishes_nothing(site: Site) -> None:
    site.processes.worker(DISK_FULL_AT="result")
    job = site.wait(site.submit(QUICK))
    assert job.status is Status.FAILED
    assert job.error is not None
    assert (job.error["code"], job.result) == ("disk_full", None)
    site.check()
