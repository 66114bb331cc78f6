"""A fork that is killed goes on as if nothing had happened, although its origin is a file of the past."""

from __future__ import annotations

from store.records import NewJob
from store.transitions import Status
from tests.history import assert_same_run
from tests.processes import wait_until
from tests.site import STEADY, Site


def test_a_fork_killed_mid_epoch_ends_in_the_same_bits(site: Site) -> None:
    quick = STEADY | {"training": STEADY["training"] | {"epochs": 1, "batch_size": 64}}
    first = site.processes.worker().ready()
    result = site.wait(site.submit(quick)).result
    assert result is not None
    start = {"job": "job_origin", "checkpoint": None, **result}

    def fork() -> str:
        job, _ = site.store.create(NewJob(spec=STEADY, dataset="digits", origin=start))
        site.accepted.append(job.id)
        return job.id

    assert site.wait(fork()).status is Status.SUCCEEDED
    assert first.terminate() == 0
    site.processes.worker(CRASH_AT="mid_epoch", HOLD_WHILE=site.hold())
    killed = fork()
    wait_until(lambda: site.store.get(killed).checkpoints, 60, "a checkpoint")
    site.release()
    job = site.wait(killed)
    assert (job.status, job.attempt) == (Status.SUCCEEDED, 2)
    _, whole, resumed = site.check()
    assert_same_run(resumed, site.data_dir, whole, site.data_dir)
    fresh = site.wait(site.submit(STEADY))
    assert fresh.metrics != job.metrics
