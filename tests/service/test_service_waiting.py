"""`wait_s`: the answer comes when a job or a sweep has ended, or when time is over; nobody waits in vain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import httpx2
import pytest
from fastapi import Request
from redis import Redis

from kernels.errors import NotFound
from mlpq.embedded import EmbeddedServer
from service.ends import REST_S, Ends
from service.metrics import Metrics
from store import keys
from store.connection import connect_async
from store.jobs import JobStore
from store.transitions import Status
from tests.processes import Processes, Service, http_client, wait_until
from tests.service.api_parts import assert_problem, claimed, finished, submitted
from tests.store.store_parts import new_job


def waiting(api: httpx2.Client) -> int:
    """How many requests wait."""
    [line] = [one for one in api.get("/metrics").text.splitlines() if one.startswith("mlpq_waiting ")]
    return int(float(line.split()[1]))


@contextmanager
def asked(service: Service, path: str, times: int = 1) -> Iterator[list[Future[httpx2.Response]]]:
    """So many requests that have begun to wait."""

    def ask() -> httpx2.Response:
        with http_client(service.url, timeout_s=40) as client:
            return client.get(path)

    with http_client(service.url) as api, ThreadPoolExecutor(times) as pool:
        before = waiting(api)
        futures = [pool.submit(ask) for _ in range(times)]
        wait_until(lambda: waiting(api) == before + times, what="they wait")
        yield futures


def told(futures: list[Future[httpx2.Response]]) -> list[str]:
    """The statuses of the resource in the answers."""
    return [future.result(30).json()["status"] for future in futures]


def test_the_end_of_a_job_is_told_to_all_who_wait(api: httpx2.Client, jobs: JobStore, service: Service) -> None:
    job_id = submitted(api)["id"]
    with asked(service, f"/v1/jobs/{job_id}?wait_s=30", times=5) as futures:
        claim = claimed(jobs)
        time.sleep(0.2)
        assert not any(future.done() for future in futures)
        jobs.finish(claim, Status.SUCCEEDED)
        assert told(futures) == ["succeeded"] * 5
    assert waiting(api) == 0


def test_a_sweep_ends_with_the_last_of_its_jobs(api: httpx2.Client, jobs: JobStore, service: Service) -> None:
    sweep = api.post("/v1/sweeps", json={"dataset": "iris", "grid": {"training.seed": [1, 2, 3]}}).json()
    with asked(service, f"/v1/sweeps/{sweep['id']}?wait_s=30&curves=0", times=2) as futures:
        finished(jobs)
        finished(jobs)
        time.sleep(0.1)
        assert not any(future.done() for future in futures)
        finished(jobs)
        assert told(futures) == ["succeeded"] * 2
        assert [one["status"] for one in futures[0].result().json()["jobs"]] == ["succeeded"] * 3


def test_what_has_ended_is_answered_at_once_and_what_has_not_when_time_is_over(
    api: httpx2.Client, jobs: JobStore
) -> None:
    submitted(api)
    since = time.monotonic()
    ended = api.get(f"/v1/jobs/{finished(jobs)}?wait_s=60")
    assert ended.json()["status"] == "succeeded"
    assert time.monotonic() - since < 20
    sweep = api.post("/v1/sweeps", json={"dataset": "iris", "grid": {"training.seed": [1, 2]}}).json()
    for path in (f"/v1/jobs/{submitted(api)['id']}", f"/v1/sweeps/{sweep['id']}"):
        since = time.monotonic()
        assert api.get(f"{path}?wait_s=0.1").json()["status"] == "queued"
        assert 0.1 <= time.monotonic() - since < 20
        assert api.head(f"{path}?wait_s=0.1").status_code == 200
    assert_problem(api.get("/v1/jobs/job_none?wait_s=60"), 404)
    assert_problem(api.get("/v1/sweeps/swp_none?wait_s=60"), 404)


@pytest.mark.parametrize("value", ["-1", "60.1", "nan", "inf", "soon", ""])
def test_a_time_that_nobody_waits_is_refused(api: httpx2.Client, value: str) -> None:
    for path in ("/v1/jobs/job_1", "/v1/sweeps/swp_1"):
        body = assert_problem(api.get(f"{path}?wait_s={value}"), 422)
        assert body["errors"][0]["pointer"] == "/query/wait_s"


def test_an_end_that_was_told_to_nobody_is_found_by_a_look(api: httpx2.Client, redis: Redis, service: Service) -> None:
    job_id = submitted(api)["id"]
    with asked(service, f"/v1/jobs/{job_id}?wait_s=30") as futures:
        redis.hset(keys.job(job_id), "status", "cancelled")
        assert told(futures) == ["cancelled"]


def test_a_job_that_goes_while_somebody_waits_is_not_there(api: httpx2.Client, redis: Redis, service: Service) -> None:
    job_id = submitted(api)["id"]
    with asked(service, f"/v1/jobs/{job_id}?wait_s=30") as futures:
        redis.delete(keys.job(job_id))
        assert_problem(futures[0].result(30), 404)


def test_who_waits_is_no_slow_request(api: httpx2.Client) -> None:
    def observed() -> float:
        name = 'mlpq_request_seconds_count{method="GET",route="/v1/jobs/{job_id}"}'
        lines = [one for one in api.get("/metrics").text.splitlines() if one.startswith(name)]
        return float(lines[0].split()[1]) if lines else 0.0

    path = f"/v1/jobs/{submitted(api)['id']}"
    before = observed()
    api.get(f"{path}?wait_s=0.05")
    assert observed() == before
    api.get(path)
    assert observed() == before + 1


def test_a_client_that_goes_is_not_waited_for(api: httpx2.Client, service: Service) -> None:
    path = f"/v1/jobs/{submitted(api)['id']}?wait_s=60"
    with pytest.raises(httpx2.ReadTimeout), http_client(service.url, timeout_s=0.3) as client:
        client.get(path)
    wait_until(lambda: waiting(api) == 0, timeout_s=10, what="nobody waits")


def test_more_than_may_wait_are_answered_at_once_and_all_are_when_the_service_stops(processes: Processes) -> None:
    service = processes.service(MLPQ_MAX_STREAMS="2").ready()
    with http_client(service.url) as api:
        path = f"/v1/jobs/{submitted(api)['id']}?wait_s=60"
        with asked(service, path, times=2) as futures:
            since = time.monotonic()
            assert api.get(path).json()["status"] == "queued"
            assert time.monotonic() - since < 20
            assert service.terminate() == 0
            assert told(futures) == ["queued"] * 2


def requested() -> Request:
    """The request of a client that stays."""

    async def receive() -> dict:
        return await asyncio.Future()

    return Request({"type": "http", "state": {}}, receive)


async def becomes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def test_ends_are_listened_to_while_somebody_waits_and_again_after_a_rest(
    valkey: EmbeddedServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = JobStore(redis)
    first, second = (store.create(new_job())[0].id for _ in range(2))

    def listening() -> bool:
        return any(one["name"] == "ends-at-rest" and one["sub"] == "1" for one in redis.client_list())

    async def scenario() -> None:
        ends = Ends(connect_async(valkey.url, client_name="ends-at-rest"), Metrics(), most=9)
        ends.start()
        await asyncio.sleep(0.05)
        assert not listening()
        monkeypatch.setattr("service.ends.LOOK_S", 0.05)
        waiting = asyncio.create_task(ends.until(requested(), first, lambda: store.get(first).terminal, 60))
        await becomes(listening)
        store.request(first, "cancel")
        await asyncio.wait_for(waiting, 30)
        await becomes(lambda: not listening())
        monkeypatch.setattr("service.ends.LOOK_S", 60.0)  # from here on only a message can tell
        waiting = asyncio.create_task(ends.until(requested(), second, lambda: store.get(second).terminal, 60))
        await becomes(listening)
        store.request(second, "cancel")
        await asyncio.wait_for(waiting, 30)
        await ends.stop()

    asyncio.run(scenario())


def test_many_ends_within_moments_are_few_looks(valkey: EmbeddedServer, redis: Redis) -> None:
    looks: list[float] = []

    def look() -> bool:
        looks.append(time.monotonic())
        return False

    async def scenario() -> None:
        ends = Ends(connect_async(valkey.url), Metrics(), most=9)
        ends.start()
        waiting = asyncio.create_task(ends.until(requested(), "swp_1", look, 0.4))
        await becomes(lambda: redis.pubsub_numsub(keys.ENDED)[0][1] > 0)
        for number in range(200):
            redis.publish(keys.ENDED, f"job_{number} swp_1")
            await asyncio.sleep(0.001)
        await waiting
        await ends.stop()

    asyncio.run(scenario())
    assert len(looks) >= 3, "the news are heard"
    assert all(after - before >= 0.9 * REST_S for before, after in pairwise(looks))


def test_what_the_look_raises_ends_the_waiting(valkey: EmbeddedServer) -> None:
    def gone() -> bool:
        raise NotFound

    async def scenario() -> None:
        ends = Ends(connect_async(valkey.url), Metrics(), most=1)
        for _ in range(2):  # who was refused does not count as waiting
            with pytest.raises(NotFound):
                await ends.until(requested(), "job_1", gone, 60)
        await ends.stop()

    asyncio.run(scenario())
