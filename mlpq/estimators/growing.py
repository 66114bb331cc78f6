"""A sweep that gets a point with every fit of a search: what runs is seen as one, and ended as one."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mlpq.client import Client
from mlpq.errors import InvalidInputError, MlpqError
from mlpq.job import Job

MOST_JOBS = 1_000
"""Jobs of one sweep; a longer search is several."""
END_S = 10.0
"""Seconds that the jobs of a search which was broken off have to stop."""
LOOKED_AT = 100
"""Newest sweeps among which one is looked for whose id is not known."""

_SHARED = ("name", "tags")
"""What all jobs of a search have in common; whatever else a job is told may differ from fit to fit."""
_PARTS = ("net", "training")
"""Parts of a specification whose settings are told one by one."""


class GrowingSweep:
    """One sweep after another on the service, made when the first fit asks.

    Args:
        name: what they are called.
        objective: the figure that judges their jobs.
    """

    def __init__(self, name: str, objective: str) -> None:
        self._name, self._objective = name, objective
        self._lock = threading.Lock()
        self._made: list[tuple[Client, str]] = []
        self._asking: Client | None = None
        self._free = 0
        self._closed = False

    def submit(self, client: Client, specification: Mapping[str, Any]) -> Job:
        """Queue a job as a point of the sweep.

        Raises:
            ConflictError: somebody has cancelled the sweep.
            InvalidInputError: no job can have these settings.
            RuntimeError: the search is over.
        """
        point = point_of(specification)
        try:
            sweep_id, job_id = self._place(client, specification, point)
            return client.add_points(sweep_id, [point])[0] if job_id is None else client.job(job_id)
        except InvalidInputError:
            return client.submit(specification)  # names the setting as it was given, unless it may be a job by itself

    def _place(
        self, client: Client, specification: Mapping[str, Any], point: Mapping[str, Any]
    ) -> tuple[str, str | None]:
        """The sweep that has a place for the point, and the job if the sweep was made with it."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the search is over")
            if self._free > 0:
                self._free -= 1
                return self._made[-1][1], None
            base = {name: specification[name] for name in _SHARED if name in specification}
            told: dict[str, Any] = {"base": base, "objective": self._objective, "name": self._name}
            self._asking = client
            sweep = client.sweep(specification["dataset"], points=[point], **told)
            self._asking = None
            self._made.append((client, sweep.id))
            self._free = MOST_JOBS - 1
            return sweep.id, sweep.trials[0].id

    def close(self, *, keep: bool) -> None:
        """Take no further fit; unless they are to be kept, forget the sweeps with their jobs, cancelled if need be."""
        with self._lock:
            self._closed = True
        if keep:
            return
        if self._asking is not None:  # the service may have it though its answer never came
            with suppress(MlpqError), connected_again(self._asking) as client:
                known = {sweep_id for _, sweep_id in self._made}
                named = [one.id for one in client.sweeps(LOOKED_AT) if one.record["name"] == self._name]
                self._made += [(self._asking, sweep_id) for sweep_id in named if sweep_id not in known]
        for made_by, sweep_id in self._made:
            with suppress(MlpqError), connected_again(made_by) as client:
                client.sweep_of(sweep_id).cancel().wait(END_S, check=False).delete()


def connected_again(client: Client) -> Client:
    """A connection of its own to the same service: those of fits are closed when they end."""
    again, made_with = client.__reduce__()
    made: Client = again(*made_with)
    return made


def point_of(specification: Mapping[str, Any]) -> dict[str, Any]:
    """All that a job is told, by path: a point on a base that says nothing.

    >>> point_of({"dataset": "iris", "name": "n", "net": {"hidden": [4]}, "optimizer": {"name": "adam", "l2": 0.1}})
    {'dataset': 'iris', 'net.hidden': [4], 'optimizer': {'name': 'adam', 'l2': 0.1}}
    """
    point: dict[str, Any] = {}
    for part, value in specification.items():
        if part in _PARTS:
            point |= {f"{part}.{setting}": one for setting, one in value.items()}
        elif part not in _SHARED:
            point[part] = value
    return point
