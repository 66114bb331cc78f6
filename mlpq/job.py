"""A handle on one job, blocking or for asyncio: every call is written once."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar, Unpack, cast

import numpy as np

from mlpq.api import Api, job_path
from mlpq.arrays import Array, arrays_from_npz, columns_to_arrays, json_rows
from mlpq.both import Asyncio, Blocking, iteration, operation
from mlpq.errors import JobFailedError, WaitTimeoutError
from mlpq.events import Event, StatusEvent
from mlpq.files import write_whole
from mlpq.records import DatasetRecord, JobProblem, JobRecord, Json, Progress
from mlpq.results import Evaluation, Prediction
from mlpq.settings import TrainSettings, job_changes
from mlpq.watching import Watch

J = TypeVar("J")
"""The handle itself: `Job` or `AsyncJob`."""

WATCH_PATIENCE_S = 300.0
FIRST_POLL_S, POLL_S, POLL_SHARE = 0.02, 0.5, 0.1
"""`wait` asks again after a tenth of what it has waited: a short job's end is seen at once, a long job asked rarely."""
FORMATS_BY_ENDING = {"pt": "torch", "pth": "torch", "py": "predict.py"}
"""Formats of weights whose files end otherwise."""

PREDICT_ROWS = 2000
"""Rows sent at once; more go in several requests."""


