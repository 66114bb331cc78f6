"""A handle on one job, blocking or for asyncio: every call is written once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, nullcontext, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar, Unpack, cast

from mlpq.api import Api, job_path
from mlpq.arrays import Array, arrays_from_npz, as_array, columns_to_arrays, json_rows
from mlpq.bars import job_bar, nothing
from mlpq.both import Asyncio, Blocking, iteration, operation
from mlpq.errors import JobFailedError, MlpqError
from mlpq.events import Event, MetricEvent
from mlpq.explained import Explained
from mlpq.files import write_whole
from mlpq.records import DatasetRecord, JobRecord
from mlpq.results import Evaluation, Prediction, unseen_in
from mlpq.settings import TrainSettings, job_changes
from mlpq.transport import run
from mlpq.waiting import until_ended
from mlpq.watching import Watch

J = TypeVar("J")
"""The handle itself: `Job` or `AsyncJob`."""

WATCH_PATIENCE_S = 300.0
LONGEST_POLL_S = 0.5
FORMATS_BY_ENDING = {"pt": "torch", "pth": "torch", "py": "predict.py"}
"""Formats of weights whose files end otherwise."""

CARD_POINTS = 300
"""Points of the curve on a job's card."""

PREDICT_ROWS = 2000
"""Rows sent at once; more go in several requests."""


