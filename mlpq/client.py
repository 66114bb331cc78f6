"""The clients: `Client().train(...)` and what follows from it, blocking or for asyncio; every call is written once."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar, Unpack, cast

import mlpq
from mlpq.api import Api
from mlpq.both import Asyncio, Blocking, iteration, operation
from mlpq.config import resolve
from mlpq.job import AsyncJob, Job, JobCalls
from mlpq.records import JobRecord, Json, job_from
from mlpq.settings import Part, TrainSettings, job_specification
from mlpq.sweep import AsyncSweep, Sweep, plain
from mlpq.sweeping import SweepingCalls
from mlpq.transport import BlockingTransport, Transport
from mlpq.uploading import Dataset

J = TypeVar("J")
"""The handles of jobs: `Job` or `AsyncJob`."""

S = TypeVar("S")
"""The handles of sweeps: `Sweep` or `AsyncSweep`."""


class ClientCalls(SweepingCalls[S], ABC, Generic[J, S]):
    """What `Client` and `AsyncClient` have in common: all but how a call is made and how requests travel."""

    _handles: ClassVar[type[JobCalls[Any]]]

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        timeout: float = 30.0,
        *,
        patience_s: float = 15.0,
        profile: str | None = None,
    ) -> None:
        config = resolve(url, api_key, profile)
        for warning in config.warnings:
            warnings.warn(warning, stacklevel=2)
        self.url, key = str(config.url.value), config.key.value
        self._made_with = (type(self), url, api_key, timeout, patience_s, profile)
        headers = {"User-Agent": f"mlpq/{mlpq.__version__}"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._api = Api(self._transport(headers, timeout), patience_s)

    def __reduce__(self) -> tuple[Any, ...]:
        """What is unpickled, in another process, is made in the same way and has connections of its own."""
        return _again, self._made_with

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copies of what holds a client share it: connections have no copies, and threads may share a client."""
        return self

    @abstractmethod
    def _transport(self, headers: Mapping[str, str], timeout: float) -> Transport:
        """How this client's requests travel."""

    @operation
    async def close(self) -> None:
        """Give the connections back.

        >>> client = Client()
        >>> client.close()
        """
        await self._api.transport.close()

    @operation
    async def train(self, dataset: Dataset, *, target: str | None = None, **settings: Unpack[TrainSettings]) -> J:
        """Queue a training job and return its handle at once.

        >>> job = client.train("iris", hidden=[8], epochs=5)
        >>> job.wait().status
        'succeeded'
        >>> client.train(([[1.0, 2.0], [2.0, 1.0]] * 20, ["up", "down"] * 20), epochs=2).wait().progress.epoch
        2

        Args:
            dataset: an id, a path of a data file, or `(X, y)`; files and arrays are uploaded first.
            target: of a file the column to predict; default the last of a table, `y` of an NPZ.
            settings: see `TrainSettings`; none is required.

        Raises:
            InvalidInputError: the service refuses a setting; `errors` names each with its allowed range.
        """
        return self._handle(await self._api.submit(await self._specification(dataset, target, settings)))

    @operation
    async def submit(self, specification: Mapping[str, Any]) -> J:
        """Queue a job from a whole specification, as in the HTTP contract.

        >>> client.submit({"dataset": "iris", "training": {"epochs": 2}}).record.dataset
        'iris'
        """
        return self._handle(await self._api.submit(specification))

    @operation
    async def submit_many(self, specifications: Sequence[Mapping[str, Any]]) -> list[J]:
        """Queue many jobs from whole specifications; their handles in the same order.

        >>> jobs = client.submit_many([{"dataset": "iris", "training": {"epochs": 1, "seed": n}} for n in range(3)])
        >>> [job.wait().status for job in jobs]
        ['succeeded', 'succeeded', 'succeeded']

        Up to 1 000 go in one request, which is recorded whole or not at all.

        Raises:
            InvalidInputError: some are wrong; `errors` names each, as in `/jobs/3/net/hidden`.
        """
        return [self._handle(record) for record in await self._api.submit_many(specifications)]

    @operation
    async def add_points(self, sweep_id: str, points: Sequence[Part]) -> list[J]:
        """Queue jobs for further points of a sweep that was made with `points`; see also `Sweep.add`.

        >>> study = client.sweep("iris", points=[{"net.hidden": [4]}], base={"training": {"epochs": 2}})
        >>> [job.wait().status for job in client.add_points(study.id, [{"net.hidden": []}])]
        ['succeeded']
        """
        return [self._handle(record) for record in await self._api.add_points(sweep_id, plain(points))]

    @operation
    async def fork(self, job_id: str, changes: Mapping[str, Any], checkpoint: int | str | None = None) -> J:
        """Queue a job from another one's weights with changes as in the HTTP contract; see also `Job.fork`.

        >>> client.fork(job.id, {"training": {"epochs": 3}}).record.raw["origin"]["job"] == job.id
        True
        """
        return self._handle(await self._api.fork(job_id, changes, checkpoint))

    @operation
    async def dry_run(self, dataset: Dataset, *, target: str | None = None, **settings: Unpack[TrainSettings]) -> Json:
        """What `train` would do: the resolved spec, parameter count, memory, initial loss, gradient check.

        >>> client.dry_run("iris", hidden=[8])["parameters"]  # 4 * 8 + 8 + 8 * 3 + 3
        67
        """
        return await self._api.dry_run(await self._specification(dataset, target, settings))

    @operation
    async def dry_run_of(self, specification: Mapping[str, Any]) -> Json:
        """What `submit` would do.

        >>> client.dry_run_of({"dataset": "iris", "net": {"hidden": []}})["parameters"]
        15
        """
        return await self._api.dry_run(specification)

    @operation
    async def job(self, job_id: str) -> J:
        """A handle on an existing job.

        >>> client.job(job.id)
        <Job job_... succeeded on iris, epoch 5/5>
        """
        return self._handle(await self._api.job(job_id))

    @iteration
    async def jobs(self, status: str | None = None, tag: str | None = None, limit: int | None = 20) -> AsyncIterator[J]:
        """Jobs, newest first; `limit=None` goes on to the oldest.

        >>> [found.status for found in client.jobs(status="succeeded", limit=1)]
        ['succeeded']
        """
        asked = {"status": status, "tag": tag}
        query = {name: value for name, value in asked.items() if value is not None}
        async for document in self._api.listed("/v1/jobs", query, limit):
            yield self._handle(job_from(document))

    @operation
    async def capabilities(self) -> Json:
        """Every activation, loss, optimizer, schedule and initializer, with parameters, ranges, defaults and docs.

        >>> [row["name"] for row in client.capabilities()["losses"]][:2]
        ['softmax', 'svm']
        """
        return await self._api.get_json("/v1/capabilities")

    @operation
    async def lecture(self) -> list[Json]:
        """Every row of the lecture behind the service: what it says and where a user meets it, without its numbers.

        >>> client.lecture()[0]["id"]
        'L01'
        """
        return list((await self._api.get_json("/v1/lecture"))["data"])

    @operation
    async def lecture_row(self, row: str) -> Json:
        """One row, such as `L04`, with its numbers, which the service computes now. Raises NotFoundError.

        >>> client.lecture_row("L04")["ok"]
        True
        """
        return await self._api.lecture_row(row)

    @operation
    async def queue(self) -> Json:
        """How many jobs wait and run.

        >>> client.queue()["object"]
        'queue'
        """
        return await self._api.get_json("/v1/queue")

    @operation
    async def workers(self) -> Json:
        """The workers that are alive, with host, device and present jobs.

        >>> [worker["device"] for worker in client.workers()["data"]]
        ['cpu']
        """
        return await self._api.get_json("/v1/workers")

    async def _specification(self, dataset: Dataset, target: str | None, settings: Mapping[str, Any]) -> Json:
        """The body of a job; unknown settings are refused before anything is uploaded."""
        body = job_specification("", settings)
        return body | {"dataset": await self._dataset_id(dataset, target)}

    def _handle(self, record: JobRecord) -> J:
        return cast("J", self._handles(self._api, record))


