"""Sweeps as the API shows them: their state from that of their jobs, the best of these, and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nets.sweeps.objective import value_of
from store.curves import Curves
from store.records import iso
from store.sweeps import Member, Sweep
from store.transitions import HELD, TERMINAL, Status

LIST: Final = "list"
"""The kind of plan that says each job itself."""
CURVES: Final = 20
"""Jobs whose curves are shown, if nobody says otherwise."""
MAX_CURVES: Final = 100
POINTS: Final = 50
"""Points of each of these curves."""


def sweep_view(sweep: Sweep) -> dict[str, Any]:
    """A sweep without its jobs, whose points a list is."""
    [(kind, plan)] = sweep.plan.items()
    base = f"/v1/sweeps/{sweep.id}"
    return {
        "id": sweep.id,
        "object": "sweep",
        "name": sweep.name or None,
        "status": status_of(sweep),
        "kind": kind,
        **({} if kind == LIST else {kind: plan}),
        "dataset": sweep.dataset,
        "dataset_name": sweep.dataset_name,
        "base": sweep.base,
        "objective": sweep.objective,
        "direction": sweep.direction,
        "rungs": None if sweep.halving is None else sweep.halving.rungs,
        "counts": sweep.counts,
        "n_jobs": sum(sweep.counts.values()),
        "created_at": iso(sweep.created_at_ms),
        "cancelled_at": iso(sweep.cancelled_at_ms),
        "links": {"self": base, "jobs": f"/v1/jobs?sweep={sweep.id}"},
    }


def status_of(sweep: Sweep) -> str:
    """One word for all jobs: how they end once none is left that goes on."""
    counts = sweep.counts
    if not has_ended(sweep):
        if sweep.cancelled_at_ms is not None:
            return "cancelling"
        begun = any(count for status, count in counts.items() if status in HELD | TERMINAL)
        return "running" if begun or counts[Status.PAUSED] else "queued"
    if sweep.cancelled_at_ms is not None:
        return "cancelled"
    return "succeeded" if counts[Status.SUCCEEDED] or not counts[Status.FAILED] else "failed"


def has_ended(sweep: Sweep) -> bool:
    """Whether none of its jobs goes on."""
    return not any(count for status, count in sweep.counts.items() if status not in TERMINAL)


def details(
    sweep: Sweep, members: Sequence[Member], all_curves: Curves, curves: int = 0, max_points: int = POINTS
) -> dict[str, Any]:
    """A sweep with its jobs, and the curves of its best."""
    ranked = _ranked(sweep, members)
    finished = [member for member in ranked if member.status is Status.SUCCEEDED]
    best = next(iter(finished or ranked), None)
    listed = {LIST: [member.point for member in members]} if LIST in sweep.plan else {}
    return (
        sweep_view(sweep)
        | listed
        | {
            "best": None if best is None else _member_view(sweep, best),
            "jobs": [_member_view(sweep, member) for member in members],
            "curves": {one.id: _curve(all_curves, one.id, sweep.objective, max_points) for one in ranked[:curves]},
        }
    )


def _ranked(sweep: Sweep, members: Sequence[Member]) -> list[Member]:
    """Those with an objective that have not failed, the best first."""
    known = [(value_of(one.metrics, sweep.objective), place, one) for place, one in enumerate(members)]
    usable = [(value, place, one) for value, place, one in known if value is not None and one.status != Status.FAILED]
    sign = -1 if sweep.direction == "maximize" else 1
    usable.sort(key=lambda found: (sign * found[0], found[1]))
    return [one for _, _, one in usable]


def _member_view(sweep: Sweep, member: Member) -> dict[str, Any]:
    progress: Mapping[str, Any] = member.progress or {}
    return {
        "id": member.id,
        "name": member.name or None,
        "status": member.status,
        "status_reason": member.status_reason,
        "point": member.point,
        "objective": value_of(member.metrics, sweep.objective),
        "epoch": progress.get("epoch", 0),
        "epochs": progress.get("epochs"),
        "rung": member.rung,
        "error": None if member.error is None else member.error.get("code"),
    }


def _curve(all_curves: Curves, job_id: str, objective: str, max_points: int) -> dict[str, list[Any]]:
    """The objective by epoch where it is measured while the job trains, else the losses."""
    found = all_curves.of(job_id)
    wanted = ("epoch", objective) if objective in found.columns else ("epoch", "train_loss", "val_loss")
    lists = found.only(wanted).rows(max_points=max_points).lists()
    return {name: lists[name] for name in wanted if name in lists}
