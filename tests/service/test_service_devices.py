"""Jobs that name a GPU: refused while other workers are there, else they say what they wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx2
import pytest
from redis import Redis

from store.workers import WorkerInfo, Workers
from tests.service.api_parts import SPEC, assert_problem, submitted

SEEN_AFTER_S = 1.1
"""The service looks at the list of workers once a second."""

ON_GPU = {"training": {"device": "cuda:0"}}


@pytest.fixture
def present(redis: Redis) -> Iterator[Callable[..., None]]:
    """Lets workers come, by name and device; all go at the end."""
    registry, names = Workers(redis), set()

    def come(**devices: str) -> None:
        for name, device in devices.items():
            names.add(name)
            registry.heartbeat(
                WorkerInfo(name, "here", 1, device.removesuffix("?"), "starting" if "?" in device else "x")
            )

    time.sleep(SEEN_AFTER_S)  # the service may have seen the workers of the test before
    yield come
    for name in names:
        registry.forget(name)
    time.sleep(SEEN_AFTER_S)


def test_a_gpu_that_no_worker_has_is_refused_with_what_is_on_offer(
    api: httpx2.Client, present: Callable[..., None]
) -> None:
    present(a="cpu", b="cuda:1")
    time.sleep(SEEN_AFTER_S)
    for query in ("", "?dry_run=true"):
        problem = assert_problem(api.post(f"/v1/jobs{query}", json=SPEC | ON_GPU), 422)
        assert problem["errors"] == [
            {"pointer": "/training/device", "detail": 'is "cuda:0"; the workers offer auto, cpu, cuda:1'}
        ]
    for device in ("auto", "cpu", "cuda:1"):
        assert submitted(api, training={"device": device})["status_reason"] is None


def test_a_worker_that_has_just_come_is_seen(api: httpx2.Client, present: Callable[..., None]) -> None:
    present(a="cpu")
    time.sleep(SEEN_AFTER_S)
    assert_problem(api.post("/v1/jobs", json=SPEC | ON_GPU), 422)
    present(b="cuda:0")
    assert submitted(api, **ON_GPU)["status"] == "queued"


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_precision_that_no_worker_has_is_refused_with_those_that_it_has(
    api: httpx2.Client, present: Callable[..., None], precision: str
) -> None:
    present(a="cpu")
    time.sleep(SEEN_AFTER_S)
    rounded = SPEC | {"training": {"precision": precision}}
    for query in ("", "?dry_run=true"):
        problem = assert_problem(api.post(f"/v1/jobs{query}", json=rounded), 422)
        detail = f'is "{precision}", which needs a GPU; the workers offer auto, cpu: must be float32 or float64'
        assert problem["errors"] == [{"pointer": "/training/precision", "detail": detail}]
    present(b="cuda:1")
    job = submitted(api, training={"precision": precision})
    assert (job["status"], job["status_reason"]) == ("queued", None)
    assert job["spec"]["training"]["precision"] == precision


def test_a_job_that_needs_any_gpu_says_that_nobody_has_one(api: httpx2.Client, present: Callable[..., None]) -> None:
    present()
    time.sleep(SEEN_AFTER_S)
    job = submitted(api, training={"precision": "tf32"})
    assert (job["status"], job["status_reason"]) == ("queued", "no worker offers a GPU, which the precision needs")


def test_a_precision_that_needs_a_gpu_does_not_go_with_the_cpu(api: httpx2.Client) -> None:
    refused = SPEC | {"training": {"precision": "bfloat16", "device": "cpu"}}
    problem = assert_problem(api.post("/v1/jobs", json=refused), 422)
    detail = 'is bfloat16, which needs a GPU; with the device "cpu" it must be float32 or float64'
    assert problem["errors"] == [{"pointer": "/training/precision", "detail": detail}]


def test_capabilities_say_which_precisions_need_a_gpu(api: httpx2.Client) -> None:
    shown = {row["name"]: row["needs_gpu"] for row in api.get("/v1/capabilities").json()["precisions"]}
    assert shown == {"float32": False, "float64": False, "tf32": True, "bfloat16": True}


@pytest.mark.parametrize("others", [{}, {"a": "auto?"}])
def test_without_a_worker_that_knows_its_device_the_job_waits(
    api: httpx2.Client, present: Callable[..., None], others: dict[str, str]
) -> None:
    present(**others)
    time.sleep(SEEN_AFTER_S)
    assert submitted(api, **ON_GPU)["status"] == "queued"


def test_a_queued_job_says_that_nobody_offers_its_gpu_while_that_is_so(
    api: httpx2.Client, present: Callable[..., None]
) -> None:
    job = submitted(api, **ON_GPU)
    assert job["status_reason"] == "no worker offers cuda:0"
    present(a="cpu")
    time.sleep(SEEN_AFTER_S)
    (shown,) = api.get("/v1/jobs").json()["data"]
    assert (shown["status"], shown["status_reason"]) == ("queued", "no worker offers cuda:0")
    present(b="cuda:0")
    time.sleep(SEEN_AFTER_S)
    assert api.get(f"/v1/jobs/{job['id']}").json()["status_reason"] is None
    assert api.post(f"/v1/jobs/{job['id']}/pause").json()["status_reason"] is None
