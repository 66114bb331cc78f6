"""Sweeps through the real service and real workers: trials are halved, go on from where they waited, none is lost."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import Any

import httpx2
import pytest

from store import keys
from store.halving import State, Trial, decide, trial_from_text
from store.transitions import Status
from tests.history import History, read_history
from tests.processes import Service, http_client, wait_until
from tests.site import Site

SPACE = {"optimizer.learning_rate": {"log_uniform": [1e-4, 1.0]}}
ASHA = {"n": 9, "seed": 2, "space": SPACE, "min_epochs": 1, "max_epochs": 9, "reduction": 3}
SLOW = {"net": {"hidden": [128, 128]}, "training": {"batch_size": 4, "checkpoint_every_s": 0.1}}
QUICK = {"net": {"hidden": [8]}, "training": {"batch_size": 64}}
ENDED = {"succeeded", "failed", "cancelled"}


def submit(service: Service, **body: Any) -> dict[str, Any]:
    with http_client(service.url) as api:
        answer = api.post("/v1/sweeps", json={"dataset": "digits", "base": QUICK} | body)
    assert answer.status_code == 202, answer.text
    return answer.json()


def ended(site: Site, service: Service, sweep_id: str, timeout_s: float = 90) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        try:
            sweep = api.get(f"/v1/sweeps/{sweep_id}").json()
        except httpx2.HTTPError:
            return None
        return sweep if sweep.get("status") in ENDED else None

    with http_client(service.url) as api:
        return wait_until(look, timeout_s, f"{sweep_id} ends", every_s=0.1)


def check_halving(site: Site, sweep: dict[str, Any]) -> list[History]:
    """Who ended where follows from the curves; everyone's curve is whole, each epoch once."""
    rungs, histories = [1, 3], [read_history(site.store, job["id"]) for job in sweep["jobs"]]
    trials = []
    for place, history in enumerate(histories):
        epochs = [point["epoch"] for point in history.metrics]
        assert epochs == list(range(1, len(epochs) + 1)), "every epoch was trained and told once"
        assert len(epochs) in {1, 3, 9}
        assert history.job.status is (Status.SUCCEEDED if len(epochs) == 9 else Status.CANCELLED)
        assert len(epochs) == 9 or history.job.status_reason.startswith("not_promoted: ")
        figures = tuple(history.metrics[rung - 1]["val_loss"] for rung in rungs if rung <= len(epochs))
        trials.append(Trial(history.job.id, place, State.ENDED, min(len(figures), 2), figures))
    best = min(trials, key=lambda trial: trial.figures[0])
    third = sorted(trials, key=lambda trial: (trial.figures[0], trial.place))[:3]
    assert all(len(trial.figures) == 2 for trial in third), "the best of all at the first rung went on"
    assert len(best.figures) == 2
    assert not decide(trials, rungs, 3, maximize=False)
    assert 1 <= sweep["counts"]["succeeded"] < 9
    return histories


def test_a_grid_trains_and_tells_its_best(site: Site, service: Service) -> None:
    site.processes.worker()
    grid = {"optimizer.learning_rate": [1e-6, 0.01], "training.seed": [1, 2, 3]}
    sweep = submit(service, grid=grid, base={**QUICK, "training": {"epochs": 4}})
    shown = ended(site, service, sweep["id"])
    assert (shown["status"], shown["counts"]["succeeded"]) == ("succeeded", 6)
    objectives = {job["id"]: job["objective"] for job in shown["jobs"]}
    assert shown["best"]["objective"] == min(objectives.values())
    assert shown["best"]["point"]["optimizer.learning_rate"] == 0.01
    assert all(curve["val_loss"][-1] == objectives[name] for name, curve in shown["curves"].items())


def test_a_trial_that_was_promoted_is_what_it_would_be_alone(site: Site, service: Service) -> None:
    site.processes.worker()
    sweep = submit(service, asha=ASHA, base=QUICK)
    shown = ended(site, service, sweep["id"])
    check_halving(site, shown)
    winner = site.store.get(shown["best"]["id"])
    assert winner.status is Status.SUCCEEDED
    alone = httpx2.post(f"{service.url}/v1/jobs", json={"dataset": "digits", **winner.spec}).json()
    site.wait(alone["id"])
    mine, whole = read_history(site.store, winner.id), read_history(site.store, alone["id"])
    assert mine.curve == whole.curve
    assert mine.job.metrics == whole.job.metrics


