"""Both clients against a service that loses connections: a real HTTP server that answers by a script."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from mlpq import (
    AsyncClient,
    Client,
    ConflictError,
    CorruptDownloadError,
    EndEvent,
    InvalidArgumentError,
    InvalidInputError,
    JobFailedError,
    MetricEvent,
    NotFoundError,
    ResetEvent,
    ServiceUnreachableError,
    UnavailableError,
    WaitTimeoutError,
)
from mlpq.arrays import table_to_npz
from tests.mlpq.on_a_loop import KINDS, connect

JOB = {"id": "job_1", "object": "job", "status": "running", "dataset": "digits", "attempt": 1}


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Script:
    """What the server answers, request by request; the last answer repeats."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def lose(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection instead of answering."""
    handler.close_connection = True


def say(status: int, document: Any, **headers: str) -> Answer:
    """A complete JSON answer."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def stream(text: bytes) -> Answer:
    """Send a part of a chunked event stream, then lose the connection."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(text), text) if text else b"")
        handler.close_connection = True

    return answer


@pytest.fixture
def script() -> Iterator[Script]:
    written = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(length)
            written.seen.append(Seen(self.command, self.path, headers, body, time.monotonic()))
            written.next()(self)

        do_POST = do_DELETE = do_PATCH = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        written.url = f"http://127.0.0.1:{server.server_port}"
        yield written
        server.shutdown()
        thread.join()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(script: Script, kind: str) -> Iterator[Client]:
    with connect(kind, script.url, api_key="the-key", patience_s=30.0) as connected:
        yield connected


def test_a_lost_submission_is_sent_again_under_the_same_key(script: Script, client: Client) -> None:
    script.answers = [lose, lose, say(202, JOB)]
    assert client.train("digits", epochs=1).id == "job_1"
    assert len({seen.headers["idempotency-key"] for seen in script.seen}) == 1
    assert [json.loads(seen.body) for seen in script.seen] == [{"dataset": "digits", "training": {"epochs": 1}}] * 3
    client.train("digits", epochs=1)
    assert script.seen[-1].headers["idempotency-key"] != script.seen[0].headers["idempotency-key"]


def test_the_key_goes_in_a_header_and_never_in_the_address(script: Script, client: Client) -> None:
    script.answers = [say(200, JOB)]
    client.job("job_1")
    assert script.seen[0].headers["authorization"] == "Bearer the-key"
    assert "the-key" not in script.seen[0].path


def test_a_busy_service_is_asked_again_when_it_says(script: Script, client: Client) -> None:
    script.answers = [say(503, {"code": "store_unavailable"}, Retry_After="1"), say(200, JOB)]
    client.job("job_1")
    assert script.seen[1].at - script.seen[0].at >= 0.7


def test_patience_ends(script: Script, kind: str) -> None:
    script.answers = [say(503, {"code": "store_unavailable", "detail": "Redis is away"}, Retry_After="1")]
    with connect(kind, script.url, patience_s=0.5) as client, pytest.raises(UnavailableError, match="Redis is away"):
        client.job("job_1")
    started = time.monotonic()
    with connect(kind, "http://127.0.0.1:9", patience_s=0.5) as client, pytest.raises(ServiceUnreachableError):
        client.job("job_1")
    assert 0.4 < time.monotonic() - started < 15


def test_a_refusal_is_final_at_once(script: Script, client: Client) -> None:
    script.answers = [say(422, {"detail": "x", "errors": [{"pointer": "/net", "detail": "is 3"}]})]
    with pytest.raises(InvalidInputError, match="/net: is 3"):
        client.train("digits")
    assert len(script.seen) == 1


def test_what_a_lost_delete_removed_counts_as_removed(script: Script, client: Client) -> None:
    script.answers = [lose, say(404, {})]
    client.delete_dataset("ds_1")
    script.answers = [say(404, {})]
    with pytest.raises(NotFoundError):
        client.delete_dataset("ds_1")


def test_what_a_lost_cancel_did_is_no_conflict(script: Script, client: Client) -> None:
    script.answers = [say(200, JOB), lose, say(409, {}), say(200, {**JOB, "status": "cancelled"})]
    assert client.job("job_1").cancel().status == "cancelled"
    script.answers = [say(200, JOB), say(409, {"detail": "only pause"}), say(200, {**JOB, "status": "cancelled"})]
    with pytest.raises(ConflictError, match="only pause"):
        client.job("job_1").cancel()