class JobCalls(Generic[J]):
    """What `Job` and `AsyncJob` have in common: all but how a call is made."""

    def __init__(self, api: Api, record: JobRecord) -> None:
        self._api = api
        self.record = record

    @property
    def id(self) -> str:
        """The job's id, `job_…`."""
        return self.record.id

    @property
    def status(self) -> str:
        """`queued running pausing paused cancelling succeeded failed cancelled`, as of the last answer."""
        return self.record.status

    @property
    def progress(self) -> Progress:
        """Epochs and steps done, as of the last answer."""
        return self.record.progress

    @property
    def error(self) -> JobProblem | None:
        """Why the job failed, or None."""
        return self.record.error

    @property
    def spec(self) -> Mapping[str, Any]:
        """The resolved specification: every default filled in."""
        return self.record.spec

    @property
    def final_metrics(self) -> Mapping[str, float | None]:
        """Losses and scores of the finished net, by name; empty before."""
        return self.record.metrics

    @property
    def ended(self) -> bool:
        """Whether the status is final, as of the last answer."""
        return self.record.ended

    def __repr__(self) -> str:
        done = f"{self.progress.epoch}/{self.progress.epochs}"
        return f"<{type(self).__name__} {self.id} {self.status} on {self.record.dataset}, epoch {done}>"

    @operation
    async def refresh(self) -> J:
        """Ask the service how the job is now."""
        return await self._refreshed()

    @iteration
    async def events(self, after: int = 0, patience_s: float = WATCH_PATIENCE_S) -> AsyncIterator[Event]:
        """The job's events from its beginning (or behind event `after`) to its end, each exactly once.

        Lost connections are taken up again behind the last event, also across a restart of the service. If the service
        has trimmed older history it says so with a `ResetEvent`, and the next event's id jumps.

        Raises:
            ServiceUnreachableError: nothing was heard for `patience_s` seconds.
        """
        async with aclosing(self._events(after, patience_s)) as events:
            async for event in events:
                yield event

    @iteration
    async def watch(self, after: int = 0, patience_s: float = WATCH_PATIENCE_S) -> AsyncIterator[Event]:
        """The same as `events`."""
        async with aclosing(self._events(after, patience_s)) as events:
            async for event in events:
                yield event

    @operation
    async def wait(self, timeout_s: float | None = None, *, check: bool = True) -> J:
        """Return when the job has ended.

        Raises:
            JobFailedError: it ended as failed or cancelled (not with `check=False`).
            WaitTimeoutError: it had not ended after `timeout_s` seconds.
        """
        start = time.monotonic()
        await self._refreshed()
        while not self.ended:
            waited = time.monotonic() - start
            left = math.inf if timeout_s is None else timeout_s - waited
            if left <= 0:
                raise WaitTimeoutError(f"{self.id} is still {self.status} after {timeout_s} s")
            await self._api.transport.sleep(min(max(waited * POLL_SHARE, FIRST_POLL_S), POLL_S, left))
            await self._refreshed()
        if check and self.status != "succeeded":
            raise JobFailedError(self.id, self.status, self.error)
        return self._this

    @operation
    async def metrics(self, after_step: int | None = None, max_points: int | None = None) -> dict[str, Array]:
        """The curves so far, as equally long arrays: `step`, `epoch`, `train_loss`, `val_loss`, ….

        Args:
            after_step: only points behind this step.
            max_points: let the service thin the curves to about so many points.
        """
        asked = {"after_step": after_step, "max_points": max_points}
        query = {name: str(value) for name, value in asked.items() if value is not None}
        document = await self._api.get_json(f"{job_path(self.id)}/metrics", query)
        return columns_to_arrays(document["columns"])

    @operation
    async def weights(self, checkpoint: int | str | None = None) -> dict[str, Array]:
        """The trained arrays by name: `W1` (in, out), `b1` (out,), …, the preprocessing, and `meta` (JSON text).

        Args:
            checkpoint: the weights of a checkpoint instead of the result: its step, or `latest`.

        Raises:
            CorruptDownloadError: the bytes are not those that the service stored.
            NotFoundError: the job has no weights (yet).
        """
        content = await self._api.weights(self.id, "npz", checkpoint)
        return await self._api.transport.work(arrays_from_npz, content)

    @operation
    async def save_weights(
        self, path: str | Path, file_format: str | None = None, checkpoint: int | str | None = None
    ) -> Path:
        """Write the weights file, whole or not at all.

        The format follows the ending: `.npz`, `.safetensors`, `.pt` for `torch`, `.py` for `predict.py`.
        """
        target = Path(path)
        ending = target.suffix.removeprefix(".") or "npz"
        chosen = file_format or FORMATS_BY_ENDING.get(ending, ending)
        content = await self._api.weights(self.id, chosen, checkpoint)
        await self._api.transport.work(write_whole, target, content)
        return target

    @operation
    async def predict(self, rows: Array | Sequence[Any]) -> Prediction:
        """What the trained net says about raw rows; the service applies the job's own preprocessing.

        Args:
            rows: (n, features) numbers, or dictionaries `{column: value}`.
        """
        listed = json_rows(rows)
        starts = range(0, max(len(listed), 1), PREDICT_ROWS)
        parts = [await self._api.predict(self.id, listed[at : at + PREDICT_ROWS]) for at in starts]
        predictions = [value for part in parts for value in part["predictions"]]
        probabilities = [row for part in parts for row in part.get("probabilities") or ()]
        classes = tuple(str(name) for name in parts[0].get("classes") or ())
        return Prediction(np.asarray(predictions), np.asarray(probabilities) if probabilities else None, classes)

    @operation
    async def evaluate(self, dataset: str | DatasetRecord, checkpoint: int | str | None = None) -> Evaluation:
        """How well the trained net does on every row of a data set that has the same columns.

        Args:
            dataset: a record, or an id of the service.
            checkpoint: the weights of a checkpoint instead of the result: its step, or `latest`.
        """
        name = dataset.id if isinstance(dataset, DatasetRecord) else dataset
        found = await self._api.evaluate(self.id, name, checkpoint)
        matrix = found.get("confusion_matrix")
        confusion = None if matrix is None else np.asarray(matrix, np.int64)
        return Evaluation(int(found["n_rows"]), found["metrics"], tuple(found.get("classes") or ()), confusion)

    @operation
    async def card(self) -> Json:
        """The model card: data, spec, figures, environment, files with their hashes."""
        return await self._api.card(self.id)

    @operation
    async def card_text(self) -> str:
        """The model card as Markdown."""
        return await self._api.card_text(self.id)

    @operation
    async def explanations(self) -> dict[str, str | None]:
        """By name why this job has no such explanation; None for those that it has once it has weights."""
        listed = (await self._api.get_json(f"{job_path(self.id)}/explanations"))["data"]
        return {one["id"]: one["reason"] for one in listed}

    @operation
    async def explanation(
        self,
        /,
        name: str,
        *,
        dataset: str | DatasetRecord | None = None,
        checkpoint: int | str | None = None,
        **options: str | int,
    ) -> Json:
        """What the net has learned, in numbers: the service's JSON.

        Args:
            name: `confusion`, `templates`, `boundary`, `importance`, `histograms`, `calibration`, `gradient_check`.
            dataset: another data set with the same columns, where the explanation is taken on rows.
            checkpoint: a step, or `latest`; default the result, or the newest checkpoint of a job without one.
            options: the explanation's own, such as `rows="train"`; `GET /v1/capabilities` lists them.

        Raises:
            InvalidInputError: an unknown option's value, or a job that has no such explanation: `detail` says why.
            NotFoundError: the job has no weights (yet).
        """
        return await self._api.explanation(self.id, name, _asked(dataset, checkpoint, options))

    @operation
    async def picture(
        self,
        /,
        name: str,
        path: str | Path | None = None,
        *,
        width: int | None = None,
        dataset: str | DatasetRecord | None = None,
        checkpoint: int | str | None = None,
        **options: str | int,
    ) -> bytes:
        """The picture of an explanation, as PNG.

        Args:
            name: see `explanation`.
            path: where it is written too, whole or not at all.
            width: pixels across, 200..2400.
            dataset: see `explanation`.
            checkpoint: see `explanation`.
            options: see `explanation`.
        """
        asked = options if width is None else options | {"width": width}
        content = await self._api.picture(self.id, name, _asked(dataset, checkpoint, asked))
        if path is not None:
            await self._api.transport.work(write_whole, Path(path), content)
        return content

    @operation
    async def cancel(self) -> J:
        """Stop the job for good; a running one stops within two seconds."""
        return await self._act("cancel")

    @operation
    async def pause(self) -> J:
        """Checkpoint the job and release its worker until `resume`."""
        return await self._act("pause")

    @operation
    async def resume(self) -> J:
        """Queue a paused job again; it goes on where it stopped."""
        return await self._act("resume")

    @operation
    async def fork(
        self,
        *,
        dataset: str | DatasetRecord | None = None,
        checkpoint: int | str | None = None,
        **settings: Unpack[TrainSettings],
    ) -> J:
        """Queue a job that starts from this one's weights; its handle.

        Args:
            dataset: other rows, with the same columns and classes; default this job's own.
            checkpoint: start from the weights of a checkpoint instead of the result: its step, or `latest`.
            settings: what changes, see `TrainSettings`. All else stays; the optimizer starts afresh.

        Raises:
            InvalidInputError: a net with these settings cannot start from these weights.
            NotFoundError: the job has no weights (yet).
        """
        changes = job_changes(settings)
        if dataset is not None:
            changes["dataset"] = dataset.id if isinstance(dataset, DatasetRecord) else dataset
        return self._like(await self._api.fork(self.id, changes, checkpoint))

    @operation
    async def update(self, /, **changes: Any) -> J:
        """Change `name`, `tags` or `priority`."""
        self.record = await self._api.patch(self.id, changes)
        return self._this

    @operation
    async def delete(self) -> None:
        """Forget an ended job and its files."""
        await self._api.delete(job_path(self.id))

    async def _act(self, verb: str) -> J:
        self.record = await self._api.act(self.id, verb)
        return self._this

    @property
    def _this(self) -> J:
        return cast("J", self)

    def _like(self, record: JobRecord) -> J:
        """A handle of the same kind on another job."""
        return cast("J", type(self)(self._api, record))

    async def _refreshed(self) -> J:
        self.record = await self._api.job(self.id)
        return self._this

    async def _events(self, after: int, patience_s: float) -> AsyncGenerator[Event]:
        """The stream; what it tells about the job is kept, and the job is as it is in the end."""
        async with aclosing(Watch(self._api, self.id, after, patience_s).events()) as events:
            async for event in events:
                if isinstance(event, StatusEvent):
                    self.record = replace(self.record, status=event.status, status_reason=event.reason)
                yield event
        self.record = await Api(self._api.transport, patience_s).job(self.id)

    def to_json(self) -> Json:
        """The job exactly as the service described it last."""
        return dict(self.record.raw)


class Job(JobCalls["Job"], Blocking):
    """One job on the service. Its attributes are those of the last answer; `refresh` asks again."""


class AsyncJob(JobCalls["AsyncJob"], Asyncio):
    """One job on the service, for asyncio: every call of `Job` is awaited, streams are read with `async for`."""


def _asked(
    dataset: str | DatasetRecord | None, checkpoint: int | str | None, options: Mapping[str, str | int]
) -> dict[str, str]:
    """The query of an explanation."""
    name = dataset.id if isinstance(dataset, DatasetRecord) else dataset
    asked = {"dataset": name, "checkpoint": checkpoint, **options}
    return {key: str(value) for key, value in asked.items() if value is not None}
