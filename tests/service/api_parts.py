"""What the tests of the service share: a client that says what came back, a worker's hands, SSE events, raw sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from store.identity import FILE, identity_of
from store.jobs import JobStore
from store.records import Claim
from store.transitions import Status

SPEC = {"dataset": "iris", "training": {"epochs": 3}}


@dataclass(frozen=True)
class SentEvent:
    """One server-sent event."""

    id: str
    type: str
    data: Any


def submitted(api: httpx2.Client, **changes: Any) -> dict[str, Any]:
    """A queued job."""
    answer = api.post("/v1/jobs", json=SPEC | changes)
    assert answer.status_code == 202, answer.text
    return answer.json()


def claimed(jobs: JobStore) -> Claim:
    """The next queued job, taken as a worker takes it."""
    claim = jobs.claim("w-test")
    assert claim is not None
    return claim


def point(step: int, **more: Any) -> tuple[str, dict[str, Any]]:
    """A metric event."""
    return ("metric", {"step": step, "epoch": step, "train_loss": 1.0 / (step + 1), "attempt": 1} | more)


def finished(jobs: JobStore, points: int = 5) -> str:
    """The next queued job, run to its end with some points; its id."""
    claim = claimed(jobs)
    jobs.write(claim, events=[point(step) for step in range(points)])
    jobs.finish(claim, Status.SUCCEEDED)
    return claim.job_id


def events_of(lines: Iterator[str]) -> Iterator[SentEvent]:
    """Parse a stream of SSE lines."""
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and "data" in fields:
            yield SentEvent(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
            fields = {}


def stream(api: httpx2.Client, path: str, **headers: str) -> list[SentEvent]:
    """Every event until the service ends the stream."""
    with api.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        return list(events_of(answer.iter_lines()))


def assert_problem(answer: httpx2.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The answer is a problem with every member; returns it."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "instance", "code", "errors"}, body
    assert body["status"] == status
    assert body["type"] == f"urn:mlpq:problem:{body['code']}"
    assert all(set(error) == {"pointer", "detail"} for error in body["errors"])
    assert code is None or body["code"] == code, body
    return body


def raw_exchange(url: str, request: bytes, chunks: Iterable[bytes] = (), timeout_s: float = 10.0) -> bytes:
    """Send bytes as they are, go on sending `chunks` until the other side has had enough; what came back."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=timeout_s) as connection:
        connection.sendall(request)
        try:
            for chunk in chunks:
                connection.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        received = b""
        try:
            while data := connection.recv(1 << 16):
                received += data
        except (ConnectionResetError, TimeoutError):
            pass
        return received


def twin_of(data_dir: Path, folder: Path) -> Path:
    """An empty data directory of the same identity, for two processes that share one store and no files."""
    folder.mkdir()
    (folder / FILE).write_text(identity_of(data_dir))
    return folder