def events(n: int) -> list[bytes]:
    metric = [b'id: %d\r\nevent: metric\r\ndata: {"step": %d, "epoch": %d}\r\n\r\n' % (k, k, k) for k in range(1, n)]
    return [*metric, b'id: %d\nevent: end\ndata: {"status": "succeeded"}\n\n' % n]


@pytest.mark.parametrize("cut", [1, 7, 20, 41, 43, 44, 60, 100])
def test_a_stream_that_breaks_anywhere_has_no_gap_and_no_duplicate(script: Script, client: Client, cut: int) -> None:
    whole = events(6)

    def resume(handler: BaseHTTPRequestHandler) -> None:
        after = int(script.seen[-1].headers.get("last-event-id", 0))
        begin = max(after - 1, 0)  # one too many: a client must not trust the other side to be exact
        rest = b": ping\n\n" + b"".join(whole[begin:])
        stream(rest[: cut + 60 * (len(script.seen) - 1)])(handler)

    script.answers = [say(200, JOB), resume]
    job = client.job("job_1")
    script.answers = [resume]
    script.seen.clear()
    found = []
    watching = job.watch()
    for event in watching:
        found.append(event.id)
        if isinstance(event, EndEvent):
            script.answers = [say(200, {**JOB, "status": "succeeded"})]
    assert found == [1, 2, 3, 4, 5, 6]
    assert job.ended


def test_a_trimmed_history_is_told_and_the_stream_goes_on(script: Script, client: Client) -> None:
    text = b'event: reset\ndata: {"oldest": 4}\n\n' + b"".join(events(6)[3:])
    script.answers = [say(200, JOB), stream(text), say(200, {**JOB, "status": "succeeded"})]
    found = list(client.job("job_1").watch())
    assert [type(event) for event in found] == [ResetEvent, MetricEvent, MetricEvent, EndEvent]
    assert [event.id for event in found[1:]] == [4, 5, 6]


def test_a_store_that_lost_its_last_moments_is_told_and_the_job_is_seen_to_its_end(
    script: Script, client: Client
) -> None:
    again = b'id: 2\nevent: reset\ndata: {"after": 2}\n\n' + b"".join(events(4)[2:])
    script.answers = [say(200, JOB), stream(again), say(200, {**JOB, "status": "succeeded"})]
    found = list(client.job("job_1").watch(after=9))
    assert [(event.type, event.id) for event in found] == [("reset", 2), ("metric", 3), ("end", 4)]


@pytest.mark.parametrize("name", ["../datasets/ds_1", "job_1/events", "job_1?x=1", "job_1#x", "..%2fx"])
def test_an_id_leads_nowhere_else(script: Script, client: Client, name: str) -> None:
    script.answers = [say(404, {"detail": "no such job"})]
    for call, folder in ((client.job, "jobs"), (client.dataset, "datasets"), (client.delete_dataset, "datasets")):
        with pytest.raises(NotFoundError):
            call(name)
        assert script.seen[-1].path == f"/v1/{folder}/{quote(name, safe='')}"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_is_no_id_is_not_asked_for(script: Script, client: Client, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="id of a job"):
        client.job(name)
    assert script.seen == []


def test_a_stream_behind_the_end_is_empty(script: Script, client: Client) -> None:
    script.answers = [say(200, JOB), say(204, b""), say(200, {**JOB, "status": "succeeded"})]
    assert list(client.job("job_1").watch(after=6)) == []
    assert script.seen[1].headers["last-event-id"] == "6"


def test_a_stream_of_no_job_is_an_error_at_once(script: Script, client: Client) -> None:
    script.answers = [say(200, JOB), say(404, {"detail": "no such job"})]
    with pytest.raises(NotFoundError, match="no such job"):
        list(client.job("job_1").watch())


def test_a_watch_survives_503_and_gives_up_after_its_own_patience(script: Script, client: Client) -> None:
    script.answers = [say(200, JOB), say(503, {}), stream(b"".join(events(2))), say(200, JOB)]
    assert [event.id for event in client.job("job_1").watch()] == [1, 2]
    script.answers = [say(200, JOB), lose]
    with pytest.raises(ServiceUnreachableError):
        list(client.job("job_1").watch(patience_s=0.4))


def test_a_lost_upload_starts_again_from_its_first_byte(script: Script, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"a,b\n" + b"1,2\n" * 200_000)
    script.answers = [lose, say(201, {"id": "ds_1", "warnings": ["column a is constant"]})]
    sent: list[tuple[int, int]] = []
    record = client.upload(file, target="b", progress=lambda done, size: sent.append((done, size)))
    assert (record.id, record.warnings) == ("ds_1", ("column a is constant",))
    assert [hashlib.sha256(seen.body).digest() for seen in script.seen] == [
        hashlib.sha256(file.read_bytes()).digest()
    ] * 2
    assert sent[-1] == (file.stat().st_size, file.stat().st_size)
    assert "transfer-encoding" not in script.seen[-1].headers


