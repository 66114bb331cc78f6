"""Redis is killed, away for longer than a lease, or gone when a worker starts: nothing is lost, nothing runs twice."""

from __future__ import annotations

import hashlib
import signal
import time
from pathlib import Path

from store import scripts
from store.clocks import LEASE_S
from store.transitions import Status
from tests.history import History, assert_same_run
from tests.lossy import lossy_way
from tests.processes import wait_until
from tests.site import ENDLESS, QUICK, STEADY, Site

CLAIM = hashlib.sha1(scripts.source("claim").encode()).hexdigest().encode()

OUTAGE_S = LEASE_S + 1.0
"""Longer than a lease."""


def test_redis_killed_and_restarted_costs_nothing(own_site: Site, reference: tuple[History, Path]) -> None:
    worker = own_site.processes.worker(HOLD_WHILE=own_site.hold()).ready()
    job_id = own_site.submit(STEADY)
    own_site.wait_for_step(job_id)
    own_site.server.kill()
    own_site.release()  # it trains on meanwhile
    time.sleep(1.0)
    own_site.server.start()
    job = own_site.wait(job_id)
    assert (job.status, job.attempt) == (Status.SUCCEEDED, 1)
    (history,) = own_site.check()
    assert_same_run(history, own_site.data_dir, *reference)
    assert len(worker.trainer_pids()) == 1


def test_a_redis_that_hangs_gets_nothing_twice(own_site: Site) -> None:
    """What times out may have arrived all the same, and is sent again: it counts once."""
    own_site.processes.worker().ready()
    job_id = own_site.submit(ENDLESS)
    assert own_site.server.process is not None
    for _ in range(3):
        own_site.wait_for_step(job_id, own_site.store.get(job_id).last_metric_step + 1)
        own_site.server.process.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        own_site.server.process.send_signal(signal.SIGCONT)
    own_site.wait_for_step(job_id, own_site.store.get(job_id).last_metric_step + 1)
    own_site.store.request(job_id, "cancel")
    job = own_site.wait(job_id)
    assert (job.status, job.attempt) == (Status.CANCELLED, 1)
    (history,) = own_site.check()
    steps = [point["step"] for point in history.metrics]
    assert len(steps) > 3
    assert steps == [719 * (epoch + 1) for epoch in range(len(steps))]


def test_a_claim_whose_answer_is_lost_is_trained_all_the_same(site: Site) -> None:
    assert site.store.claim("nobody") is None  # the script is known: what is lost is its answer
    with lossy_way(site.server.url, CLAIM, losses=2) as way:
        site.processes.worker("--redis-url", way.url).ready()
        job = site.wait(site.submit(QUICK))
        assert way.left == 0
    assert (job.status, job.attempt, job.fence, job.crashes) == (Status.SUCCEEDED, 1, 1, 0)
    site.check()


def test_an_outage_longer_than_the_lease_consumes_no_attempt(own_site: Site, reference: tuple[History, Path]) -> None:
    held = own_site.hold()
    worker = own_site.processes.worker(HOLD_WHILE=held).ready()
    other = own_site.processes.worker(HOLD_WHILE=held).ready()
    job_id = own_site.submit(STEADY)
    own_site.wait_for_step(job_id)
    own_site.server.kill()
    own_site.release()
    time.sleep(OUTAGE_S)
    own_site.server.start()
    job = own_site.wait(job_id)
    assert (job.status, job.attempt, job.fence) == (Status.SUCCEEDED, 1, 1)
    (history,) = own_site.check()
    assert_same_run(history, own_site.data_dir, *reference)
    assert [len(w.trainer_pids()) for w in (worker, other)] == [1, 1]
    second = own_site.submit(QUICK)
    assert own_site.wait(second).status is Status.SUCCEEDED


def test_cancel_works_at_once_after_an_outage(own_site: Site) -> None:
    own_site.processes.worker().ready()
    took: list[float] = []
    while not took or (took[-1] >= 3.0 and len(took) < 3):  # another outage where a busy machine delayed the first
        job_id = own_site.submit(ENDLESS)
        own_site.wait_for_step(job_id)
        own_site.server.kill()
        time.sleep(1.0)
        own_site.server.start()
        own_site.store.request(job_id, "cancel")
        asked_at = time.monotonic()
        own_site.wait(job_id, Status.CANCELLED)
        took.append(time.monotonic() - asked_at)
    assert min(took) < 3.0, took
    own_site.check()


def test_a_worker_waits_for_a_redis_that_is_not_there_yet(own_site: Site) -> None:
    own_site.server.kill()
    worker = own_site.processes.worker()
    worker.wait_for("event=redis_unavailable")
    own_site.server.start()
    assert own_site.wait(own_site.submit(QUICK)).status is Status.SUCCEEDED
    assert worker.terminate() == 0


def test_sigterm_without_redis_ends_within_seconds_and_the_job_goes_on_elsewhere(
    own_site: Site, reference: tuple[History, Path]
) -> None:
    first = own_site.processes.worker(HOLD_WHILE=own_site.hold()).ready()
    job_id = own_site.submit(STEADY)
    own_site.wait_for_step(job_id)
    own_site.server.kill()
    asked_at = time.monotonic()
    first.terminate()
    assert time.monotonic() - asked_at < 15
    assert not own_site.processes.trainers()
    own_site.release()
    own_site.server.start()
    own_site.processes.worker()
    wait_until(lambda: own_site.store.get(job_id).fence == 2, 30, "the lease runs out and the job is taken again")
    assert own_site.wait(job_id).status is Status.SUCCEEDED
    (history,) = own_site.check()
    assert_same_run(history, own_site.data_dir, *reference)
