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
        self._ids: list[str] = []
        self._free = 0

    def submit(self, client: Client, specification: Mapping[str, Any]) -> Job:
        """Queue a job as a point of the sweep.

        Raises:
            ConflictError: somebody has cancelled the sweep.
            InvalidInputError: no job can have these settings.
        """
        point = point_of(specification)
        try:
            return self._begun(client, specification, point) or client.add_points(self._ids[-1], [point])[0]
        except InvalidInputError:
            return client.submit(specification)  # is refused as well, and names the setting as it was given

    def _begun(self, client: Client, specification: Mapping[str, Any], point: Mapping[str, Any]) -> Job | None:
        """The job of this point if a sweep had to be made for it."""
        with self._lock:
            self._free -= 1
            if self._free >= 0:
                return None
            base = {name: specification[name] for name in _SHARED if name in specification}
            told: dict[str, Any] = {"base": base, "objective": self._objective, "name": self._name}
            sweep = client.sweep(specification["dataset"], points=[point], **told)
            self._ids.append(sweep.id)
            self._free = MOST_JOBS - 1
        return client.job(sweep.trials[0].id)

    def delete(self, client: Client) -> None:
        """Forget the sweeps with their jobs; those that have not ended are cancelled first."""
        for sweep_id in self._ids:
            with suppress(MlpqError):
                client.sweep_of(sweep_id).cancel().wait(END_S, check=False).delete()


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
