"""The model card of a job: what it was trained on, how, where, how well, and what came of it.

Mitchell et al. 2019, Model cards for model reporting. Everything is from records; nothing is guessed.
"""

from __future__ import annotations

import re

from kernels.errors import MlpqError, NotFound
from nets.spec import TrainingSpec
from nets.table import TableInfo
from nets.weight_formats import EXPORTERS
from service.context import Services
from service.predictors import HELD_BYTES
from service.views import checkpoint_view, job_view
from store.records import Job, Json

_PARTS = re.compile(r"(train|val|test|cv|fold\d+)_(.+)")
_NAMES = {"val": "validation", "cv": "cross_validation"}
_APART = ("rows", "parameters")
"""What a worker records beside the environment."""


def card_of(services: Services, job: Job) -> Json:
    """The card as JSON; of a job that has not ended, what is known so far. Null where a worker has recorded nothing."""
    view = job_view(job, services.nobody_takes)
    training = job.spec.get("training", {})
    environment = {name: value for name, value in job.environment.items() if name not in _APART}
    took = None if not (job.started_at_ms and job.finished_at_ms) else (job.finished_at_ms - job.started_at_ms) / 1000
    return {
        "object": "card",
        "job": job.id,
        **{name: view[name] for name in ("name", "status", "status_reason", "error", "tags", "metadata", "attempt")},
        **{name: view[name] for name in ("created_at", "started_at", "finished_at")},
        "duration_s": took,
        "dataset": _dataset(services, job),
        **{field: _other(services, training.get(field)) for field in ("validation_dataset", "test_dataset")},
        "rows": job.environment.get("rows"),
        "asked": job.asked,
        "spec": job.spec,
        "parameters": job.environment.get("parameters"),
        "seed": training.get("seed"),
        "progress": view["progress"],
        "metrics": _grouped(job.metrics),
        "device": job.device,
        "backend": job.backend,
        "environment": environment,
        "artifacts": _artifacts(services, job),
        "checkpoints": [checkpoint_view(job, manifest) for manifest in job.checkpoints],
        "loading": _loading(job) if job.result is not None else {},
    }


def _dataset(services: Services, job: Job) -> Json:
    """The data set with the part that every column plays; of one that was deleted, what the weights know."""
    spec = TrainingSpec.parse(job.spec)
    apart = {spec.training.sample_weight: "weight"}
    if spec.training.split is not None:
        apart[spec.training.split.column] = "split"
    try:
        info = services.datasets.get(job.dataset).info
    except NotFound:
        return {"id": job.dataset, "deleted": True, **_remembered(services, job)}
    told = ("name", "task", "n_rows", "n_features", "n_classes", "classes", "target", "format", "sha256", "bytes")
    columns = [
        {"name": c["name"], "kind": c["kind"], "missing": c.get("missing", 0), "role": apart.get(c["name"], "input")}
        for c in info["columns"]
    ]
    return {"id": job.dataset, "deleted": False, **{name: info.get(name) for name in told}, "columns": columns}


def _remembered(services: Services, job: Job) -> Json:
    if job.result is None:
        return {}
    about: TableInfo = services.predictors.ready(job, None).info
    columns = [{"name": c.name, "kind": c.kind, "missing": c.missing, "role": "input"} for c in about.columns]
    return {"task": about.task, "n_rows": about.n_rows, "classes": list(about.classes), "columns": columns}


def _other(services: Services, dataset_id: str | None) -> Json | None:
    if dataset_id is None:
        return None
    try:
        info = services.datasets.get(dataset_id).info
    except NotFound:
        return {"id": dataset_id, "deleted": True}
    return {"id": dataset_id, "deleted": False, **{name: info.get(name) for name in ("name", "n_rows", "sha256")}}


def _grouped(metrics: Json) -> Json:
    """`val_loss` … as {"validation": {"loss": …}}, in the order of the names."""
    groups: dict[str, Json] = {}
    for name, value in metrics.items():
        match = _PARTS.fullmatch(name)
        part, figure = (_NAMES.get(match[1], match[1]), match[2]) if match else ("other", name)
        groups.setdefault(part, {})[figure] = value
    return groups


def _artifacts(services: Services, job: Job) -> list[Json]:
    """Every format of the result; of a large one, files that are not there yet have no hash until they are fetched."""
    if job.result is None:
        return []
    found = []
    for name in EXPORTERS:
        one: Json = {"format": name, "href": f"/v1/jobs/{job.id}/weights?format={name}", "sha256": None, "bytes": None}
        if name == "npz":
            one |= {key: job.result[key] for key in ("sha256", "bytes")}
        elif job.result["bytes"] <= HELD_BYTES:
            one |= _made(services, job, name)
        found.append(one)
    return found


def _made(services: Services, job: Job, name: str) -> Json:
    try:
        file = services.predictors.file(job, name, None)
    except MlpqError:  # its download says what is wrong; the card tells the rest
        return {}
    return {"sha256": file.sha256, "bytes": len(file.content)} if isinstance(file.content, bytes) else {}


def _loading(job: Job) -> dict[str, str]:
    """How to get predictions, in three ways."""
    return {
        "python": f'from mlpq import Client\n\njob = Client().job("{job.id}")\nprint(job.predict(rows).predictions)',
        "command line": f"mlpq predict {job.id} rows.csv",
        "anywhere": f"mlpq weights {job.id} --format predict.py -o predict.py\npython predict.py rows.csv",
    }