class JobCalls(Explained, Generic[J]):
    """What `Job` and `AsyncJob` have in common: all but how a call is made."""

    @operation
    async def refresh(self) -> J:
        """Ask the service how the job is now.

        >>> job.refresh().status
        'succeeded'
        """
        return await self._refreshed()

    @iteration
    async def events(self, after: int = 0, patience_s: float = WATCH_PATIENCE_S) -> AsyncIterator[Event]:
        """The job's events from its beginning (or behind event `after`) to its end, each exactly once.

        Lost connections are taken up again behind the last event, also across a restart of the service. If the service
        has trimmed older history it says so with a `ResetEvent`, and the next event's id jumps.

        >>> [event.epoch for event in job.events() if event.type == "metric"]
        [1, 2, 3, 4, 5]

        Raises:
            ServiceUnreachableError: nothing was heard for `patience_s` seconds.
        """
        async with aclosing(self._events(after, patience_s)) as events:
            async for event in events:
                yield event

    @iteration
    async def watch(self, after: int = 0, patience_s: float = WATCH_PATIENCE_S) -> AsyncIterator[Event]:
        """The same as `events`; in a notebook a card with the curve is drawn meanwhile.

        A cell that ends with `job.watch()`, or with `await job.watch();` for asyncio, follows the job to its end.

        >>> *_, end = job.watch()
        >>> end.status
        'succeeded'
        """
        from mlpq.notebook.live import live_card

        with live_card(self) as redraw:
            async with aclosing(self._events(after, patience_s)) as events:
                async for event in events:
                    redraw(isinstance(event, MetricEvent))
                    yield event

    @operation
    async def wait(self, timeout_s: float | None = None, *, check: bool = True, progress: bool = False) -> J:
        """Return when the job has ended.

        >>> job.wait(timeout_s=60).ended
        True

        Args:
            timeout_s: seconds after which waiting ends; the job goes on.
            check: whether an end without a result is an error.
            progress: a bar on standard error if that is a terminal, or a card in a notebook.

        Raises:
            JobFailedError: it ended as failed or cancelled (not with `check=False`).
            WaitTimeoutError: it had not ended after `timeout_s` seconds.
        """
        with job_bar(self) if progress else nullcontext(nothing) as redraw:
            await until_ended(
                self,
                self._refreshed,
                self._api.transport.sleep,
                timeout_s=timeout_s,
                longest_poll_s=LONGEST_POLL_S,
                redraw=redraw,
            )
        if check and self.status != "succeeded":
            raise JobFailedError(self.id, self.status, self.error)
        return self._this

    @operation
    async def metrics(self, after_step: int | None = None, max_points: int | None = None) -> dict[str, Array]:
        """The curves so far, as equally long arrays: `step`, `epoch`, `train_loss`, `val_loss`, ….

        >>> curves = job.metrics()
        >>> curves["epoch"].tolist()
        [1, 2, 3, 4, 5]
        >>> bool(curves["train_loss"][-1] < curves["train_loss"][0])
        True

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

        >>> {name: array.shape for name, array in job.weights().items() if name[0] in "Wb"}
        {'W1': (4, 8), 'b1': (8,), 'W2': (8, 3), 'b2': (3,)}

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

        >>> job.save_weights("net.npz").stat().st_size > 1000
        True
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

        >>> said = job.predict([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])
        >>> said.predictions.shape, said.probabilities.shape, said.classes
        ((2,), (2, 3), ('setosa', 'versicolor', 'virginica'))

        Args:
            rows: (n, features) numbers, images as they were uploaded, or dictionaries `{column: value}`.
        """
        listed = json_rows(rows)
        starts = range(0, max(len(listed), 1), PREDICT_ROWS)
        parts = [await self._api.predict(self.id, listed[at : at + PREDICT_ROWS]) for at in starts]
        predictions = [value for part in parts for value in part["predictions"]]
        probabilities = [row for part in parts for row in part.get("probabilities") or ()]
        classes = tuple(str(name) for name in parts[0].get("classes") or ())
        chances = as_array(probabilities) if probabilities else None
        return Prediction(as_array(predictions), chances, classes, unseen_in(parts))

    @operation
    async def evaluate(self, dataset: str | DatasetRecord, checkpoint: int | str | None = None) -> Evaluation:
        """How well the trained net does on every row of a data set that has the same columns.

        >>> found = job.evaluate("iris")
        >>> found.n_rows, found.confusion.shape
        (150, (3, 3))

        Args:
            dataset: a record, or an id of the service.
            checkpoint: the weights of a checkpoint instead of the result: its step, or `latest`.
        """
        name = dataset.id if isinstance(dataset, DatasetRecord) else dataset
        found = await self._api.evaluate(self.id, name, checkpoint)
        matrix = found.get("confusion_matrix")
        confusion = None if matrix is None else as_array(matrix, "int64")
        return Evaluation(int(found["n_rows"]), found["metrics"], tuple(found.get("classes") or ()), confusion)

    @operation
    async def cancel(self) -> J:
        """Stop the job for good; a running one stops within two seconds.

        >>> long = client.train("digits", epochs=1_000_000)
        >>> long.cancel().status in ("cancelling", "cancelled")
        True
        """
        return await self._act("cancel")

    @operation
    async def pause(self) -> J:
        """Checkpoint the job and release its worker until `resume`.

        >>> long = client.train("digits", epochs=1_000_000)
        >>> long.pause().status in ("pausing", "paused")
        True
        >>> _ = long.cancel()
        """
        return await self._act("pause")

    @operation
    async def resume(self) -> J:
        """Queue a paused job again; it goes on where it stopped.

        >>> from mlpq import ConflictError
        >>> try:
        ...     job.resume()
        ... except ConflictError as error:
        ...     print(error.code)
        illegal_transition
        """
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

        >>> job.fork(epochs=3, learning_rate=0.001).wait().progress.epochs
        3

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
        """Change `name`, `tags` or `priority`.

        >>> job.update(name="first try").record.name
        'first try'
        """
        self.record = await self._api.patch(self.id, changes)
        return self._this

    @operation
    async def delete(self) -> None:
        """Forget an ended job and its files.

        >>> client.train("iris", epochs=1).wait().delete()
        """
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

    async def _refreshed(self, wait_s: float = 0.0) -> J:
        self.record = await self._api.job(self.id, wait_s)
        return self._this

    async def _look(self) -> None:
        """The job and its curve as they are now, without patience for a service that is away."""
        api = Api(self._api.transport, 0.0)
        self.record = await api.job(self.id)
        self.curve = (await api.get_json(f"{job_path(self.id)}/metrics", {"max_points": str(CARD_POINTS)}))["columns"]

    async def _events(self, after: int, patience_s: float) -> AsyncGenerator[Event]:
        """The stream; what it tells about the job is kept, and the job is as it is in the end."""
        async with aclosing(Watch(self._api, self.id, after, patience_s).events()) as events:
            async for event in events:
                self._take(event)
                yield event
        self.record = await Api(self._api.transport, patience_s).job(self.id)


class Job(JobCalls["Job"], Blocking):
    """One job on the service. Its attributes are those of the last answer; `refresh` asks again."""

    def _repr_html_(self) -> str:
        with suppress(MlpqError):
            run(self._look())
        return super()._repr_html_()


class AsyncJob(JobCalls["AsyncJob"], Asyncio):
    """One job on the service, for asyncio: every call of `Job` is awaited, streams are read with `async for`."""
