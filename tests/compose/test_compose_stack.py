"""The stack of docker-compose.yml, running: it trains, it is confined, and nothing is lost when its parts die."""

from __future__ import annotations

import hashlib
import io
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.compose.stack import SERVICES, Stack, until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

QUICK = {"epochs": 5, "seed": 1}
LONG_S = 4.0
"""Seconds that a job trains which is to be disturbed."""


@dataclass(frozen=True)
class Reference:
    """A job that nobody disturbed: what any job of the same spec must become."""

    training: dict[str, Any]
    steps: list[int]
    arrays: dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def undisturbed(stack: Stack) -> Reference:
    """Some seconds of training with many checkpoints, however fast this machine is, and whatever else it does."""
    training: dict[str, Any] = {"epochs": 300, "batch_size": 16, "checkpoint_every_s": 0.5, "seed": 2}
    probe = stack.submit(dataset="digits", training=training)
    assert stack.finished(probe)["status"] == "succeeded"
    points = [event["data"] for event in stack.events(probe) if event["type"] == "metric"]
    epochs_per_s = max(point["samples_per_s"] for point in points) / (points[0]["step"] * training["batch_size"])
    training["epochs"] = max(50, round(LONG_S * epochs_per_s))
    job_id = stack.submit(dataset="digits", training=training)
    assert stack.finished(job_id)["status"] == "succeeded"
    return Reference(training, _steps(stack.events(job_id)), _arrays(stack, job_id))


def _arrays(stack: Stack, job_id: str) -> dict[str, np.ndarray[Any, Any]]:
    """The numbers of a job's weights."""
    with np.load(io.BytesIO(stack.request(f"/v1/jobs/{job_id}/weights?format=npz")), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files if arrays[name].dtype.kind == "f"}


def _weights(stack: Stack, job_id: str) -> str:
    """The sha256 of a job's weights, as downloaded."""
    return hashlib.sha256(stack.request(f"/v1/jobs/{job_id}/weights?format=npz")).hexdigest()


def _numbers(events: list[dict[str, Any]]) -> list[int]:
    return [event["id"] for event in events]


def _steps(events: list[dict[str, Any]]) -> list[int]:
    return [event["data"]["step"] for event in events if event["type"] == "metric"]


def _assert_same(stack: Stack, job_id: str, undisturbed: Reference) -> None:
    """The job ended as if nobody had disturbed it: same points of the curve, same bits of the weights."""
    events = stack.events(job_id)
    assert _numbers(events) == list(range(1, len(events) + 1))
    assert _steps(events) == undisturbed.steps
    assert [event["type"] for event in events].count("end") == 1
    assert events[-1]["type"] == "end"
    arrays = _arrays(stack, job_id)
    assert arrays.keys() == undisturbed.arrays.keys()
    assert [name for name in arrays if not np.array_equal(arrays[name], undisturbed.arrays[name])] == []


# ---- what the containers may do ---------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_rights(stack: Stack, service: str) -> None:
    status = dict(line.split(":\t", 1) for line in stack.run_in(service, "cat", "/proc/1/status").splitlines())
    assert status["Uid"].split() == ["10001"] * 4
    assert status["Gid"].split() == ["10001"] * 4
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert int(status["Seccomp"]) == 2


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_can_write_only_its_volume_and_tmp(stack: Stack, service: str) -> None:
    volume = "/var/lib/valkey" if service == "redis" else "/var/lib/mlpq"
    script = f"""
for folder in / /app /opt/venv /opt/venv/bin /etc /home /var/lib /usr/bin /root; do
  touch "$folder/probe" 2>/dev/null && echo "wrote into $folder"
done
for folder in /tmp {volume}; do
  touch "$folder/probe" && rm "$folder/probe" || echo "could not write into $folder"
done
exit 0"""
    assert stack.run_in(service, "sh", "-c", script) == ""
    roots = [line.split() for line in stack.run_in(service, "cat", "/proc/mounts").splitlines()]
    assert "ro" in next(fields[3] for fields in roots if fields[1] == "/").split(",")


