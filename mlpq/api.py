"""Every call of the HTTP contract, once: coroutines over a transport, with retries, checks and reconnection.

`Client` drives them to the end on the caller's thread; `AsyncClient` awaits the same ones.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import threading
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlpq.arrays import is_array
from mlpq.errors import (
    ConflictError,
    CorruptDownloadError,
    InvalidArgumentError,
    NotFoundError,
    ServiceUnreachableError,
    error_from,
)
from mlpq.records import DatasetRecord, JobRecord, Json, dataset_from, job_from, parse_json
from mlpq.sending import Form, ProgressCallback, chunks
from mlpq.transport import ConnectionLostError, Reply, Request, Transport

RETRY_STATUS = frozenset({429, 502, 503, 504})
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0

LONGEST_WAIT_S = 20.0
"""An answer is awaited so long at most, and half as long as the transport waits for a byte."""
MOST_WAITING = 50
"""Answers awaited at once: the other connections of a client, which has 100, are for other calls."""

BATCH_JOBS = 1_000
"""Jobs that one request may hold."""

_AFTER: Mapping[str, tuple[str, ...]] = {
    "cancel": ("cancelling", "cancelled"),
    "pause": ("pausing", "paused"),
    "resume": ("queued", "running"),
}
"""Where a job may stand after an action."""


class Api:
    """The service's operations.

    Args:
        transport: how requests travel.
        patience_s: seconds, from the first on, during which lost connections and 429/502/503/504 are tried again. Every
            POST carries an `Idempotency-Key`, so a second attempt never makes a second job.
    """

    def __init__(self, transport: Transport, patience_s: float) -> None:
        self.transport = transport
        self.patience_s = patience_s
        self._places = threading.Semaphore(MOST_WAITING)

    async def call(self, request: Request) -> Reply:
        """Send, again if need be, and return an answer below 400.

        Raises:
            ServiceUnreachableError: no connection within `patience_s`.
            ApiError: the service refused.
        """
        if request.method == "POST" and "Idempotency-Key" not in request.headers:
            request = request.with_headers(Idempotency_Key=uuid.uuid4().hex)
        deadline = math.inf
        attempt = 0
        while True:
            wanted_s = None
            try:
                reply = await self.transport.send(request)
            except ConnectionLostError as error:
                deadline = min(deadline, time.monotonic() + self.patience_s)
                if time.monotonic() >= deadline:
                    raise ServiceUnreachableError(self.transport.url, str(error)) from error
            else:
                if reply.status in RETRY_STATUS:
                    deadline = min(deadline, time.monotonic() + self.patience_s)
                if reply.status not in RETRY_STATUS or time.monotonic() >= deadline:
                    return _checked(reply, request, attempt)
                wanted_s = _retry_after_s(reply.headers)
            pause = min(pause_s(attempt, wanted_s), max(deadline - time.monotonic(), 0.0))
            await self.transport.sleep(pause)
            attempt += 1

    async def get_json(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """GET a JSON object."""
        return parse_json((await self.call(Request("GET", path, query or {}))).content)

    async def post_json(self, path: str, body: Mapping[str, Any], query: Mapping[str, str] | None = None) -> Json:
        """POST a JSON object and return the one that comes back."""
        return parse_json((await self.call(json_request("POST", path, body, query))).content)

    async def submit(self, specification: Mapping[str, Any]) -> JobRecord:
        """Create a job."""
        return job_from(await self.post_json("/v1/jobs", specification))

    async def submit_many(self, specifications: Sequence[Mapping[str, Any]]) -> list[JobRecord]:
        """Create jobs, up to `BATCH_JOBS` in one request: all of one request or none."""
        found: list[JobRecord] = []
        for start in range(0, len(specifications), BATCH_JOBS):
            body = {"jobs": list(specifications[start : start + BATCH_JOBS])}
            found += map(job_from, (await self.post_json("/v1/jobs:batch", body))["data"])
        return found

    async def add_points(self, sweep_id: str, points: Sequence[Mapping[str, Any]]) -> list[JobRecord]:
        """Create the jobs of further points of a sweep."""
        answer = await self.post_json(f"{sweep_path(sweep_id)}/points", {"list": list(points)})
        return [job_from(document) for document in answer["data"]]

    async def dry_run(self, specification: Mapping[str, Any]) -> Json:
        """Resolve a job without creating it."""
        return await self.post_json("/v1/jobs", specification, {"dry_run": "true"})

    async def job(self, job_id: str, wait_s: float = 0.0) -> JobRecord:
        """One job as it is now, or when it has ended or `wait_s` seconds are over, if not before."""
        return job_from(await self._awaited(job_path(job_id), {}, wait_s))

    async def sweep(self, sweep_id: str, wait_s: float = 0.0) -> Json:
        """One sweep likewise, with its jobs and without curves."""
        return await self._awaited(sweep_path(sweep_id), {"curves": "0"}, wait_s)

    async def _awaited(self, path: str, query: Mapping[str, str], wait_s: float) -> Json:
        """GET what ends some time; at once where as many answers are awaited as may be."""
        if wait_s <= 0 or not self._places.acquire(blocking=False):
            return await self.get_json(path, query)
        asked_s = min(wait_s, LONGEST_WAIT_S, self.transport.timeout_s / 2)
        try:
            return await self.get_json(path, {**query, "wait_s": f"{asked_s:.3f}"})
        finally:
            self._places.release()

    async def act(self, job_id: str, verb: str) -> JobRecord:
        """`cancel`, `pause` or `resume` a job. A move that a lost attempt already made is no conflict."""
        try:
            return job_from(await self.post_json(f"{job_path(job_id)}/{verb}", {}))
        except ConflictError as error:
            if error.retried and (job := await self.job(job_id)).status in _AFTER[verb]:
                return job
            raise

    async def fork(self, job_id: str, changes: Mapping[str, Any], checkpoint: int | str | None = None) -> JobRecord:
        """Create a job that starts from another one's weights, or from those of a checkpoint."""
        chosen = {} if checkpoint is None else {"checkpoint": str(checkpoint)}
        return job_from(await self.post_json(f"{job_path(job_id)}/fork", changes, chosen))

    async def patch(self, job_id: str, changes: Mapping[str, Any]) -> JobRecord:
        """Change a job's name, tags or priority."""
        return job_from(parse_json((await self.call(json_request("PATCH", job_path(job_id), changes))).content))

    async def delete(self, path: str) -> None:
        """DELETE a resource."""
        await self.call(Request("DELETE", path))

    async def listed(self, path: str, query: Mapping[str, str], limit: int | None) -> AsyncIterator[Json]:
        """The items of a cursor list, page by page, at most `limit` of them."""
        left = limit
        query = dict(query)
        while left is None or left > 0:
            query["limit"] = str(100 if left is None else min(left, 100))
            page = await self.get_json(path, query)
            for item in page["data"]:
                yield item
            if left is not None:
                left -= len(page["data"])
            if not page.get("has_more") or not page["data"]:
                return
            query["after"] = str(page["last_id"])

    async def dataset(self, dataset_id: str) -> DatasetRecord:
        """One data set."""
        return dataset_from(await self.get_json(dataset_path(dataset_id)))

    async def upload_file(
        self, path: Path, options: Mapping[str, Any], progress: ProgressCallback | None
    ) -> DatasetRecord:
        """Stream a file to the service as a new data set; memory stays small whatever its size."""
        size = path.stat().st_size

        request = _upload_request(path.name, options, partial(chunks, path), size)
        return await self._upload(replace(request, progress=progress))

    async def upload_files(
        self, paths: Sequence[Path], options: Mapping[str, Any], progress: ProgressCallback | None
    ) -> DatasetRecord:
        """Stream several files, such as an IDX pair, as one data set."""
        form = Form(paths, _json(options))
        headers = {"Content-Type": form.content_type}
        return await self._upload(Request("POST", "/v1/datasets", {}, headers, form.body, form.size, progress))

    async def upload_bytes(self, filename: str, content: bytes, options: Mapping[str, Any]) -> DatasetRecord:
        """Send bytes as a new data set."""
        return await self._upload(_upload_request(filename, options, content, None))

    async def _upload(self, request: Request) -> DatasetRecord:
        return dataset_from(parse_json((await self.call(request)).content))

    async def predict(self, job_id: str, rows: Sequence[Any]) -> Json:
        """What a finished job says about rows."""
        return await self.post_json(f"{job_path(job_id)}/predict", {"rows": list(rows)})

    async def evaluate(self, job_id: str, dataset: str, checkpoint: int | str | None = None) -> Json:
        """Figures of a job on a data set."""
        chosen = {} if checkpoint is None else {"checkpoint": str(checkpoint)}
        return await self.post_json(f"{job_path(job_id)}/evaluate", {"dataset": dataset}, chosen)

    async def card(self, job_id: str) -> Json:
        """The model card of a job."""
        return await self.get_json(f"{job_path(job_id)}/card")

    async def card_text(self, job_id: str) -> str:
        """The same as Markdown."""
        return (await self.call(Request("GET", f"{job_path(job_id)}/card", {"format": "md"}))).content.decode()

    async def weights(self, job_id: str, file_format: str, checkpoint: int | str | None = None) -> bytes:
        """A job's weights file, or that of a checkpoint (a step, or `latest`), whole and verified.

        Raises:
            CorruptDownloadError: the bytes do not have the SHA-256 of the answer's header.
        """
        chosen = {} if checkpoint is None else {"checkpoint": str(checkpoint)}
        request = Request("GET", f"{job_path(job_id)}/weights", {"format": file_format, **chosen})
        reply = await self.call(request)
        named, found = named_sha256(reply.headers), hashlib.sha256(reply.content).hexdigest()
        if named != found:
            raise CorruptDownloadError(f"the weights of {job_id} have SHA-256 {found}, the service names {named}")
        return reply.content

    async def lecture_row(self, row: str) -> Json:
        """A row of the lecture with its numbers."""
        return await self.get_json(f"/v1/lecture/{_step(row, 'a row')}")

    async def explanation(self, job_id: str, name: str, query: Mapping[str, str]) -> Json:
        """What a job has learned, in numbers."""
        return await self.get_json(_explanation_path(job_id, name), {**query, "format": "json"})

    async def picture(self, job_id: str, name: str, query: Mapping[str, str]) -> bytes:
        """The same as PNG, whole and verified. Raises CorruptDownloadError."""
        reply = await self.call(Request("GET", _explanation_path(job_id, name), {**query, "format": "png"}))
        named, found = named_sha256(reply.headers), hashlib.sha256(reply.content).hexdigest()
        if named != found:
            raise CorruptDownloadError(f"the picture {name} of {job_id} has SHA-256 {found}, the service names {named}")
        return reply.content


