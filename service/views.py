"""Records as the API shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.precisions import wanted_device
from store.records import Job, iso
from store.transitions import Status

FORMATS = ("npz", "safetensors")
"""Formats of `GET …/weights`."""


def job_view(job: Job, nobody_takes: Callable[[str], bool]) -> dict[str, Any]:
    """A job resource; `nobody_takes` says whether no living worker offers a device."""
    base = f"/v1/jobs/{job.id}"
    links = {
        "self": base,
        "events": f"{base}/events",
        "metrics": f"{base}/metrics",
        "checkpoints": f"{base}/checkpoints",
        "card": f"{base}/card",
        "explanations": f"{base}/explanations",
    }
    if job.result is not None:
        links["weights"] = f"{base}/weights"
    elif job.checkpoints:
        links["weights"] = f"{base}/weights?checkpoint=latest"
    return {
        "id": job.id,
        "object": "job",
        "name": job.name or None,
        "status": job.status,
        "status_reason": _waits_in_vain(job, nobody_takes) or job.status_reason,
        "attempt": job.attempt,
        "progress": _progress(job),
        "queue_position": job.queue_position,
        "created_at": iso(job.created_at_ms),
        "updated_at": iso(job.updated_at_ms),
        "started_at": iso(job.started_at_ms),
        "finished_at": iso(job.finished_at_ms),
        "device": job.device,
        "backend": job.backend,
        "environment": job.environment,
        "spec": job.spec,
        "dataset": job.dataset,
        "dataset_name": job.dataset_name,
        "origin": None if job.origin is None else {key: job.origin[key] for key in ("job", "checkpoint")},
        "metrics": job.metrics,
        "error": None if job.error is None else {"param": None} | job.error,
        "tags": job.tags,
        "metadata": job.metadata,
        "priority": job.priority,
        "owner": job.owner or None,
        "sweep": job.sweep,
        "point": job.point,
        "links": links,
    }


def _waits_in_vain(job: Job, nobody_takes: Callable[[str], bool]) -> str | None:
    """Why a queued job is not even considered, which changes with the workers and is in no record."""
    if job.status is not Status.QUEUED:
        return None
    training = job.spec.get("training", {})
    device = wanted_device(training.get("device", "auto"), training.get("precision", "float32"))
    if not nobody_takes(device):
        return None
    return "no worker offers a GPU, which the precision needs" if device == "cuda" else f"no worker offers {device}"


def _progress(job: Job) -> dict[str, Any]:
    """Counts, with the remaining seconds estimated from the progress since the start while the job runs."""
    epochs = job.spec.get("training", {}).get("epochs", 0)
    progress = {"epoch": 0, "epochs": epochs, "step": 0, "steps": 0} | (job.progress or {})
    if job.status is not Status.RUNNING:
        return progress | {"eta_s": None}
    progress.setdefault("eta_s", None)
    done = progress["step"] / progress["steps"] if progress["steps"] else 0.0
    if progress["eta_s"] is None and job.started_at_ms is not None and done > 0:
        running_s = (job.updated_at_ms - job.started_at_ms) / 1000  # by the store's clock, as the progress itself
        progress["eta_s"] = round(running_s * (1 - done) / done, 1)
    return progress


def checkpoint_view(job: Job, manifest: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint resource; its id is its step."""
    name = str(manifest["step"])
    return {
        "id": name,
        "object": "checkpoint",
        "job": job.id,
        "step": manifest["step"],
        "epoch": manifest["epoch"],
        "bytes": manifest.get("bytes"),
        "sha256": manifest.get("sha256"),
        "links": {"weights": f"/v1/jobs/{job.id}/weights?checkpoint={name}"},
    }
