"""The users' side of the job store on a real server."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from kernels.errors import Conflict, IllegalTransition, InvalidInput, NotFound
from store import keys, scripts
from store.jobs import JobStore
from store.records import TAGS_MAX, Job, encode, iso
from store.transitions import Status
from store.wakeups import WakeUpQueue
from tests.store.store_parts import bring_to, check_laws, new_job


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


def test_a_created_job_is_recorded_indexed_queued_and_announced(store: JobStore, redis: Redis) -> None:
    new = new_job(name="first", tags=("b", "a", "b"), metadata={"n": [1, None]}, priority=3)
    job, created = store.create(new)
    assert created
    assert job == store.get(job.id)
    assert (job.name, job.status, job.attempt, job.priority) == ("first", Status.QUEUED, 1, 3)
    assert (job.tags, job.metadata, job.spec) == (("b", "a"), {"n": [1, None]}, new.spec)
    assert job.queue_position == 0
    assert len(WakeUpQueue(connection=redis)) == 1
    assert [event.type for event in store.events.read(job.id)] == ["status"]
    check_laws(redis, store)


def test_a_job_leaves_the_tags_that_its_damaged_record_no_longer_names(store: JobStore, redis: Redis) -> None:
    jobs = [store.create(new_job(tags=("a", "b")))[0].id for _ in range(4)]
    damaged, repaired, moved, sound = jobs
    redis.zunionstore(keys.swept("swp_1"), [keys.JOBS])
    for one in (damaged, repaired, moved):
        redis.hset(keys.job(one), "tags", "[")
    store.patch(repaired, tags=["b"])
    store.request(moved, "cancel")
    redis.hset(keys.job(moved), "tags", '["a"]')
    assert [job.id for job in store.page(tag="a", status=Status.QUEUED, limit=1).items] == [sound]
    assert [job.id for job in store.page(tag="a", status=Status.QUEUED).items] == [sound]
    assert [job.id for job in store.page(tag="a").items] == [sound, moved]
    assert [job.id for job in store.page(tag="b", sweep="swp_1").items] == [sound, repaired]
    for tag, status, left in (("a", None, {sound, moved}), ("a", "queued", {sound}), ("b", None, {sound, repaired})):
        assert {one.decode() for one in redis.zrange(keys.index(status, tag), 0, -1)} == left
    assert not store.page(tag="a").has_more


def test_creating_takes_one_round_trip(store: JobStore, redis: Redis) -> None:
    store.create(new_job())
    before = redis.info("stats")["total_net_input_bytes"], redis.info("commandstats")
    store.create(new_job())
    calls = Counter[str]()
    for name, numbers in redis.info("commandstats").items():
        calls[name] += numbers["calls"] - before[1].get(name, {"calls": 0})["calls"]
    client_side = {name for name, count in calls.items() if count} - {"cmdstat_info"}
    assert calls["cmdstat_evalsha"] == 1
    assert not client_side & {"cmdstat_multi", "cmdstat_exec", "cmdstat_script|load", "cmdstat_eval"}


def test_the_same_key_and_body_give_the_same_job(store: JobStore, redis: Redis) -> None:
    first, made = store.create(new_job(), ("key", "sha"))
    second, made_again = store.create(new_job(), ("key", "sha"))
    assert (made, made_again) == (True, False)
    assert first == second
    assert redis.zcard(keys.JOBS) == 1
    assert 0 < redis.ttl(keys.idempotency("key")) <= 24 * 3600


def test_the_same_key_with_another_body_is_refused(store: JobStore, redis: Redis) -> None:
    store.create(new_job(), ("key", "sha"))
    with pytest.raises(InvalidInput, match="/headers/Idempotency-Key: was used before with another body"):
        store.create(new_job(), ("key", "other"))
    assert redis.zcard(keys.JOBS) == 1


def test_the_key_of_a_deleted_job_makes_a_new_one(store: JobStore) -> None:
    first, _ = store.create(new_job(), ("key", "sha"))
    store.request(first.id, "cancel")
    store.delete(first.id)
    second, made = store.create(new_job(), ("key", "sha"))
    assert made
    assert second.id != first.id


def test_concurrent_creates_with_one_key_give_one_job(store: JobStore, redis: Redis) -> None:
    together = threading.Barrier(8)

    def create(_: int) -> tuple[Job, bool]:
        together.wait()
        return store.create(new_job(), ("key", "sha"))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(8)))
    assert len({job.id for job, _ in answers}) == 1
    assert sum(made for _, made in answers) == 1
    check_laws(redis, store)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"tags": ("",)}, "/tags/0"),
        ({"tags": ("ok", "x" * 65)}, "/tags/1"),
        ({"tags": tuple(f"t{n}" for n in range(TAGS_MAX + 1))}, "/tags"),
        ({"priority": 101}, "/priority"),
        ({"priority": -101}, "/priority"),
    ],
)
def test_bad_tags_and_priorities_are_refused(
    store: JobStore, redis: Redis, changes: dict[str, object], pointer: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        store.create(new_job(**changes))
    assert refused.value.errors[0].pointer == pointer
    assert redis.keys("*") == []


def test_a_job_on_a_data_set_that_is_gone_is_refused_and_leaves_nothing(store: JobStore, redis: Redis) -> None:
    with pytest.raises(NotFound, match="ds_gone"):
        store.create(new_job(dataset="ds_gone"), ("key", "sha"))
    assert redis.keys("*") == []


def test_a_data_set_is_referenced_until_its_job_ends(store: JobStore, redis: Redis) -> None:
    redis.hset(keys.dataset("ds_1"), "id", "ds_1")
    job, _ = store.create(new_job(dataset="ds_1"))
    assert redis.smembers(keys.dataset_jobs("ds_1")) == {job.id.encode()}
    store.request(job.id, "pause")
    assert redis.smembers(keys.dataset_jobs("ds_1")) == {job.id.encode()}
    store.request(job.id, "cancel")
    assert redis.smembers(keys.dataset_jobs("ds_1")) == set()


def test_text_of_every_kind_survives(store: JobStore) -> None:
    name = 'emoji 🧠 "quotes" \\ \n tab\t nul\x00 end'
    job, _ = store.create(new_job(name=name, tags=("grün:%s", "a b"), metadata={"ключ": name}))
    assert store.get(job.id).name == name
    assert store.get(job.id).metadata == {"ключ": name}
    assert store.page(tag="grün:%s").items == (store.get(job.id),)


def test_not_a_number_becomes_null_and_what_json_cannot_hold_is_refused() -> None:
    assert encode({"loss": float("nan"), "best": float("inf")}) == b'{"loss":null,"best":null}'
    with pytest.raises(InvalidInput, match="JSON"):
        encode({"text": "\ud800"})
    with pytest.raises(InvalidInput, match="JSON"):
        encode({"number": 2**70})


def test_times_are_shown_in_utc() -> None:
    assert iso(951_782_400_123) == "2000-02-29T00:00:00.123Z"
    assert iso(None) is None


@pytest.mark.parametrize("ms", [0, 951_782_399_999, 951_782_400_000, 1_709_164_800_001, 4_107_542_399_999])
def test_the_scripts_show_times_as_python_does(redis: Redis, ms: int) -> None:
    told = redis.register_script(scripts.complete("return iso(tonumber(ARGV[1]))"))(args=[ms])
    assert told.decode() == iso(ms)


def test_unknown_ids_are_not_found(store: JobStore) -> None:
    for call in (
        lambda: store.get("job_none"),
        lambda: store.delete("job_none"),
        lambda: store.request("job_none", "cancel"),
        lambda: store.patch("job_none", name="x"),
    ):
        with pytest.raises(NotFound, match="job_none"):
            call()


def test_pages_hold_every_job_once_newest_first(store: JobStore, redis: Redis) -> None:
    ids = [store.create(new_job(tags=("even",) if n % 2 == 0 else ("odd",)))[0].id for n in range(23)]
    for job_id in ids[::3]:
        store.request(job_id, "cancel")
    expected = {
        (None, None): ids,
        (Status.CANCELLED, None): ids[::3],
        (None, "even"): ids[::2],
        (Status.CANCELLED, "even"): ids[::6],
        (Status.QUEUED, "odd"): [job_id for job_id in ids[1::2] if job_id not in ids[::3]],
        (Status.RUNNING, "odd"): [],
        (None, "no such tag"): [],
    }
    for (status, tag), wanted in expected.items():
        seen: list[str] = []
        after, more = None, True
        while more:
            page = store.page(status, tag, limit=4, after=after)
            seen += [job.id for job in page.items]
            more, after = page.has_more, seen[-1] if seen else None
        assert seen == wanted[::-1], (status, tag)


def test_a_cursor_outlives_its_job(store: JobStore) -> None:
    ids = [bring_to(store, Status.CANCELLED).id for _ in range(3)]
    store.delete(ids[1])
    assert [job.id for job in store.page(after=ids[1]).items] == [ids[0]]


def test_bad_pages_are_refused(store: JobStore) -> None:
    with pytest.raises(InvalidInput, match="/query/after: names no job"):
        store.page(after="job_none")
    for limit in (0, 101):
        with pytest.raises(InvalidInput, match=f"/query/limit: is {limit}; must be 1..100"):
            store.page(limit=limit)


def test_priority_then_age_decide_who_is_next(store: JobStore) -> None:
    low, old, young, high = (store.create(new_job(priority=p))[0].id for p in (-1, 0, 0, 5))
    assert [store.get(job_id).queue_position for job_id in (high, old, young, low)] == [0, 1, 2, 3]
    assert store.queue_position(low) == 3
    store.patch(low, priority=100)
    claims = [store.claim("w") for _ in range(4)]
    assert [claim and claim.job_id for claim in claims] == [low, high, old, young]
    assert store.claim("w") is None
    assert store.queue_position(low) is None


def test_patch_changes_what_is_given_and_moves_the_indexes(store: JobStore, redis: Redis) -> None:
    job, _ = store.create(new_job(name="before", tags=("a", "b")))
    changed = store.patch(job.id, tags=["b", "c"], metadata={"k": 1})
    assert (changed.name, changed.tags, changed.metadata) == ("before", ("b", "c"), {"k": 1})
    assert store.page(tag="a").items == ()
    assert store.page(Status.QUEUED, "c").items == (changed,)
    assert store.patch(job.id).tags == ("b", "c")
    check_laws(redis, store)


@pytest.mark.parametrize("status", Status)
def test_only_an_ended_job_can_be_deleted(store: JobStore, redis: Redis, status: Status) -> None:
    job = bring_to(store, status)
    if job.terminal:
        assert store.delete(job.id) == job
        with pytest.raises(NotFound):
            store.get(job.id)
        left = {key.decode() for key in redis.keys(f"*{job.id}*")}
        assert left == {f"mlpq:deleted:{job.id}"}
    else:
        with pytest.raises(Conflict, match=f"is {status}"):
            store.delete(job.id)
        assert store.get(job.id).status is status
    check_laws(redis, store)


def test_counts_are_those_of_the_records(store: JobStore) -> None:
    for status in Status:
        bring_to(store, status)
    assert store.counts() == dict.fromkeys(Status, 1)


def test_cancel_and_finish_race_has_one_winner(store: JobStore, redis: Redis) -> None:
    """Twenty races: a job is cancelled without a result or succeeded with one, and the loser is told."""
    winners = set()
    for _ in range(20):
        job, _ = store.create(new_job())
        claim = store.claim("w")
        assert claim is not None
        together = threading.Barrier(2)

        def cancel(job_id: str = job.id, together: threading.Barrier = together) -> bool:
            together.wait()
            try:
                store.request(job_id, "cancel")
            except IllegalTransition:
                return False
            return True

        with ThreadPoolExecutor(1) as pool:
            cancelled = pool.submit(cancel)
            together.wait()
            done = store.finish(claim, Status.SUCCEEDED, result={"weights": 1})
        assert done == store.get(job.id)
        assert done.status is (Status.CANCELLED if cancelled.result() else Status.SUCCEEDED)
        assert (done.result is None) == cancelled.result()
        winners.add(done.status)
    assert winners <= {Status.CANCELLED, Status.SUCCEEDED}
    check_laws(redis, store)