@pytest.mark.parametrize(
    ("training", "objective"),
    [
        ({"folds": 3}, "cv_val_loss"),
        ({"early_stopping": {"patience": 1, "min_delta": 0.3}}, "val_loss"),
        ({"folds": 2, "early_stopping": {"patience": 1, "min_delta": 0.3}}, "cv_val_loss"),
    ],
    ids=["folds", "stop early", "both"],
)
def test_trials_are_judged_by_their_folds_and_by_where_they_stopped(
    site: Site, service: Service, training: dict[str, Any], objective: str
) -> None:
    site.processes.worker(CRASH_AT="after_publish")
    base = {**QUICK, "training": {**QUICK["training"], **training}}
    shown = ended(site, service, submit(service, asha=ASHA, base=base, objective=objective)["id"])
    assert shown["status"] == "succeeded"
    texts = site.store.redis.hgetall(keys.trials(shown["id"]))
    trials = {job_id.decode(): trial_from_text(job_id.decode(), text.decode()) for job_id, text in texts.items()}
    assert not decide(trials.values(), [1, 3], 3, maximize=False)
    for job in shown["jobs"]:
        trial, record = trials[job["id"]], site.store.get(job["id"])
        if record.status is Status.CANCELLED or trial.state is State.STOPPED:
            assert record.metrics[objective] == trial.figures[-1], "judged by what it shows"
        else:
            assert (record.status, trial.rung) == (Status.SUCCEEDED, 2), "trained to its end"
    stopped = [trial for trial in trials.values() if trial.state is State.STOPPED]
    assert bool(stopped) == ("early_stopping" in training)
    winner = site.store.get(shown["best"]["id"])
    alone = httpx2.post(f"{service.url}/v1/jobs", json={"dataset": "digits", **winner.spec}).json()
    assert site.wait(alone["id"]).metrics == winner.metrics, "what it would be alone"


def test_two_workers_and_kills_lose_and_double_nothing(site: Site, service: Service) -> None:
    workers = [site.processes.worker().ready(), site.processes.worker().ready()]
    chance = random.Random(7)
    sweep = submit(service, asha=ASHA, base=SLOW)
    for _ in range(2):  # a third could be one trial's third crash, which ends it
        time.sleep(chance.uniform(0.3, 1.0))
        os.kill(chance.choice(workers).trainer_pid(), signal.SIGKILL)
        wait_until(lambda: len(site.processes.trainers()) == 2, what="a fresh trainer")
    check_halving(site, ended(site, service, sweep["id"]))


@pytest.mark.parametrize("place", ["before_publish", "after_publish"])
def test_a_decider_that_dies_is_made_good(place: str, site: Site, service: Service) -> None:
    site.processes.worker(CRASH_AT=place)
    sweep = submit(service, asha=ASHA, base=QUICK)
    check_halving(site, ended(site, service, sweep["id"]))


def test_a_redis_that_restarts_costs_nothing(own_site: Site) -> None:
    service = own_site.processes.service().ready()
    own_site.processes.worker().ready()
    sweep = submit(service, asha=ASHA, base=SLOW)
    time.sleep(1.0)
    own_site.server.kill()
    own_site.server.start()
    check_halving(own_site, ended(own_site, service, sweep["id"]))


def test_a_sweep_that_is_cancelled_ends_at_once(site: Site, service: Service) -> None:
    site.processes.worker().ready()
    sweep = submit(service, asha=ASHA, base=SLOW)
    wait_until(lambda: site.store.counts()[Status.RUNNING], what="a trial trains")
    httpx2.post(f"{service.url}/v1/sweeps/{sweep['id']}/cancel")
    shown = ended(site, service, sweep["id"], 5)
    assert shown["status"] == "cancelled"
    assert shown["counts"]["cancelled"] + shown["counts"]["succeeded"] == 9
