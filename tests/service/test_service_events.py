"""Event streams: everything, once, in order, to everybody; slow clients hold nobody up."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from redis import Redis

from mlpq.embedded import EmbeddedServer
from service.feed import CHUNK_BYTES, MEMOS, PING_S, RING_BYTES, STALL_S, Channel, Feed
from service.metrics import Metrics
from service.sse import EventStream
from store import keys
from store.connection import connect_async
from store.jobs import JobStore
from store.records import NewJob
from store.transitions import Status
from tests.processes import Processes, Service, http_client, wait_until
from tests.service.api_parts import assert_problem, claimed, events_of, finished, point, stream, submitted


def numbers(events: list) -> list[int]:
    return [int(event.id) for event in events]


def test_a_late_reader_gets_everything_and_the_stream_ends_after_end(api: httpx2.Client, jobs: JobStore) -> None:
    submitted(api)
    job_id = finished(jobs, points=50)
    events = stream(api, f"/v1/jobs/{job_id}/events")
    assert numbers(events) == list(range(1, len(events) + 1))
    assert [e.type for e in events] == ["status", "status", *["metric"] * 50, "status", "end"]
    assert [e.data["step"] for e in events if e.type == "metric"] == list(range(50))
    assert events[-1].data["status"] == "succeeded"


@pytest.mark.parametrize("how", ["header", "query"])
def test_every_position_resumes_without_gap_or_duplicate(api: httpx2.Client, jobs: JobStore, how: str) -> None:
    submitted(api)
    job_id = finished(jobs, points=6)
    everything = stream(api, f"/v1/jobs/{job_id}/events")
    for seen in range(len(everything)):
        headers = {"Last-Event-ID": str(seen)} if how == "header" else {}
        query = "" if how == "header" else f"?after={seen}"
        assert stream(api, f"/v1/jobs/{job_id}/events{query}", **headers) == everything[seen:]


def test_who_has_everything_of_an_ended_job_is_told_not_to_come_again(api: httpx2.Client, jobs: JobStore) -> None:
    submitted(api)
    job_id = finished(jobs)
    last = stream(api, f"/v1/jobs/{job_id}/events")[-1].id
    assert api.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": last}).status_code == 204


def test_live_events_arrive_at_all_clients_as_they_happen(api: httpx2.Client, jobs: JobStore, service: Service) -> None:
    job = submitted(api)
    claim = claimed(jobs)
    with ThreadPoolExecutor(8) as pool:
        clients = [http_client(service.url) for _ in range(8)]
        streams = [pool.submit(stream, client, f"/v1/jobs/{job['id']}/events") for client in clients]
        for step in range(40):
            jobs.write(claim, events=[point(step)])
            time.sleep(0.01)
        jobs.finish(claim, Status.SUCCEEDED)
        received = [future.result(20) for future in streams]
        for client in clients:
            client.close()
    assert [numbers(events) for events in received] == [list(range(1, 45))] * 8


def test_an_event_is_with_the_client_within_a_moment(api: httpx2.Client, jobs: JobStore) -> None:
    job = submitted(api)
    claim = claimed(jobs)
    delays = []
    with api.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
        events = events_of(answer.iter_lines())
        assert [next(events).type, next(events).type] == ["status", "status"]
        for step in range(20):
            jobs.write(claim, events=[point(step, written=time.time())])
            delays.append(time.time() - next(events).data["written"])
    assert sorted(delays)[4] < 0.05, delays  # a busy machine delays many, a poll would delay all


def test_a_lost_notification_is_made_good_by_the_poll(api: httpx2.Client, jobs: JobStore, redis: Redis) -> None:
    job = submitted(api)
    with api.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
        events = events_of(answer.iter_lines())
        assert next(events).type == "status"
        redis.xadd(keys.events(job["id"]), {"type": "log", "data": '{"message":"unannounced"}', "at": 0}, id="0-2")
        started = time.monotonic()
        assert next(events).data == {"message": "unannounced"}
        assert time.monotonic() - started < 10


def test_streams_of_a_job_that_was_deleted_before_its_end_was_read_are_ended(
    api: httpx2.Client, jobs: JobStore, redis: Redis
) -> None:
    gone, other = submitted(api)["id"], submitted(api)["id"]
    one, two = f"/v1/jobs/{gone}/events", f"/v1/events?jobs={gone},{other}"
    with api.stream("GET", one) as alone, api.stream("GET", two) as both:
        events = events_of(alone.iter_lines())
        assert next(events).type == "status"
        redis.delete(keys.job(gone), keys.events(gone))
        assert list(events) == []
        jobs.request(other, "cancel")
        assert list(events_of(both.iter_lines()))[-1].type == "end"
    assert_problem(api.get(one), 404)


def test_trimmed_history_is_announced_by_a_reset(api: httpx2.Client, jobs: JobStore, redis: Redis) -> None:
    submitted(api)
    job_id = finished(jobs, points=20)
    redis.xtrim(keys.events(job_id), minid="0-11", approximate=False)
    events = stream(api, f"/v1/jobs/{job_id}/events")
    assert events[0].type == "reset"
    assert events[0].data["after"] == 10
    assert numbers(events) == [10, *range(11, 25)]
    assert stream(api, f"/v1/jobs/{job_id}/events?after=5")[0].type == "reset"
    assert stream(api, f"/v1/jobs/{job_id}/events?after=10")[0].id == "11"


def test_a_position_ahead_of_the_job_is_reset_to_its_start(api: httpx2.Client, jobs: JobStore) -> None:
    submitted(api)
    job_id = finished(jobs, points=3)
    events = stream(api, f"/v1/jobs/{job_id}/events?after=999")
    assert events[0].type == "reset"
    assert numbers(events) == [0, *range(1, 8)]


def test_history_beyond_what_is_held_comes_from_the_stream(api: httpx2.Client, jobs: JobStore) -> None:
    submitted(api)
    claim = claimed(jobs)
    pad = "x" * 2000
    total = 3 * RING_BYTES // 2000
    for start in range(0, total, 500):
        jobs.write(claim, events=[point(step, pad=pad) for step in range(start, min(start + 500, total))])
    jobs.finish(claim, Status.SUCCEEDED)
    events = stream(api, f"/v1/jobs/{claim.job_id}/events")
    assert numbers(events) == list(range(1, total + 5))


def test_many_jobs_on_one_connection(api: httpx2.Client, jobs: JobStore) -> None:
    for _ in range(3):
        submitted(api)
    ids = [finished(jobs, points=4) for _ in range(3)]
    events = stream(api, f"/v1/events?jobs={','.join(ids)}")
    for job_id in ids:
        mine = [e.id.partition("/")[0].partition(":")[2] for e in events if e.id.startswith(job_id + ":")]
        assert mine == [str(n) for n in range(1, 9)]
    assert len(events) == 24


def test_one_last_event_id_resumes_every_job_exactly(api: httpx2.Client, jobs: JobStore) -> None:
    for _ in range(3):
        submitted(api)
    ids = [finished(jobs, points=3) for _ in range(3)]
    path = f"/v1/events?jobs={','.join(ids)}"
    everything = stream(api, path)
    for seen in range(len(everything) - 1):
        rest = stream(api, path, **{"Last-Event-ID": everything[seen].id})
        assert rest == everything[seen + 1 :]
    assert api.get(path, headers={"Last-Event-ID": everything[-1].id}).status_code == 204


def test_positions_may_be_given_for_each_job(api: httpx2.Client, jobs: JobStore) -> None:
    for _ in range(2):
        submitted(api)
    first, second = (finished(jobs, points=3) for _ in range(2))
    events = stream(api, f"/v1/events?jobs={first},{second}&after={first}:6,{second}:7")
    assert [e.type for e in events] == ["end"]


def test_wrong_multiplexed_requests_are_refused(api: httpx2.Client, jobs: JobStore) -> None:
    job_id = submitted(api)["id"]
    assert_problem(api.get("/v1/events"), 422)
    assert_problem(api.get("/v1/events?jobs=x"), 404)
    assert_problem(api.get(f"/v1/events?jobs={job_id},job_none"), 404)
    assert_problem(api.get(f"/v1/events?jobs={job_id}&after=job_x:1"), 400)
    assert_problem(api.get(f"/v1/events?jobs={job_id}", headers={"Last-Event-ID": f"{job_id}:1/1,2"}), 400)
    assert_problem(api.get("/v1/events?jobs=" + ",".join(f"job_{n}" for n in range(101))), 422)


def test_a_client_that_does_not_read_slows_nobody(api: httpx2.Client, jobs: JobStore, service: Service) -> None:
    job = submitted(api)
    claim = claimed(jobs)
    port = int(service.url.rpartition(":")[2])
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    for connection in idle:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.sendall(f"GET /v1/jobs/{job['id']}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    pad = "x" * 5000
    with api.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
        events = events_of(answer.iter_lines())
        assert next(events).type == "status"
        assert next(events).type == "status"
        for step in range(0, 400, 20):
            jobs.write(claim, events=[point(n, pad=pad) for n in range(step, step + 20)])
            started = time.monotonic()
            assert [next(events).data["step"] for _ in range(20)] == list(range(step, step + 20))
            assert time.monotonic() - started < 10
        jobs.finish(claim, Status.SUCCEEDED)
    # One of them wakes up: it gets everything that it has missed, in order.
    idle[0].settimeout(60)
    received = b""
    while b"event: end" not in received:
        received += idle[0].recv(1 << 20)
    ids = [int(line[4:]) for line in received.split(b"\n") if line.startswith(b"id: ")]
    assert ids == list(range(1, 405))
    for connection in idle:
        connection.close()


def test_more_streams_than_allowed_are_answered_503(processes: Processes) -> None:
    service = processes.service(MLPQ_MAX_STREAMS="2").ready()
    with http_client(service.url) as api:
        job = submitted(api)
        path = f"/v1/jobs/{job['id']}/events"
        with api.stream("GET", path) as one, api.stream("GET", path):
            refused = api.get(path)
            assert_problem(refused, 503, "too_many_streams")
            assert int(refused.headers["retry-after"]) >= 1
            assert api.get("/healthz").status_code == 200
            one.close()
        wait_until(lambda: "mlpq_streams 0.0" in api.get("/metrics").text, what="closed streams are noticed")


def test_open_streams_end_within_seconds_of_sigterm(processes: Processes) -> None:
    service = processes.service().ready()
    with http_client(service.url) as api:
        job = submitted(api)
        threads = []
        ended: list[int] = []

        def follow() -> None:
            with http_client(service.url) as client:
                ended.append(len(stream(client, f"/v1/jobs/{job['id']}/events")))

        for _ in range(20):
            threads.append(threading.Thread(target=follow))
            threads[-1].start()
        wait_until(lambda: "mlpq_streams 20.0" in api.get("/metrics").text, what="20 streams")
    started = time.monotonic()
    assert service.terminate() == 0
    assert time.monotonic() - started < 10
    for thread in threads:
        thread.join(30)
    assert ended == [1] * 20, "every stream ended as a whole, with what there was"


class Connection:
    """The sending side of a connection, as the server hands it to an application."""

    def __init__(self) -> None:
        self.sent = b""
        self.blocked = self.stalled = False
        self.closed = asyncio.Event()

    async def send(self, message: dict) -> None:
        self.sent += message.get("body", b"")
        self.stalled = self.blocked
        while self.blocked:
            await asyncio.sleep(3600)

    async def send_body(self, body: bytes) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": True})

    async def receive(self) -> dict:
        await self.closed.wait()
        return {"type": "http.disconnect"}


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until `condition` holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def queued_job(redis: Redis) -> str:
    job, _ = JobStore(redis).create(NewJob(spec={}, dataset="iris"))
    return job.id


def test_silence_is_broken_by_a_ping_and_a_stalled_client_is_let_go(valkey: EmbeddedServer, queued_job: str) -> None:
    async def scenario() -> None:
        feed = Feed(connect_async(valkey.url), Metrics())
        feed.start()
        connection = Connection()
        served = EventStream(feed, {await feed.open(queued_job): 0}, prefixed=False)
        task = asyncio.create_task(served.serve(connection.receive, connection.send, connection.send_body))
        await until(lambda: b"event: status" in connection.sent)
        assert b"ping" not in connection.sent
        served.tick(time.monotonic() + PING_S)
        await until(lambda: connection.sent.endswith(b": ping\n\n"))
        connection.blocked = True
        served.tick(time.monotonic() + PING_S)
        await until(lambda: connection.stalled)
        served.tick(time.monotonic() + STALL_S + 1)
        await asyncio.wait_for(task, 30)
        assert not feed.listeners
        await feed.stop()

    asyncio.run(scenario())


def test_notifications_are_asked_for_while_a_job_is_followed_and_come_again_after_a_rest(
    valkey: EmbeddedServer, redis: Redis, queued_job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def subscribed() -> bool:
        return any(one["name"] == "feed-at-rest" and one["sub"] == "1" for one in redis.client_list())

    async def scenario() -> None:
        feed = Feed(connect_async(valkey.url, client_name="feed-at-rest"), Metrics())
        feed.start()
        await asyncio.sleep(0.1)
        assert not subscribed()
        monkeypatch.setattr("service.feed.IDLE_S", 0.0)
        await feed.open(queued_job)
        await until(subscribed)
        await until(lambda: not subscribed())
        monkeypatch.setattr("service.feed.IDLE_S", 60.0)
        channel = await feed.open(queued_job)
        await until(subscribed)
        monkeypatch.setattr("service.feed.POLL_S", 60.0)  # from here on only a notification can tell
        await asyncio.sleep(1.1)
        JobStore(redis).request(queued_job, "pause")
        await until(lambda: channel.last == 2)
        await feed.stop()

    asyncio.run(scenario())


def test_who_was_told_more_by_a_quicker_process_is_not_sent_back(
    valkey: EmbeddedServer, redis: Redis, queued_job: str
) -> None:
    def written_unannounced(number: int) -> None:
        redis.xadd(keys.events(queued_job), {"type": "metric", "data": "{}", "at": 0}, id=f"0-{number}")

    async def scenario() -> bytes:
        feed = Feed(connect_async(valkey.url), Metrics())
        feed.start()
        channel = await feed.open(queued_job)
        written_unannounced(2)
        assert channel.last == 1
        connection = Connection()
        served = EventStream(feed, {channel: 2}, prefixed=False)
        task = asyncio.create_task(served.serve(connection.receive, connection.send, connection.send_body))
        await until(lambda: channel.last == 2)
        written_unannounced(3)
        await until(lambda: b"id: 3" in connection.sent)
        connection.closed.set()
        await asyncio.wait_for(task, 30)
        await feed.stop()
        return connection.sent

    assert asyncio.run(scenario()).count(b"id: ") == 1


def test_clients_at_every_position_cost_no_more_than_those_at_one() -> None:
    channel = Channel("job_1")
    channel.extend((number, "metric", b"x" * 1000) for number in range(1, 4001))
    read = [channel.after(cursor) for cursor in range(4000)]
    assert all(last == min(cursor + 263, 4000) for cursor, (_, last) in enumerate(read))
    assert sum(len(chunk) for chunk, _ in channel._memo.values()) <= MEMOS * (CHUNK_BYTES + 1000)


def test_event_data_is_the_stored_json(api: httpx2.Client, jobs: JobStore, redis: Redis) -> None:
    submitted(api)
    job_id = finished(jobs, points=1)
    (_, fields) = redis.xrange(keys.events(job_id), "0-3", "0-3")[0]
    event = stream(api, f"/v1/jobs/{job_id}/events?after=2")[0]
    assert event.data == json.loads(fields[b"data"])
