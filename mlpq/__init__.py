"""How a person uses mlpq: Python client, command line, and the supervisor of a local deployment.

>>> from mlpq import Client
>>> with Client() as client:
...     job = client.train("digits", hidden=[64], epochs=2)
...     for event in job.events():
...         print(event.type)
...     weights = job.weights()
status
...
end
>>> weights["W1"].shape
(64, 64)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_ERRORS = (
    "ApiError",
    "ConflictError",
    "CorruptDownloadError",
    "DeploymentError",
    "FieldProblem",
    "InvalidArgumentError",
    "InvalidInputError",
    "JobFailedError",
    "MlpqError",
    "NotAllowedError",
    "NotFoundError",
    "ServiceUnreachableError",
    "UnavailableError",
    "WaitTimeoutError",
)
_EVENTS = ["CheckpointEvent", "EndEvent", "Event", "LogEvent", "MetricEvent", "ResetEvent", "StatusEvent"]
_WHERE = {
    **dict.fromkeys(("AsyncClient", "Client"), "mlpq.client"),
    **dict.fromkeys(("AsyncJob", "Job"), "mlpq.job"),
    **dict.fromkeys(("AsyncSweep", "Sweep", "Trial"), "mlpq.sweep"),
    **dict.fromkeys(("Evaluation", "Prediction", "Unseen"), "mlpq.results"),
    **dict.fromkeys(_ERRORS, "mlpq.errors"),
    **dict.fromkeys(_EVENTS, "mlpq.events"),
    **dict.fromkeys(("DatasetRecord", "JobRecord", "Progress"), "mlpq.records"),
}
_ESTIMATORS = dict.fromkeys(("MLPClassifier", "MLPRegressor"), "mlpq.estimators")
"""Not in `__all__`: they need scikit-learn, and `from mlpq import *` must not."""

if TYPE_CHECKING:
    from mlpq.client import AsyncClient as AsyncClient
    from mlpq.client import Client as Client
    from mlpq.errors import ApiError as ApiError
    from mlpq.errors import ConflictError as ConflictError
    from mlpq.errors import CorruptDownloadError as CorruptDownloadError
    from mlpq.errors import DeploymentError as DeploymentError
    from mlpq.errors import FieldProblem as FieldProblem
    from mlpq.errors import InvalidArgumentError as InvalidArgumentError
    from mlpq.errors import InvalidInputError as InvalidInputError
    from mlpq.errors import JobFailedError as JobFailedError
    from mlpq.errors import MlpqError as MlpqError
    from mlpq.errors import NotAllowedError as NotAllowedError
    from mlpq.errors import NotFoundError as NotFoundError
    from mlpq.errors import ServiceUnreachableError as ServiceUnreachableError
    from mlpq.errors import UnavailableError as UnavailableError
    from mlpq.errors import WaitTimeoutError as WaitTimeoutError
    from mlpq.estimators import MLPClassifier as MLPClassifier
    from mlpq.estimators import MLPRegressor as MLPRegressor
    from mlpq.events import CheckpointEvent as CheckpointEvent
    from mlpq.events import EndEvent as EndEvent
    from mlpq.events import Event as Event
    from mlpq.events import LogEvent as LogEvent
    from mlpq.events import MetricEvent as MetricEvent
    from mlpq.events import ResetEvent as ResetEvent
    from mlpq.events import StatusEvent as StatusEvent
    from mlpq.job import AsyncJob as AsyncJob
    from mlpq.job import Job as Job
    from mlpq.records import DatasetRecord as DatasetRecord
    from mlpq.records import JobRecord as JobRecord
    from mlpq.records import Progress as Progress
    from mlpq.results import Evaluation as Evaluation
    from mlpq.results import Prediction as Prediction
    from mlpq.results import Unseen as Unseen
    from mlpq.sweep import AsyncSweep as AsyncSweep
    from mlpq.sweep import Sweep as Sweep
    from mlpq.sweep import Trial as Trial

__all__ = ["__version__", *sorted(_WHERE)]


def __getattr__(name: str) -> object:
    """Import on first use: `mlpq --help` and `import mlpq.errors` need neither NumPy nor an HTTP client."""
    where = _WHERE.get(name) or _ESTIMATORS.get(name)
    if where is None:
        raise AttributeError(f"module 'mlpq' has no attribute {name!r}")
    return getattr(importlib.import_module(where), name)
