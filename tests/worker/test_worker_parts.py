"""The small parts of a worker, one by one: channel, outbox, log lines, failures, failpoints, command line."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from kernels.errors import Corrupted, DiskFull, InvalidInput, OutOfMemory
from store.jobs import JobStore
from store.records import Claim, NewJob
from store.transitions import Status
from tests.site import Site
from worker import failpoints, log
from worker.__main__ import parse
from worker.channel import Channel, ChannelClosedError
from worker.failures import classify
from worker.memory import granted_bytes, total_bytes
from worker.outbox import Closing, Outbox, finite
from worker.process import describe_exit
from worker.settings import BATCH_EVENTS


@pytest.fixture
def claim(redis: Redis) -> Claim:
    store = JobStore(redis)
    store.create(NewJob(spec={}, dataset="digits"))
    claim = store.claim("w1")
    assert claim is not None
    return claim


# ---- channel ----------------------------------------------------------------------------------------------


def test_messages_arrive_whole_and_in_order_from_many_threads() -> None:
    a, b = socket.socketpair()
    ours, theirs = Channel(a), Channel(b)

    def talk(who: int) -> None:
        for number in range(200):
            theirs.send({"who": who, "number": number, "text": "ü\n" * 50})

    threads = [threading.Thread(target=talk, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    heard: dict[int, list[int]] = {who: [] for who in range(4)}
    for _ in range(800):
        message = ours.receive(timeout_s=10)
        assert message is not None
        assert message["text"] == "ü\n" * 50
        heard[message["who"]].append(message["number"])
    for thread in threads:
        thread.join()
    assert all(numbers == list(range(200)) for numbers in heard.values())
    ours.close()
    theirs.close()


def test_channel_tells_silence_from_the_end() -> None:
    a, b = socket.socketpair()
    ours, theirs = Channel(a), Channel(b)
    assert ours.receive(timeout_s=0.01) is None
    theirs.send({"last": True})
    theirs.close()
    assert ours.receive(timeout_s=1) == {"last": True}
    with pytest.raises(ChannelClosedError):
        ours.receive(timeout_s=1)
    with pytest.raises(ChannelClosedError):
        ours.send({"anyone": "there"})
    ours.close()


# ---- outbox -----------------------------------------------------------------------------------------------


def test_outbox_gives_the_same_batch_until_it_is_acknowledged(claim: Claim) -> None:
    outbox = Outbox(claim)
    outbox.add(("metric", {"step": 1}))
    first = outbox.next_batch()
    outbox.add(("metric", {"step": 2}))
    assert outbox.next_batch() is first
    assert first.events == [("metric", {"step": 1})]
    outbox.acknowledge()
    second = outbox.next_batch()
    assert second.events == [("metric", {"step": 2})]
    assert second.token != first.token


def test_a_checkpoint_is_the_last_thing_in_its_batch(claim: Claim) -> None:
    outbox = Outbox(claim)
    outbox.add(("metric", {"step": 1}))
    outbox.add(("checkpoint", {"step": 1}), checkpoint={"step": 1})
    outbox.add(("metric", {"step": 2}))
    outbox.close(Closing(Status.SUCCEEDED, "completed"))
    first = outbox.next_batch()
    assert [kind for kind, _ in first.events] == ["metric", "checkpoint"]
    assert first.checkpoint == {"step": 1}
    assert outbox.unsaved_checkpoint
    outbox.acknowledge()
    assert not outbox.unsaved_checkpoint
    last = outbox.next_batch()
    assert last.events == [("metric", {"step": 2})]
    assert last.closing is not None
    assert outbox.closing_waits
    outbox.acknowledge()
    assert outbox.closed
    assert not outbox.closing_waits


def test_fields_that_an_ending_cannot_carry_go_before_it(claim: Claim) -> None:
    outbox = Outbox(claim)
    outbox.add(device="cpu")
    outbox.add(("metric", {"step": 1}), progress={"step": 1})
    outbox.close(Closing(Status.SUCCEEDED, "completed"))
    first = outbox.next_batch()
    assert (first.fields, first.closing) == ({"device": "cpu", "progress": {"step": 1}}, None)
    outbox.acknowledge()
    assert outbox.next_batch().closing is not None


def test_of_points_that_are_sent_together_only_the_last_ones_fields_are_asked_for(claim: Claim) -> None:
    outbox, asked = Outbox(claim), list[int]()

    def fields(step: int) -> dict[str, object]:
        asked.append(step)
        return {"progress": {"step": step}, "metrics": {"train_loss": step}}

    def point(step: int) -> bool:
        return outbox.add_point({"step": step}, lambda: fields(step))

    assert [point(step) for step in (1, 2, 3)] == [True, False, False]
    first = outbox.next_batch()
    assert (asked, first.fields) == ([3], {"progress": {"step": 3}, "metrics": {"train_loss": 3}})
    assert first.events == [("metric", {"step": step}) for step in (1, 2, 3)]
    assert not point(4)
    outbox.acknowledge()
    outbox.add(("checkpoint", {"step": 2}), checkpoint={"step": 2}, progress={"step": 2})
    assert outbox.next_batch().fields["progress"] == {"step": 4}, "a checkpoint of an earlier step"
    outbox.acknowledge()
    point(5)
    outbox.add(("checkpoint", {"step": 6}), checkpoint={"step": 6}, progress={"step": 6})
    assert outbox.next_batch().fields == {"progress": {"step": 6}, "metrics": {"train_loss": 5}}
    outbox.acknowledge()
    assert not outbox.events_wait


def test_a_long_outage_fills_many_bounded_batches_in_order(claim: Claim) -> None:
    outbox = Outbox(claim)
    n = 3 * BATCH_EVENTS + 7
    for step in range(n):
        outbox.add(("metric", {"step": step}))
    steps: list[int] = []
    while outbox.events_wait:
        batch = outbox.next_batch()
        assert len(batch.events) <= BATCH_EVENTS
        steps += [data["step"] for _, data in batch.events]
        outbox.acknowledge()
    assert steps == list(range(n))


def test_an_abandoned_outbox_is_closed_and_empty(claim: Claim) -> None:
    outbox = Outbox(claim)
    outbox.add(("metric", {"step": 1}))
    outbox.next_batch()
    outbox.add(("metric", {"step": 2}))
    outbox.abandon()
    assert outbox.closed
    assert outbox.fenced
    assert not outbox.events_wait


def test_nothing_waiting_is_a_heartbeat(claim: Claim) -> None:
    outbox = Outbox(claim)
    assert not outbox.next_batch()
    outbox.acknowledge()
    assert not outbox.closed


def test_non_finite_numbers_become_null() -> None:
    point = {"step": 1, "train_loss": float("nan"), "val_loss": float("-inf"), "learning_rate": 0.5, "x": None}
    assert finite(point) == {"step": 1, "train_loss": None, "val_loss": None, "learning_rate": 0.5, "x": None}


# ---- failures ---------------------------------------------------------------------------------------------


class OutOfMemoryError(Exception):
    """Named like CuPy's, which tests without a GPU cannot raise."""


