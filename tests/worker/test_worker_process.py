"""The life of a worker and its training process beside the jobs: recycled, replaced, refused, listed, stopped."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from redis import Redis

from store.transitions import Status
from store.workers import Workers
from tests.processes import is_alive, resident_bytes, wait_until
from tests.site import ENDLESS, QUICK, Site


def test_the_training_process_is_recycled_after_n_runs(site: Site) -> None:
    worker = site.processes.worker("--recycle-after", "2").ready()
    for _ in range(5):
        assert site.wait(site.submit(QUICK, "iris")).status is Status.SUCCEEDED
    wait_until(lambda: len(worker.trainer_pids()) == 3, what="two were replaced")
    assert [is_alive(pid) for pid in worker.trainer_pids()] == [False, False, True]
    assert "trainer_died" not in worker.log
    site.check()


def test_a_trainer_that_dies_while_idle_is_replaced_before_the_next_job(site: Site) -> None:
    worker = site.processes.worker().ready()
    os.kill(worker.trainer_pid(), signal.SIGKILL)
    wait_until(lambda: worker.log.count("event=trainer_ready") == 2, 60, "a fresh one is warm")
    job = site.wait(site.submit(QUICK, "iris"))
    assert (job.status, job.attempt) == (Status.SUCCEEDED, 1)


def test_a_trainer_told_to_stop_by_itself_gives_its_job_back(site: Site) -> None:
    worker = site.processes.worker().ready()
    job_id = site.submit(ENDLESS)
    site.wait_for_step(job_id)
    os.kill(worker.trainer_pid(), signal.SIGTERM)
    wait_until(lambda: site.store.get(job_id).fence == 2, 60, "taken again by the next trainer")
    assert site.store.get(job_id).attempt == 1
    site.store.request(job_id, "cancel")
    site.wait(job_id, Status.CANCELLED)
    site.check()


def test_a_device_that_is_not_there_is_refused_with_a_status(site: Site) -> None:
    worker = site.processes.worker(device="cuda:93")
    assert worker.popen.wait(60) == 3
    assert "event=unusable" in worker.log
    assert "cuda:93" in worker.log


def test_the_training_process_gives_way_to_the_others(site: Site) -> None:
    worker = site.processes.worker("--nice", "7").ready()
    assert site.wait(site.submit(QUICK, "iris")).status is Status.SUCCEEDED, "it is warm"
    trainer, ours = worker.trainer_pid(), os.getpriority(os.PRIO_PROCESS, 0)

    def priorities() -> set[int]:
        return {os.getpriority(os.PRIO_PROCESS, int(path.name)) for path in Path(f"/proc/{trainer}/task").iterdir()}

    wait_until(lambda: priorities() == {min(ours + 7, 19)}, what="all of its threads give way")
    assert os.getpriority(os.PRIO_PROCESS, worker.popen.pid) == ours
    group, own = Path(f"/proc/{trainer}/autogroup"), Path("/proc/self/autogroup")
    if group.exists():
        wait_until(lambda: group.read_text().endswith("nice 7\n"), what="its session does")
        assert own.read_text() != group.read_text()


def test_a_second_sigterm_ends_everything_at_once(site: Site) -> None:
    worker = site.processes.worker().ready()
    trainer = worker.trainer_pid()
    os.kill(trainer, signal.SIGSTOP)  # it will not give anything back
    worker.signal(signal.SIGTERM)
    worker.wait_for("event=stopping")
    time.sleep(1.1)
    worker.signal(signal.SIGTERM)
    assert worker.popen.wait(10) == 128 + signal.SIGTERM
    wait_until(lambda: not is_alive(trainer), what="the trainer is gone too")


def test_workers_are_listed_while_they_live(site: Site, redis: Redis) -> None:
    registry = Workers(redis)
    worker = site.processes.worker(name="left").ready()
    other = site.processes.worker(name="right").ready()

    def names() -> list[str]:
        return sorted(info.id.rpartition("-")[0] for info in registry.list() if info.backend == "numpy")

    wait_until(lambda: names() == ["left", "right"], what="both are listed")
    assert {info.pid for info in registry.list()} == {worker.pid, other.pid}
    assert all(info.memory_free_bytes for info in registry.list())
    assert worker.terminate() == 0
    assert "left" not in names(), "it takes its entry along"
    wait_until(lambda: names() == ["right"], what="the other is still listed")


def test_a_worker_is_small_without_its_training_process(site: Site) -> None:
    worker = site.processes.worker().ready()
    assert resident_bytes(worker.pid) < 100 * 2**20


def test_a_worker_leaves_a_job_that_names_a_gpu_and_takes_the_next(site: Site) -> None:
    pinned = site.submit(QUICK | {"training": QUICK["training"] | {"device": "cuda:0"}}, "iris")
    worker = site.processes.worker().ready()
    assert site.wait(site.submit(QUICK, "iris")).status is Status.SUCCEEDED
    time.sleep(2.5)  # a reap, and an idle worker's look at the queue
    job = site.store.get(pinned)
    assert (job.status, job.attempt, job.fence, job.error) == (Status.QUEUED, 1, 0, None)
    assert pinned not in worker.log
    site.store.request(pinned, "cancel")
    site.check()


@pytest.mark.gpu
def test_jobs_that_name_a_worker_s_gpu_are_taken_one_after_the_other(site: Site) -> None:
    site.processes.worker(device="cuda:0").ready()
    time.sleep(1.5)
    spec = QUICK | {"training": QUICK["training"] | {"device": "cuda:0"}}
    site.wait(site.submit(spec, "iris"))
    began = time.monotonic()
    for job_id in [site.submit(spec, "iris") for _ in range(10)]:
        job = site.wait(job_id)
        assert (job.status, job.device) == (Status.SUCCEEDED, "cuda:0")
    assert time.monotonic() - began < 8
    site.check()