class Client(ClientCalls[Job, Sweep], Blocking):
    """A connection to one service.

    Args:
        url: where the service is; default `MLPQ_URL`, else the config file's, else http://127.0.0.1:8000.
        api_key: default `MLPQ_API_KEY` (the first, where it lists several), else the config file's for this address; a
            service on loopback needs none.
        timeout: seconds without a byte after which one attempt is given up.
        patience_s: seconds during which lost connections and a busy service are tried again; every POST carries an
            idempotency key, so nothing is ever done twice.
        profile: a part of the config file, see `mlpq.config`; default `MLPQ_PROFILE`.
    """

    _handles = Job
    _sweeps = Sweep

    def _transport(self, headers: Mapping[str, str], timeout: float) -> Transport:
        return BlockingTransport(self.url, headers, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(ClientCalls[AsyncJob, AsyncSweep], Asyncio):
    """A connection to one service, for asyncio: every call of `Client` is awaited, lists and streams are read with
    `async for`. It takes the same arguments, and belongs to the event loop that first uses it.

    >>> import asyncio
    >>> from mlpq import AsyncClient
    >>> async def train(*widths: int) -> list[str]:
    ...     async with AsyncClient() as client:
    ...         jobs = [await client.train("iris", hidden=[width], epochs=3) for width in widths]
    ...         return [job.status for job in await asyncio.gather(*(job.wait() for job in jobs))]
    >>> asyncio.run(train(4, 8))
    ['succeeded', 'succeeded']
    """

    _handles = AsyncJob
    _sweeps = AsyncSweep

    def _transport(self, headers: Mapping[str, str], timeout: float) -> Transport:
        from mlpq.asyncio_transport import AsyncioTransport

        return AsyncioTransport(self.url, headers, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _again(
    kind: type[ClientCalls[Any, Any]],
    url: str | None,
    api_key: str | None,
    timeout: float,
    patience_s: float,
    profile: str | None,
) -> ClientCalls[Any, Any]:
    return kind(url, api_key, timeout, patience_s=patience_s, profile=profile)