@pytest.mark.parametrize(
    ("error", "device", "code", "recycle"),
    [
        (MemoryError(), "cpu", "out_of_memory", True),
        (OutOfMemory("x"), "cpu", "out_of_memory", False),
        (OutOfMemoryError(), "cuda:0", "gpu_oom", True),
        (DiskFull("x"), "cpu", "disk_full", False),
        (InvalidInput.at("/net", "is bad"), "cpu", "invalid_input", False),
        (Corrupted("x"), "cpu", "corrupted", False),
        (ZeroDivisionError("/secret/path"), "cpu", "internal", False),
        (ZeroDivisionError(), "cuda:0", "internal", True),
    ],
)
def test_every_error_has_a_stable_code(error: Exception, device: str, code: str, recycle: bool) -> None:
    failure = classify(error, device)
    assert (failure.code, failure.recycle) == (code, recycle)
    assert failure.message
    assert "secret" not in failure.message


def test_a_failure_names_the_field_that_is_to_blame() -> None:
    failure = classify(InvalidInput.at("/training/sample_weight", "gives weight 0 to every training row"), "cpu")
    assert failure.as_error()["param"] == "/training/sample_weight"
    assert "param" not in classify(DiskFull("x"), "cpu").as_error()


def test_an_exit_is_told_in_words() -> None:
    assert describe_exit(-signal.SIGKILL) == "signal SIGKILL"
    assert describe_exit(1) == "exit status 1"


# ---- log --------------------------------------------------------------------------------------------------


def test_a_log_line_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    root, ours, rq = logging.getLogger(), logging.getLogger("mlpq.worker"), logging.getLogger("rq")
    before = root.handlers[:], root.level, ours.level, rq.level
    try:
        log.setup("w 1", "trainer")
        log.info("claimed", job="job_1\nevent=forged", fence=3, nothing=None)
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])
        rq.setLevel(before[3])
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.endswith('info worker="w 1" role=trainer event=claimed job="job_1\\nevent=forged" fence=3\n')