def json_request(method: str, path: str, body: Mapping[str, Any], query: Mapping[str, str] | None = None) -> Request:
    """A request with a JSON body.

    Raises:
        InvalidArgumentError: it holds what JSON has no word for: NaN, an infinity, an object of another kind.
    """
    return Request(method, path, query or {}, {"Content-Type": "application/json"}, _json(body).encode())


def job_path(job_id: str) -> str:
    """Where a job lives. Raises InvalidArgumentError for an empty id."""
    return f"/v1/jobs/{_step(job_id, 'a job')}"


def sweep_path(sweep_id: str) -> str:
    """Where a sweep lives. Raises InvalidArgumentError for an empty id."""
    return f"/v1/sweeps/{_step(sweep_id, 'a sweep')}"


def _explanation_path(job_id: str, name: str) -> str:
    return f"{job_path(job_id)}/explanations/{_step(name, 'an explanation')}"


def dataset_path(dataset_id: str) -> str:
    """Where a data set lives. Raises InvalidArgumentError for an empty id."""
    return f"/v1/datasets/{_step(dataset_id, 'a data set')}"


def _step(name: str, of: str) -> str:
    """An id as one step of a path: whatever it holds, it leads nowhere else."""
    if not name.strip("."):
        raise InvalidArgumentError(f"the id of {of} is {name!r}; must be one that the service made")
    return quote(name, safe="")


