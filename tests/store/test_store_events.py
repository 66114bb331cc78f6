"""Reading event logs: order, gaps, many jobs at once."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest
from redis import Redis

from kernels.errors import MalformedInput, StoreUnavailable
from mlpq.embedded import EmbeddedServer
from store import keys
from store.connection import connect_async
from store.events import gap, read_many
from store.jobs import JobStore
from store.transitions import Status
from tests.store.store_parts import job_with_metrics, new_job


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


def test_reading_on_from_any_event_gives_the_rest(store: JobStore) -> None:
    claim = job_with_metrics(store, 20)
    store.finish(claim, Status.SUCCEEDED)
    whole = store.events.read(claim.job_id)
    assert [event.id for event in whole] == list(range(1, 25))
    assert [event.type for event in whole] == ["status"] * 2 + ["metric"] * 20 + ["status", "end"]
    for after in range(25):
        assert store.events.read(claim.job_id, after) == whole[after:]
        assert store.events.read(claim.job_id, after, count=3) == whole[after : after + 3]
        assert not gap(after, store.events.read(claim.job_id, after))


def test_data_is_passed_on_as_it_was_stored(store: JobStore) -> None:
    claim = job_with_metrics(store, 0)
    data = {"step": 1, "loss": float("nan"), "text": "größer"}
    store.write(claim, events=[("log", data)])
    event = store.events.read(claim.job_id)[-1]
    assert event.data == orjson.dumps(data) == '{"step":1,"loss":null,"text":"größer"}'.encode()
    assert abs(event.at_ms / 1000 - time.time()) < 60


def test_a_reader_of_trimmed_history_sees_the_gap(store: JobStore, redis: Redis) -> None:
    claim = job_with_metrics(store, 50)
    redis.xtrim(keys.events(claim.job_id), maxlen=10, approximate=False)
    assert gap(0, store.events.read(claim.job_id, 0))
    assert gap(41, store.events.read(claim.job_id, 41))
    assert not gap(42, store.events.read(claim.job_id, 42))
    assert store.events.oldest_id(claim.job_id) == 43
    assert store.events.oldest_id("job_none") is None


@pytest.mark.parametrize("after", [-1, 2**63, 10**30])
def test_what_is_no_event_number_is_refused(store: JobStore, after: int) -> None:
    with pytest.raises(MalformedInput, match="no event number"):
        store.events.read("job_none", after)


def test_many_jobs_are_read_in_one_round_trip(store: JobStore, valkey: EmbeddedServer) -> None:
    claims = [job_with_metrics(store, n) for n in range(5)]

    async def read() -> dict[str, list[int]]:
        client = connect_async(valkey.url)
        positions = {claim.job_id: 2 for claim in claims} | {"job_none": 0}
        found = await read_many(client, positions)
        assert await read_many(client, {}) == {}
        await client.aclose()
        return {job_id: [event.id for event in events] for job_id, events in found.items()}

    expected = {claim.job_id: list(range(3, 3 + n)) for n, claim in enumerate(claims) if n}
    assert asyncio.run(read()) == expected


def test_every_change_of_a_job_is_announced(store: JobStore, redis: Redis) -> None:
    with redis.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(keys.NOTIFY)
        listener.get_message(timeout=1)
        claim = job_with_metrics(store, 1)
        store.request(claim.job_id, "cancel")
        store.finish(claim, Status.CANCELLED)
        heard = [listener.get_message(timeout=20) for _ in range(5)]
    assert [message and message["data"].decode() for message in heard] == [claim.job_id] * 5


def test_the_end_of_a_job_is_announced_once_with_its_sweep(store: JobStore, redis: Redis) -> None:
    with redis.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(keys.ENDED)
        listener.get_message(timeout=1)
        claim = job_with_metrics(store, 1)
        store.finish(claim, Status.SUCCEEDED)
        alone, _ = store.create(new_job())
        store.request(alone.id, "pause")
        store.request(alone.id, "cancel")
        swept, _ = store.create(new_job(sweep="swp_1"))
        store.request(swept.id, "cancel")
        heard = [listener.get_message(timeout=20) for _ in range(3)]
        store.delete(alone.id)
        assert listener.get_message(timeout=0.05) is None
    told = [message and message["data"].decode() for message in heard]
    assert told == [claim.job_id, alone.id, f"{swept.id} swp_1"]


def test_the_async_reader_says_when_redis_is_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def read() -> None:
        client = connect_async(f"unix://{tmp_path_factory.mktemp('none')}/valkey.sock")
        try:
            await read_many(client, {"job_x": 0})
        finally:
            await client.aclose()

    with pytest.raises(StoreUnavailable):
        asyncio.run(read())
