"""What a client says of sweeps; every call is written once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

from mlpq.both import iteration, operation
from mlpq.records import Json
from mlpq.settings import Part
from mlpq.sweep import SweepCalls, sweep_specification
from mlpq.uploading import Dataset, UploadingCalls

S = TypeVar("S")
"""The handles of sweeps: `Sweep` or `AsyncSweep`."""


class SweepingCalls(UploadingCalls, Generic[S]):
    """The calls of a client that start and find sweeps."""

    _sweeps: ClassVar[type[SweepCalls[Any, Any]]]

    @operation
    async def sweep(
        self,
        dataset: Dataset,
        *,
        target: str | None = None,
        grid: Mapping[str, Sequence[Any]] | None = None,
        random: Part | None = None,
        points: Sequence[Part] | None = None,
        asha: Part | None = None,
        base: Part | None = None,
        objective: str | None = None,
        direction: str | None = None,
        name: str | None = None,
    ) -> S:
        """Queue a job for every point of a space, and return the sweep's handle at once.

        >>> grid = {"optimizer.learning_rate": [0.001, 0.1], "net.hidden": [[], [8]]}
        >>> found = client.sweep("iris", grid=grid, base={"training": {"epochs": 5}}).wait()
        >>> len(found.trials), found.best.point["optimizer.learning_rate"]
        (4, 0.1)
        >>> space = {"optimizer.learning_rate": {"log_uniform": [0.001, 1.0]}}
        >>> client.sweep("iris", asha={"n": 6, "space": space, "min_epochs": 2, "max_epochs": 6}).wait().status
        'succeeded'

        Args:
            dataset: as for `train`.
            target: as for `train`.
            grid: values by dotted path of a job's specification; every combination is tried.
            random: `{"n": 20, "seed": 0, "space": {path: {"log_uniform": [a, b]}}}`; or `uniform`, `int`, `choice`.
            points: settings by path, one mapping a job.
            asha: the same as `random` with `min_epochs`, `max_epochs` and `reduction`: one in `reduction` trains on.
            base: the specification that all jobs share, without `dataset`.
            objective: a figure of the jobs; default `val_loss`.
            direction: `minimize` or `maximize`; default by the figure.
            name: what the sweep is called.

        Raises:
            InvalidInputError: some point is no job; `errors` names the path and the value.
        """
        told = {"grid": grid, "random": random, "list": points, "asha": asha, "base": base, "name": name}
        settings = told | {"objective": objective, "direction": direction}
        body = sweep_specification(await self._dataset_id(dataset, target), settings)
        return self._sweep(await self._api.post_json("/v1/sweeps", body))

    @operation
    async def sweep_of(self, sweep_id: str) -> S:
        """A handle on an existing sweep.

        >>> client.sweep_of(sweep.id)
        <Sweep swp_... succeeded on iris, 2 of 2 jobs>
        """
        return self._sweep(await self._api.sweep(sweep_id))

    @iteration
    async def sweeps(self, limit: int | None = 20) -> AsyncIterator[S]:
        """Sweeps, newest first; `refresh` brings their jobs.

        >>> [found.ended for found in client.sweeps(limit=1)]
        [True]
        """
        async for document in self._api.listed("/v1/sweeps", {}, limit):
            yield self._sweep(document)

    def _sweep(self, record: Json) -> S:
        return cast("S", self._sweeps(self._api, record))