def pause_s(attempt: int, wanted_s: float | None = None) -> float:
    """Seconds before the next attempt: what the service wants, else doubling from 0.1 s to 5 s, with ± 25 % jitter."""
    doubled = min(FIRST_PAUSE_S * 2.0 ** min(attempt, 16), LONGEST_PAUSE_S)
    base = doubled if wanted_s is None else min(max(wanted_s, FIRST_PAUSE_S), 30.0)
    return base * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret


def named_sha256(headers: Mapping[str, str]) -> str | None:
    """The hexadecimal SHA-256 in an answer's headers, or None."""
    return headers.get("x-content-sha256")


def _json(body: Mapping[str, Any]) -> str:
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(_unsendable(body) or f"this cannot be sent as JSON: {error}") from error


def _plain(value: Any) -> Any:
    """Scalars and arrays of NumPy as JSON has them; a data set by its id."""
    if is_array(value):
        return value.tolist()
    if isinstance(value, DatasetRecord):
        return value.id
    raise TypeError(f"a {type(value).__name__} is no JSON value")


def _unsendable(value: Any, path: str = "") -> str | None:
    """The first number below `value` that is not finite, with its place."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{path or '/'}: is {value}; must be a finite number"
    below = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    return next((found for key, one in below if (found := _unsendable(one, f"{path}/{key}"))), None)


def _upload_request(filename: str, options: Mapping[str, Any], body: Any, length: int | None) -> Request:
    query = {"filename": filename, "options": _json(options)}
    headers = {"Content-Type": "application/octet-stream"}
    return Request("POST", "/v1/datasets", query, headers, body, length)


def _checked(reply: Reply, request: Request, attempt: int) -> Reply:
    """An answer below 400, or its exception. What a lost DELETE already removed counts as removed."""
    if reply.status < 400:
        return reply
    error = error_from(reply.status, reply.content, request.path)
    error.retried = attempt > 0
    if isinstance(error, NotFoundError) and request.method == "DELETE" and error.retried:
        return reply
    raise error


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None
