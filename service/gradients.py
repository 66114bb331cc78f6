"""Gradient checks for the API: of a net before it is a job, of a job before it has run, of what it has learnt."""

from __future__ import annotations

import math
from dataclasses import replace
from threading import BoundedSemaphore
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InvalidInput, NotFound
from nets.export import load_npz
from nets.gradient_check import GradientCheck, check_prepared
from nets.origin import Origin
from nets.parts import input_table, inputs_of
from nets.prepare import prepare
from nets.resolve import input_count, layout_of, parameter_count, resolve
from nets.spec import ResolvedSpec, TrainingSpec
from nets.table import Table
from nets.training_spec import TrainingOptions
from service.context import Services
from service.models.requests import GradientCheckRequest
from service.problems import Refused
from service.text import no_dataset
from store.records import Job

CHECK_OPERATIONS = 1e10
"""Multiplications that a check may cost, some seconds; larger nets are not checked."""

CHECK_PER_TENSOR = (4, 32)
"""Parameters checked in each tensor: as many as the bound allows, between these."""

SAMPLE_ROWS = 2_000
"""Rows, evenly spread over the table, that a check prepares."""

_ON_A_SAMPLE = {
    "precision": "float64",
    "sample_weight": None,
    "stratify": "auto",
    "split": None,
    "test_fraction": None,
    "test_dataset": None,
    "validation_dataset": None,
}
"""Of a check: which rows train means nothing to it, and a sample need not have rows of every part."""

SAMPLE_IMAGES, IMAGES_PER_CLASS = 200, 10
"""Rows that a check prepares where featurisers work on each: so many, or so many for each class, and no more than
SAMPLE_ROWS."""

_turns = BoundedSemaphore(2)


def check_of(
    services: Services, dataset_id: str, spec: ResolvedSpec, rows: int, flat: NDArray[Any] | None = None
) -> GradientCheck | None:
    """A check at the initial weights, or at `flat` (P,); None for a net that would take too long.

    Raises Refused (429) while two others run, NotFound if the data set is gone.
    """
    info = inputs_of(services.tables.info(dataset_id), spec.training)
    affordable = _per_tensor(spec, parameter_count(spec, input_count(spec.features, info), info.n_outputs), rows)
    least, most = CHECK_PER_TENSOR
    if affordable < least:
        return None
    exact = spec.model_copy(update={"training": spec.training.model_copy(update=_ON_A_SAMPLE)})
    if not _turns.acquire(timeout=10):
        raise Refused(429, "busy", "Too many gradient checks at once", "two run already", {"Retry-After": "2"})
    try:
        data = prepare(input_table(_sample(services.tables.table(dataset_id), spec), spec.training), exact)
        return check_prepared(exact, data, rows, parameters=flat, per_tensor=min(affordable, most))
    finally:
        _turns.release()


def gradient_check_of(services: Services, request: GradientCheckRequest) -> dict[str, Any]:
    """The check that a request asks for, at the weights that a job of these settings would start from."""
    try:
        info = services.tables.info(request.dataset)
    except NotFound:
        raise no_dataset("/dataset", request.dataset) from None
    training = TrainingOptions(validation_fraction=0.0)  # nothing is trained: no row has to be held back
    spec = resolve(TrainingSpec(net=request.net, loss=request.loss, training=training), info)
    check = _afforded(services, request.dataset, spec, request.rows)
    shown = {"net": spec.to_json()["net"], "loss": spec.to_json()["loss"]}
    return {"object": "gradient_check", "dataset": request.dataset, **shown, "at": "initial", **check.to_json()}


def explanation_of(services: Services, job: Job, rows: int) -> dict[str, Any]:
    """The check of a job: at its result, else its last checkpoint, else the weights that it starts from."""
    spec = ResolvedSpec.parse(job.spec)
    at = "result" if job.result is not None else "checkpoint" if job.checkpoints else "initial"
    flat = None
    if at == "initial" and job.origin is not None:
        arrays = load_npz(services.artifacts.path(job.origin["key"]))
        flat = Origin.from_arrays(arrays).parameters(np.dtype(np.float64))
    if at != "initial":
        info = inputs_of(services.tables.info(job.dataset), spec.training)
        arrays = services.predictors.arrays(job, None if at == "result" else "latest")
        flat = layout_of(spec, input_count(spec.features, info), info.n_outputs).flat(arrays, np.dtype(np.float64))
    check = _afforded(services, job.dataset, spec, rows, flat)
    shown = {"loss": check.loss if math.isfinite(check.loss) else None, **check.to_json()}
    return {"object": "gradient_check", "job": job.id, "dataset": job.dataset, "at": at, **shown}


def _afforded(
    services: Services, dataset_id: str, spec: ResolvedSpec, rows: int, flat: NDArray[Any] | None = None
) -> GradientCheck:
    check = check_of(services, dataset_id, spec, rows, flat)
    if check is None:
        raise InvalidInput.at("/net/hidden", "makes a net too large to be checked here; fewer rows cost less")
    return check


def _per_tensor(spec: ResolvedSpec, parameters: int, rows: int) -> int:
    tensors = (len(spec.net.hidden) + 1) * 2
    return int(CHECK_OPERATIONS / (2 * tensors * rows * parameters))


def _sample(table: Table, spec: ResolvedSpec) -> Table:
    """At most `SAMPLE_ROWS` rows, evenly spread, so that a check costs the same on any data set."""
    count = SAMPLE_ROWS
    if any(one.row.measure for one in spec.features):
        count = min(count, max(SAMPLE_IMAGES, IMAGES_PER_CLASS * len(table.info.classes)))
    n_rows = table.info.n_rows
    if n_rows <= count:
        return table
    rows = np.linspace(0, n_rows - 1, count).astype(np.int64)
    return Table(replace(table.info, n_rows=count), np.asarray(table.x[rows]), np.asarray(table.y[rows]))
