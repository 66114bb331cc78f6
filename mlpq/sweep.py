"""A handle on one sweep, blocking or for asyncio: every call is written once."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from mlpq.api import Api, sweep_path
from mlpq.bars import nothing, sweep_bar
from mlpq.both import Asyncio, Blocking, iteration, operation
from mlpq.errors import JobFailedError
from mlpq.job import AsyncJob, Job, JobCalls
from mlpq.records import Json, job_from
from mlpq.settings import Part
from mlpq.waiting import until_ended

S = TypeVar("S")
"""The handle itself: `Sweep` or `AsyncSweep`."""
J = TypeVar("J")
"""The handles of its jobs."""

LONGEST_POLL_S = 1.0
"""An answer holds every job: it is asked for more rarely than one job is."""
ENDED = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True)
class Trial:
    """A job of a sweep: its point, its objective (None where it has none yet), and how far it is."""

    id: str
    status: str
    status_reason: str | None
    point: Mapping[str, Any]
    objective: float | None
    epoch: int
    rung: int | None
    raw: Mapping[str, Any] = field(repr=False)


class SweepCalls(Generic[S, J]):
    """What `Sweep` and `AsyncSweep` have in common: all but how a call is made.

    Attributes:
        record: the last answer.
    """

    _jobs: type[JobCalls[Any]]

    def __init__(self, api: Api, record: Json) -> None:
        self._api = api
        self.record = record

    @property
    def id(self) -> str:
        """The sweep's id, `swp_…`."""
        return str(self.record["id"])

    @property
    def status(self) -> str:
        """`queued running cancelling succeeded failed cancelled`, as of the last answer."""
        return str(self.record["status"])

    @property
    def ended(self) -> bool:
        """Whether all of its jobs have ended, as of the last answer."""
        return self.status in ENDED

    @property
    def objective(self) -> str:
        """The figure that its jobs are judged by."""
        return str(self.record["objective"])

    @property
    def direction(self) -> str:
        """`minimize` or `maximize`."""
        return str(self.record["direction"])

    @property
    def trials(self) -> list[Trial]:
        """Its jobs in the order of their points, as of the last answer."""
        return [_trial(one) for one in self.record.get("jobs") or ()]

    @property
    def best(self) -> Trial | None:
        """The job whose objective is best, of those that succeeded once there is one; None before any figure."""
        best = self.record.get("best")
        return None if best is None else _trial(best)

    def table(self) -> list[dict[str, Any]]:
        """One row a job, the best first: `job`, every path of its point, the objective, `status`, `epoch`.

        `pandas.DataFrame(sweep.table())` is a data frame.
        """
        sign = -1.0 if self.direction == "maximize" else 1.0
        ranked = sorted(self.trials, key=lambda one: math.inf if one.objective is None else sign * one.objective)
        paths = list(dict.fromkeys(path for one in self.trials for path in one.point))
        return [
            {
                "job": one.id,
                **{path: one.point.get(path) for path in paths},
                self.objective: one.objective,
                "status": one.status,
                "epoch": one.epoch,
            }
            for one in ranked
        ]

    def to_json(self) -> Json:
        """The sweep exactly as the service described it last."""
        return dict(self.record)

    @property
    def headline(self) -> str:
        """Its id and status, and the best objective so far: `swp_… running, best val_loss 0.1154`."""
        best = None if self.best is None else self.best.objective
        return f"{self.id} {self.status}" + ("" if best is None else f", best {self.objective} {best:.4g}")

    @property
    def done(self) -> tuple[int, int]:
        """How many of its jobs have ended, and how many there are, as of the last answer."""
        counts = self.record.get("counts") or {}
        return sum(int(counts.get(status, 0)) for status in ENDED), int(self.record.get("n_jobs") or 0)

    def __repr__(self) -> str:
        ended, of = self.done
        about = f"{self.status} on {self.record.get('dataset')}, {ended} of {of} jobs"
        return f"<{type(self).__name__} {self.id} {about}>"

    def _repr_html_(self) -> str:
        """The sweep as a card, for notebooks."""
        from mlpq.notebook.cards import sweep_card

        return sweep_card(self.record.get("name") or self.id, self.status, *self.done, self.table())

    @operation
    async def refresh(self) -> S:
        """Ask the service how the sweep is now.

        >>> sweep.refresh().status
        'succeeded'
        """
        return await self._refreshed()

    @operation
    async def wait(self, timeout_s: float | None = None, *, check: bool = True, progress: bool = False) -> S:
        """Return when all of its jobs have ended.

        >>> sweep.wait(timeout_s=60).ended
        True

        Args:
            timeout_s: seconds after which waiting ends; the sweep goes on.
            check: whether a sweep without any finished job is an error.
            progress: a bar on standard error if that is a terminal, or a card in a notebook.

        Raises:
            JobFailedError: no job has succeeded (not with `check=False`).
            WaitTimeoutError: it had not ended after `timeout_s` seconds.
        """
        with sweep_bar(self) if progress else nullcontext(nothing) as redraw:
            await until_ended(
                self,
                self._refreshed,
                self._api.transport.sleep,
                timeout_s=timeout_s,
                longest_poll_s=LONGEST_POLL_S,
                redraw=redraw,
            )
        if check and self.status != "succeeded":
            raise JobFailedError(self.id, self.status, None)
        return self._this

    @operation
    async def best_job(self) -> J:
        """The handle of the best job: its weights, its curve.

        >>> sweep.best_job().weights()["W1"].shape
        (4, 8)

        Raises:
            JobFailedError: no job has a figure.
        """
        await self._refreshed()
        best = self.best
        if best is None:
            raise JobFailedError(self.id, self.status, None)
        return cast("J", self._jobs(self._api, await self._api.job(best.id)))

    @iteration
    async def jobs(self, status: str | None = None) -> AsyncIterator[J]:
        """The handles of its jobs, newest first.

        >>> [job.status for job in sweep.jobs(status="failed")]
        []
        """
        query = {"sweep": self.id} | ({} if status is None else {"status": status})
        async for document in self._api.listed("/v1/jobs", query, None):
            yield cast("J", self._jobs(self._api, job_from(document)))

    @operation
    async def add(self, points: Sequence[Part]) -> list[J]:
        """Queue jobs for further points of a sweep that was made with `points`; the sweep goes on.

        >>> study = client.sweep("iris", points=[{"net.hidden": [4]}], base={"training": {"epochs": 2}})
        >>> [job.record.raw["point"] for job in study.add([{"net.hidden": [8]}, {"net.hidden": []}])]
        [{'net.hidden': [8]}, {'net.hidden': []}]
        >>> len(study.wait().trials)
        3

        Args:
            points: settings by path, one mapping a job.

        Returns:
            The handles of these jobs, in the order of the points.

        Raises:
            ConflictError: the sweep was cancelled, or is no list of points.
            InvalidInputError: some point is no job, or there are too many; `errors` names the path and the value.
        """
        added = await self._api.add_points(self.id, plain(points))
        grown = {"status": "running" if self.ended else self.status, "n_jobs": self.done[1] + len(added)}
        self.record = {**self.record, **grown}
        return [cast("J", self._jobs(self._api, record)) for record in added]

    @operation
    async def curves(self, jobs: int = 20, max_points: int = 50) -> dict[str, dict[str, list[float | None]]]:
        """The objective by epoch of the best jobs, by id: `{"epoch": [...], "val_loss": [...]}`.

        >>> [sorted(curve) for curve in sweep.curves(jobs=1).values()]
        [['epoch', 'val_loss']]
        """
        query = {"curves": str(jobs), "max_points": str(max_points)}
        self.record = await self._api.get_json(sweep_path(self.id), query)
        found: dict[str, dict[str, list[float | None]]] = self.record["curves"]
        return found

    @operation
    async def cancel(self) -> S:
        """Cancel every job that has not ended.

        >>> long = client.sweep("digits", grid={"training.seed": [1, 2]}, base={"training": {"epochs": 1_000_000}})
        >>> long.cancel().status in ("cancelling", "cancelled")
        True
        """
        self.record = await self._api.post_json(f"{sweep_path(self.id)}/cancel", {})
        return self._this

    @operation
    async def delete(self) -> None:
        """Forget an ended sweep with its jobs and their files.

        >>> client.sweep("iris", grid={"training.seed": [1, 2]}, base={"training": {"epochs": 1}}).wait().delete()
        """
        await self._api.delete(sweep_path(self.id))

    @property
    def _this(self) -> S:
        return cast("S", self)

    async def _refreshed(self, wait_s: float = 0.0) -> S:
        self.record = await self._api.sweep(self.id, wait_s)
        return self._this


class Sweep(SweepCalls["Sweep", Job], Blocking):
    """One sweep on the service. Its attributes are those of the last answer; `refresh` asks again."""

    _jobs = Job


class AsyncSweep(SweepCalls["AsyncSweep", AsyncJob], Asyncio):
    """One sweep on the service, for asyncio: every call of `Sweep` is awaited, lists are read with `async for`."""

    _jobs = AsyncJob


def sweep_specification(dataset: str, settings: Mapping[str, Any]) -> Json:
    """The body of `POST /v1/sweeps`; what is None is left out."""
    return {"dataset": dataset} | {name: plain(value) for name, value in settings.items() if value is not None}


def plain(value: Any) -> Any:
    """Tuples and ranges as lists, at any depth."""
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(one) for one in value]
    return value


def _trial(document: Mapping[str, Any]) -> Trial:
    return Trial(
        id=str(document["id"]),
        status=str(document["status"]),
        status_reason=document.get("status_reason"),
        point=document.get("point") or {},
        objective=document.get("objective"),
        epoch=int(document.get("epoch") or 0),
        rung=document.get("rung"),
        raw=document,
    )