@pytest.mark.parametrize("service", ["redis", "worker"])
def test_store_and_workers_have_no_way_out(stack: Stack, service: str) -> None:
    routes = [line.split() for line in stack.run_in(service, "cat", "/proc/net/route").splitlines()[1:]]
    assert routes
    assert not [fields for fields in routes if fields[1] == "00000000"]


def test_the_image_brings_no_installer(stack: Stack) -> None:
    found = stack.run_in("api", "sh", "-c", "ls /opt/venv/bin | grep -E '^(pip|easy_install)' || echo none").split()
    assert found == ["none"]


def test_only_the_api_is_bound_on_the_host_and_only_to_loopback(stack: Stack) -> None:
    ports = {service: stack.inspect(service)["HostConfig"]["PortBindings"] for service in SERVICES}
    published = {service: {port: at for port, at in bound.items() if at} for service, bound in ports.items()}
    loopback = {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}]}
    assert published == {"redis": {}, "api": loopback, "worker": {}}


def test_memory_is_limited(stack: Stack) -> None:
    limits = {service: stack.inspect(service)["HostConfig"]["Memory"] for service in SERVICES}
    assert all(limit > 0 for limit in limits.values()), limits


def test_every_container_finds_itself_healthy(stack: Stack) -> None:
    for service in SERVICES:
        until(f"{service} is healthy", lambda service=service: stack.healthy(service), 30, pause_s=1.0)


# ---- what a person sees ------------------------------------------------------------------------------------------


def test_a_job_trains_through_the_published_port(stack: Stack) -> None:
    job_id = stack.submit(dataset="digits", training=QUICK)
    job = stack.finished(job_id)
    assert job["status"] == "succeeded", job
    assert job["device"] == "cpu"
    events = stack.events(job_id)
    assert _numbers(events) == list(range(1, len(events) + 1))
    assert len(_steps(events)) == QUICK["epochs"]
    arrays = _arrays(stack, job_id)
    assert arrays["W1"].shape[0] == 64
    assert all(np.isfinite(arrays[name]).all() for name in ("W1", "b1"))


def test_training_compiles_nothing_that_the_image_brings(stack: Stack) -> None:
    assert stack.finished(stack.submit(dataset="digits", training=QUICK))["status"] == "succeeded"
    listing = ("sh", "-c", "cd /var/lib/mlpq/compiled && find . -type f -exec stat -c '%n %Y' {} + | sort")
    brought = stack.podman("run", "--rm", "--network", "none", stack.image, *listing).splitlines()
    assert brought
    assert stack.run_in("worker", *listing).splitlines() == brought


def test_a_job_survives_the_death_of_its_worker_container(stack: Stack, undisturbed: Reference) -> None:
    job_id = stack.submit(dataset="digits", training=undisturbed.training)
    stack.past_a_checkpoint(job_id)
    stack.kill("worker")
    job = stack.finished(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 2), job
    _assert_same(stack, job_id, undisturbed)


def test_a_stopped_worker_gives_its_job_back_and_no_attempt_is_counted(stack: Stack, undisturbed: Reference) -> None:
    job_id = stack.submit(dataset="digits", training=undisturbed.training)
    stack.past_a_checkpoint(job_id)
    stack.compose("stop", "-t", "60", "worker")
    assert stack.inspect("worker")["State"]["ExitCode"] == 0
    job = stack.job(job_id)
    assert (job["status"], job["attempt"]) == ("queued", 1), job
    stack.compose("start", "worker")
    job = stack.finished(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 1), job
    _assert_same(stack, job_id, undisturbed)