def test_weights_are_verified(script: Script, client: Client) -> None:
    content = table_to_npz(np.eye(2), [0, 1])
    good = hashlib.sha256(content).hexdigest()
    script.answers = [say(200, JOB), say(200, content, X_Content_SHA256=good)]
    assert set(client.job("job_1").weights()) == {"X", "y"}
    for digest in ("0" * 64, ""):
        script.answers = [say(200, JOB), say(200, content, X_Content_SHA256=digest)]
        with pytest.raises(CorruptDownloadError):
            client.job("job_1").weights()


def test_waiting_for_a_failed_job_raises_its_error(script: Script, client: Client) -> None:
    failed = {**JOB, "status": "failed", "error": {"code": "diverged", "message": "W1 at step 3", "param": None}}
    script.answers = [say(200, JOB), say(200, JOB), say(200, failed)]
    with pytest.raises(JobFailedError, match=r"job_1 failed \(diverged\): W1 at step 3"):
        client.job("job_1").wait()
    assert client.job("job_1").wait(check=False).status == "failed"


ENDED = {**JOB, "status": "succeeded"}


def slowly(seconds: float, answer: Answer) -> Answer:
    """The same, later."""

    def later(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        answer(handler)

    return later


def waits_asked(script: Script) -> list[float]:
    """The `wait_s` of every request for the job, 0 where it has none."""
    paths = [seen.path.partition("?wait_s=") for seen in script.seen if seen.path.startswith("/v1/jobs/job_1")]
    return [float(wait or 0) for _, _, wait in paths]


@pytest.mark.parametrize(
    ("timeout", "timeout_s", "asked"), [(30, None, 15), (1, None, 0.5), (60, None, 20), (60, 7, 7)]
)
def test_an_end_is_awaited_no_longer_than_the_connection_and_the_caller_allow(
    script: Script, kind: str, timeout: float, timeout_s: float | None, asked: float
) -> None:
    script.answers = [say(200, JOB), say(200, ENDED)]
    with connect(kind, script.url, timeout=timeout) as client:
        assert client.job("job_1").wait(timeout_s).ended
    assert waits_asked(script) == [0, pytest.approx(asked, abs=0.4)]


def test_a_service_that_does_not_wait_is_not_asked_without_rest(script: Script, client: Client) -> None:
    script.answers = [say(200, JOB)]
    with pytest.raises(WaitTimeoutError, match="still running"):
        client.job("job_1").wait(0.5)
    assert 5 < len(script.seen) < 30
    assert waits_asked(script)[-1] == 0, "when time is over it is asked as it is now"


def test_waiting_that_is_cut_off_is_taken_up_again_with_all_patience(script: Script, kind: str) -> None:
    script.answers = [say(200, JOB), slowly(0.4, lose), lose, say(200, ENDED)]
    with connect(kind, script.url, patience_s=0.3) as client:
        assert client.job("job_1").wait().ended


def test_most_connections_stay_free_while_many_jobs_are_awaited(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlpq.api.MOST_WAITING", 2)
    here, most = 0, 0

    def answer(handler: BaseHTTPRequestHandler) -> None:
        nonlocal here, most
        if "wait_s" not in handler.path:
            say(200, JOB)(handler)
            return
        here += 1
        most = max(most, here)
        time.sleep(0.2)
        here -= 1
        say(200, ENDED)(handler)

    async def all_of_them() -> list[str]:
        async with AsyncClient(script.url) as client:
            jobs = [await client.job("job_1") for _ in range(5)]
            return [job.status for job in await asyncio.gather(*(job.wait() for job in jobs))]

    script.answers = [answer]
    assert asyncio.run(all_of_them()) == ["succeeded"] * 5
    assert most == 2


def test_lists_are_read_page_by_page(script: Script, client: Client) -> None:
    pages = [{"data": [{**JOB, "id": f"job_{k}"}], "has_more": k > 1, "last_id": f"job_{k}"} for k in (3, 2, 1)]
    script.answers = [say(200, page) for page in pages]
    assert [job.id for job in client.jobs(status="queued", limit=None)] == ["job_3", "job_2", "job_1"]
    assert "after=job_3" in script.seen[1].path
    assert all("status=queued" in seen.path for seen in script.seen)
