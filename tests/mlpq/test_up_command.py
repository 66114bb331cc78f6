"""`mlpq up` as a person starts it: real processes, real signals."""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from mlpq import Client, MetricEvent
from mlpq.embedded import EmbeddedServer, die_with_parent
from mlpq.up.lock import running_deployment
from mlpq.up.plan import count_gpus
from tests.processes import is_alive, wait_until


class Up:
    """A running `mlpq up --json`."""

    def __init__(self, data_dir: Path, *options: str, **environment: str) -> None:
        self.data_dir = data_dir
        command = [sys.executable, "-m", "mlpq", "up", "--json", "--data-dir", str(data_dir), *options]
        self.errors = data_dir.parent / f"{data_dir.name}.stderr"
        with self.errors.open("wb") as said:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, **environment},
                preexec_fn=functools.partial(die_with_parent, os.getpid()),
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors.read_text()
        self.about: dict[str, Any] = json.loads(line)
        self.url = self.about["url"]

    def children(self) -> dict[str, int]:
        """Every process of the deployment but the supervisor, by a word of its command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.process.pid:
                try:
                    environment = (entry / "environ").read_bytes()
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if f"MLPQ_DATA_DIR={self.data_dir}".encode() in environment or str(self.data_dir).encode() in b" ".join(
                    words
                ):
                    name = next((w.decode() for w in words if w in (b"service", b"worker", b"worker.child")), "valkey")
                    if is_alive(int(entry.name)):
                        found[name] = int(entry.name)
        return found

    def ends(self, timeout_s: float = 60.0) -> int:
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(timeout_s)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Deployments that end with the test."""
    started: list[Up] = []

    def start(*options: str, **environment: str) -> Up:
        arguments = ("--port", "0", "--device", "cpu", *options)
        started.append(Up(tmp_path / f"data{len(started)}", *arguments, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        if one.process.stdout is not None:
            one.process.stdout.close()
        for pid in one.children().values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def refused(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """An `mlpq up` that must not start."""
    command = [sys.executable, "-m", "mlpq", "up", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


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


def test_a_directory_in_use_and_a_taken_port_are_refused_by_name(up: Callable[..., Up], tmp_path: Path) -> None:
    running = up()
    second = refused("--port", "0", "--data-dir", str(running.data_dir))
    assert second.returncode == 6
    assert f"is in use by `mlpq up` (pid {running.process.pid}) at {running.url}" in second.stderr
    port = running.url.rpartition(":")[2]
    third = refused("--port", port, "--data-dir", str(tmp_path / "other"))
    assert third.returncode == 6
    assert f"port {port} on 127.0.0.1 is already taken" in third.stderr
    assert "--port " in third.stderr
    running.process.terminate()
    assert running.ends() == 0


def test_beyond_loopback_a_key_is_needed_and_then_asked_for(up: Callable[..., Up], tmp_path: Path) -> None:
    without = {"MLPQ_API_KEY": ""}
    done = refused("--host", "0.0.0.0", "--data-dir", str(tmp_path / "x"), **without)
    assert done.returncode == 6
    assert "export MLPQ_API_KEY=$(python3 -c" in done.stderr
    key = "k" * 43
    running = up("--host", "0.0.0.0", MLPQ_API_KEY=key)
    with Client(running.url, api_key=key) as client:
        assert list(client.jobs()) == []
    shown = subprocess.run(
        [sys.executable, "-m", "mlpq", "jobs", "--url", running.url],
        capture_output=True,
        text=True,
        env={**os.environ, **without},
    )
    assert shown.returncode == 7
    assert "MLPQ_API_KEY" in shown.stderr
    running.process.terminate()
    assert running.ends() == 0


def test_the_environment_says_the_same_as_the_options(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        environment = {"MLPQ_PORT": str(server.getsockname()[1]), "MLPQ_DATA_DIR": str(tmp_path / "data")}
        done = refused(**environment)
    assert f"port {environment['MLPQ_PORT']} on 127.0.0.1 is already taken" in done.stderr
    assert "--workers is 9999" in refused(MLPQ_WORKERS="9999", MLPQ_DATA_DIR=str(tmp_path / "d")).stderr
    assert "--device is 'gpu'" in refused(MLPQ_DEVICE="gpu", MLPQ_DATA_DIR=str(tmp_path / "d")).stderr


def test_an_existing_server_serves_as_well(up: Callable[..., Up], valkey: Any, redis: Any) -> None:
    running = up("--workers", "2", REDIS_URL=valkey.url)
    assert running.about["redis"] == valkey.url
    assert running.about["warnings"] == []
    assert "valkey" not in running.children()
    with Client(running.url) as client:
        assert len(client.workers()["data"]) == 2
        assert client.train("iris", epochs=3).wait(timeout_s=60).status == "succeeded"
    running.process.terminate()
    assert running.ends() == 0
    assert valkey.ping()


def test_an_existing_server_that_may_forget_jobs_is_named(up: Callable[..., Up], tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "valkey")
    server.start()
    try:
        with Redis.from_url(server.url) as redis:
            redis.config_set("appendonly", "no")
        running = up("--workers", "0", "--redis-url", server.url)
        (warning,) = running.about["warnings"]
        assert "appendonly is off" in warning
        assert f"warning: the store at {server.url}: {warning}" in running.errors.read_text()
        running.process.terminate()
        assert running.ends() == 0
    finally:
        server.stop()


@pytest.mark.gpu
def test_every_gpu_gets_a_worker_of_its_own(up: Callable[..., Up]) -> None:
    running = up("--device", "auto")
    assert running.about["devices"] == [f"cuda:{index}" for index in range(count_gpus())]
    with Client(running.url) as client:
        job = client.train("iris", epochs=3).wait(timeout_s=60)
    assert (job.record.device or "").startswith("cuda:")
    running.process.terminate()
    assert running.ends() == 0


def test_a_store_that_is_away_is_named_before_anything_else(tmp_path: Path) -> None:
    done = refused("--port", "0", "--data-dir", str(tmp_path / "d"), "--redis-url", "redis://127.0.0.1:9/0")
    assert done.returncode == 6
    assert "redis://127.0.0.1:9/0" in done.stderr


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