def test_two_hosts_share_the_queue_and_one_goes_on_with_what_the_other_leaves(
    stack: Stack, undisturbed: Reference
) -> None:
    (first,) = stack.hosts()
    with stack.another_host("second") as take_away:
        until("there are two hosts", lambda: set(stack.hosts()) == {first, "second"}, 30)
        long = undisturbed.training | {"epochs": 10 * undisturbed.training["epochs"]}
        nets = [{"hidden": [16]}, {"hidden": [24]}]  # no stack of one worker takes both
        jobs = [stack.submit(dataset="digits", net=net, training=long) for net in nets]
        until("each trains one", lambda: sorted(stack.hosts().values()) == sorted([[one] for one in jobs]), 30)
        for one in jobs:
            stack.request(f"/v1/jobs/{one}/cancel", {})
            stack.finished(one)
        stack.compose("stop", "-t", "60", "worker")
        left = stack.submit(dataset="digits", training=undisturbed.training)
        stack.past_a_checkpoint(left)
        take_away()
        stack.compose("start", "worker")
        job = stack.finished(left)
    assert (job["status"], job["attempt"]) == ("succeeded", 2), job
    _assert_same(stack, left, undisturbed)


# ---- what survives -----------------------------------------------------------------------------------------------


def _state(stack: Stack, jobs: list[str]) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]], str]]:
    """Everything that must not change: records, events and the bytes of the weights."""
    return {job_id: (stack.get(f"/v1/jobs/{job_id}"), stack.events(job_id), _weights(stack, job_id)) for job_id in jobs}


def _trained(stack: Stack) -> list[str]:
    jobs = [stack.submit(dataset="iris", training=QUICK, tags=["kept"]) for _ in range(3)]
    for job_id in jobs:
        assert stack.finished(job_id)["status"] == "succeeded"
    return jobs


def test_a_restarted_store_keeps_everything_and_training_goes_on(stack: Stack, undisturbed: Reference) -> None:
    jobs = _trained(stack)
    before = _state(stack, jobs)
    running = stack.submit(dataset="digits", training=undisturbed.training)
    stack.past_a_checkpoint(running)
    stack.compose("restart", "-t", "30", "redis")
    until("the API is ready again", stack.ready, 30)
    assert _state(stack, jobs) == before
    job = stack.finished(running)
    assert (job["status"], job["attempt"]) == ("succeeded", 1), job
    _assert_same(stack, running, undisturbed)


def test_a_killed_store_keeps_everything(stack: Stack) -> None:
    jobs = _trained(stack)
    before = _state(stack, jobs)
    stack.kill("redis")
    until("the API is ready again", stack.ready, 30)
    assert _state(stack, jobs) == before
    assert stack.finished(stack.submit(dataset="iris", training=QUICK))["status"] == "succeeded"


def test_health_follows_the_store(stack: Stack) -> None:
    stack.compose("stop", "-t", "30", "redis")
    assert stack.inspect("redis")["State"]["ExitCode"] == 0
    asked = time.monotonic()
    assert not stack.ready()
    assert time.monotonic() - asked < 5, "the look-up of a name that is gone must not hold an answer up"
    assert not stack.healthy("api")
    assert not stack.healthy("worker")
    stack.compose("start", "redis")
    until("the API is ready again", stack.ready, 30)
    until("the API is healthy again", lambda: stack.healthy("api"), 10)
    until("the worker is healthy again", lambda: stack.healthy("worker"), 30)


def test_new_containers_on_the_same_volumes_keep_everything(stack: Stack) -> None:
    jobs = _trained(stack)
    before = _state(stack, jobs)
    stack.compose("stop", "-t", "60")
    assert {service: stack.inspect(service)["State"]["ExitCode"] for service in SERVICES} == dict.fromkeys(SERVICES, 0)
    stack.compose("down")
    assert stack.left("container") == []
    stack.up()
    assert _state(stack, jobs) == before
    assert stack.finished(stack.submit(dataset="iris", training=QUICK))["status"] == "succeeded"
