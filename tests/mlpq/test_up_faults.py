"""What stops and what is killed in a deployment: real signals, and jobs that go on."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable

import pytest

from mlpq import Client, MetricEvent
from mlpq.up.lock import running_deployment
from tests.mlpq.up_parts import Up
from tests.processes import is_alive, wait_until


def test_ctrl_c_stops_it_within_seconds_with_open_streams(up: Callable[..., Up]) -> None:
    running = up()
    children = running.children()
    assert set(children) == {"valkey", "service", "worker", "worker.child"}
    with Client(running.url) as client:
        job = client.train("digits", epochs=100_000)
        watching = job.watch(patience_s=0.5)
        next(event for event in watching if isinstance(event, MetricEvent))
        open_streams = [urllib.request.urlopen(f"{running.url}/v1/jobs/{job.id}/events", timeout=30) for _ in range(5)]
        started = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        assert running.ends() == 0, running.errors.read_text()
        assert time.monotonic() - started < 15
        for stream in open_streams:
            stream.close()
        watching.close()  # type: ignore[attr-defined]
    assert running.children() == {}
    said = running.errors.read_text()
    assert said.index("stopping worker-0") < said.index("stopping api") < said.index("stopping valkey")
    assert "killing" not in said


def test_a_job_goes_on_after_a_restart_and_no_attempt_is_counted(up: Callable[..., Up]) -> None:
    running = up()
    with Client(running.url) as client:
        job = client.train("digits", hidden=[128, 128], batch_size=1, epochs=2000)
        first = next(event for event in job.watch() if isinstance(event, MetricEvent))
    running.process.terminate()
    assert running.ends() == 0
    again = Up(running.data_dir, "--port", "0", "--device", "cpu")
    try:
        with Client(again.url) as client:
            job = client.job(job.id)
            later = (event for event in job.watch(after=first.id) if isinstance(event, MetricEvent))
            assert next(later).epoch == first.epoch + 1
            assert job.refresh().record.attempt == 1
            job.cancel()
    finally:
        again.process.terminate()
        assert again.ends() == 0


@pytest.mark.parametrize("victim", ["worker", "worker.child", "valkey"])
def test_what_is_killed_comes_back_and_the_job_and_its_stream_go_on(up: Callable[..., Up], victim: str) -> None:
    running = up()
    with Client(running.url, patience_s=30) as client:
        job = client.train("digits", hidden=[64], batch_size=2, epochs=200)
        epochs, ids = [], []
        killed = None
        for event in job.watch():
            ids.append(event.id)
            if isinstance(event, MetricEvent):
                epochs.append(event.epoch)
                if killed is None and event.epoch >= 3:
                    killed = running.children()[victim]
                    os.kill(killed, signal.SIGKILL)
        assert job.status == "succeeded", job.error
    assert ids == list(range(1, len(ids) + 1))
    assert epochs == list(range(1, 201))
    assert killed is not None
    wait_until(lambda: running.children().get(victim, killed) != killed, 60, f"a new {victim}")
    running.process.terminate()
    assert running.ends() == 0


def test_nothing_survives_a_killed_supervisor_and_the_directory_is_free_again(up: Callable[..., Up]) -> None:
    running = up()
    with Client(running.url) as client:
        job = client.train("digits", epochs=100_000)
        next(event for event in job.watch() if isinstance(event, MetricEvent))
    orphans = running.children().values()
    running.process.kill()
    wait_until(lambda: not is_alive(running.process.pid), 10, "the supervisor's end")  # a zombie: nobody awaited it
    assert running_deployment(running.data_dir) is None
    again = Up(running.data_dir, "--port", "0", "--device", "cpu")
    try:
        assert not [pid for pid in orphans if is_alive(pid)]
        with Client(again.url) as client:
            wait_until(lambda: client.job(job.id).status == "running", 60, "the job goes on")
    finally:
        again.process.terminate()
        assert again.ends() == 0
    running.ends()


def test_a_second_ctrl_c_hurries(up: Callable[..., Up]) -> None:
    running = up()
    os.kill(running.children()["worker"], signal.SIGSTOP)
    running.process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert running.process.poll() is None
    started = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    assert running.ends() == 1
    assert time.monotonic() - started < 15
    assert running.children() == {}


def test_a_program_that_watches_notices_nothing_of_an_api_restart(up: Callable[..., Up]) -> None:
    running = up()
    with Client(running.url, patience_s=30) as client:
        job = client.train("digits", hidden=[64], batch_size=2, epochs=200)
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.extend(event.id for event in job.watch()))
        thread.start()
        for _ in range(2):
            wait_until(lambda: "service" in running.children(), 60, "an API")
            os.kill(running.children()["service"], signal.SIGKILL)
            time.sleep(0.7)
        thread.join(60)
        assert not thread.is_alive()
        assert found == list(range(1, len(found) + 1))
        assert job.refresh().status == "succeeded"
    running.process.terminate()
    assert running.ends() == 0
