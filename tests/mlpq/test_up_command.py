"""`mlpq up` as a person starts it: what it uses, what it refuses, what it warns of."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from mlpq import Client
from mlpq.embedded import EmbeddedServer
from mlpq.up.plan import count_gpus
from tests.mlpq.up_parts import Up, refused
from tests.processes import wait_until


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


def test_what_jobs_wait_for_on_a_machine_without_compiled_kernels_is_said(
    up: Callable[..., Up], tmp_path: Path
) -> None:
    running = up(MLPQ_COMPILED_DIR=str(tmp_path / "empty"))
    wait_until(lambda: "compiling the CPU kernels, once on this machine" in running.errors.read_text())
    with Client(running.url) as client:
        assert [worker["kernels"] for worker in client.workers()["data"]] == ["compiling"]
    running.process.terminate()
    assert running.ends() == 0
    assert "are compiled" not in running.errors.read_text()


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