# ---- failpoints -------------------------------------------------------------------------------------------


def test_failpoints_count_crashes_down() -> None:
    environment = {"CRASH_AT": "after_claim*3"}
    os.environ["MLPQ_FAILPOINTS"] = "1"
    try:
        left = []
        while "CRASH_AT" in environment:
            left.append(environment["CRASH_AT"])
            failpoints.after_a_crash(environment)
    finally:
        del os.environ["MLPQ_FAILPOINTS"]
    assert left == ["after_claim*3", "after_claim*2", "after_claim*1"]


@pytest.mark.parametrize(("enabled", "status"), [("1", -signal.SIGKILL), ("0", 0)])
def test_failpoints_kill_only_when_enabled(enabled: str, status: int) -> None:
    code = "from worker import failpoints; failpoints.reach('before_result')"
    environment = os.environ | {"MLPQ_FAILPOINTS": enabled, "CRASH_AT": "before_result"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == status


def test_a_full_disk_leaves_no_temporary_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from worker import failpoints; from store.files import atomic_write\n"
        "with failpoints.writing('checkpoint'): atomic_write(Path(sys.argv[1]) / 'x', b'abc')"
    )
    environment = os.environ | {"MLPQ_FAILPOINTS": "1", "DISK_FULL_AT": "checkpoint"}
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, check=False, capture_output=True, text=True
    )
    assert "DiskFull" in ended.stderr
    assert list(tmp_path.iterdir()) == []


# ---- command line -----------------------------------------------------------------------------------------


def test_settings_come_from_options_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    monkeypatch.setenv("MLPQ_DATA_DIR", "/data")
    settings = parse(["--redis-url", "redis://here", "--device", "cuda:1"])
    assert (settings.redis_url, settings.data_dir, settings.device) == ("redis://here", Path("/data"), "cuda:1")
    assert replace(settings, device="cpu").recycle_after > 0
    monkeypatch.setenv("MLPQ_NICE", "3")
    assert (parse([]).nice, parse(["--nice", "0"]).nice) == (3, 0)


@pytest.mark.parametrize("arguments", [["--device", "tpu"], ["--device", "cuda:"], ["--nice", "20"], []])
def test_a_wrong_command_line_is_told_before_anything_starts(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    told = "must be auto, cpu or cuda", "must be a whole number from 0 to 19", "--redis-url is missing"
    text = capsys.readouterr().err
    assert any(one in text for one in told)


def test_a_worker_starts_without_numerics() -> None:
    code = "import worker.start, sys; print(*{'numpy', 'nets', 'cupy', 'sklearn'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout.strip() == ""


# ---- what others on the machine may see, and what a container grants ---------------------------------------


def test_no_command_line_holds_the_address_of_the_store(site: Site) -> None:
    worker = site.processes.worker().ready()
    shown = Path(f"/proc/{worker.trainer_pid()}/cmdline").read_bytes()
    assert b"worker.child" in shown
    assert site.processes.redis_url.encode() not in shown


@pytest.mark.parametrize(
    ("limits", "granted"),
    [
        ({"": "max", "a": "max", "a/b": "max"}, None),
        ({"a": "max", "a/b": "2000"}, 2000),
        ({"a": "1000", "a/b": "2000"}, 1000),
        ({}, None),
    ],
)
def test_the_smallest_limit_of_the_control_groups_counts(
    limits: dict[str, str], granted: int | None, tmp_path: Path
) -> None:
    (tmp_path / "groups/a/b").mkdir(parents=True)
    for place, limit in limits.items():
        (tmp_path / "groups" / place / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "cgroup").write_text("12:memory:/elsewhere\n0::/a/b\n")
    assert granted_bytes(tmp_path / "groups", tmp_path / "cgroup") == granted
    assert granted_bytes(tmp_path / "groups", tmp_path / "absent") is None
    assert 0 < total_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_progress_never_goes_back_because_a_checkpoint_took_long(redis: Redis) -> None:
    store = JobStore(redis)
    store.create(NewJob(spec={}, dataset="digits"))
    claim = store.claim("w")
    assert claim is not None
    outbox = Outbox(claim)
    outbox.add(("metric", {"step": 20}), progress={"step": 20})
    outbox.add(("checkpoint", {"step": 10}), checkpoint={"step": 10}, progress={"step": 10})
    assert outbox.next_batch().fields == {"progress": {"step": 20}}
    outbox.acknowledge()
    outbox.add(progress={"step": 15})
    outbox.add(progress={"step": 30})
    assert outbox.next_batch().fields == {"progress": {"step": 30}}
