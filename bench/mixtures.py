"""`python -m bench.mixtures --mixtures 200`: random mixtures trained as stacks, and each of their jobs alone.

A mixture is six jobs that differ in whatever may differ within a stack (and now and then in what may not), submitted
over HTTP at once to a warm deployment. Then each is submitted again when nothing else runs. Weights must be equal bit
for bit, and so the curves, the final figures and the endings.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from typing import Any

import httpx2

from bench.deployment import deployment
from bench.harness import write_result
from bench.resume import ENDED, history, wait, weights

JOBS = 6
WILD = {"name": "sgd", "learning_rate": 1.0, "l2": 5e4}
"""Diverges within a few steps."""


def job(chance: random.Random, shape: dict[str, Any]) -> dict[str, Any]:
    """One job of a mixture."""
    rate = 10 ** chance.uniform(-3, -1)
    calm = {"name": "sgd", "learning_rate": rate, "momentum": chance.choice([0.0, 0.5, 0.9]), "l2": rate / 100}
    optimizer = chance.choice([WILD, *4 * [calm]]) if shape["optimizer"] == "sgd" else {"name": "adam", "l2": rate / 9}
    return {
        "dataset": chance.choice(shape["datasets"]),
        "net": {"hidden": shape["hidden"], "activation": shape["activation"], "init": chance.choice(["he", "xavier"])}
        | ({"dropout": chance.choice([0.1, 0.4])} if shape["drops"] else {}),
        "optimizer": optimizer,
        "schedule": chance.choice(["constant", "cosine", {"name": "linear", "warmup_steps": 9}]),
        "training": {
            "epochs": chance.choice([3, 50, 200, 400]),
            "batch_size": 8,
            "seed": chance.randrange(10**6),
            "validation_fraction": chance.choice([0.2, 0.4]),
            "early_stopping": chance.choice([None, None, {"patience": 15}]),
            "class_weight": chance.choice([None, "balanced"]),
            "test_fraction": chance.choice([None, 0.2]),
        },
    }


def mixture(chance: random.Random) -> list[dict[str, Any]]:
    """Jobs of one shape, the last perhaps of another."""
    shapes = [
        {
            "datasets": ["iris"],
            "hidden": chance.choice([[6], [12], [8, 5], []]),
            "activation": chance.choice(["relu", "tanh", "gelu"]),
            "optimizer": chance.choice(["sgd", "sgd", "adam"]),
            "drops": False,
        }
        for _ in range(2)
    ]
    for shape in shapes:
        shape["drops"] = bool(shape["hidden"]) and chance.random() < 0.3
    last = chance.choice(shapes)
    return [job(chance, shapes[0]) for _ in range(JOBS - 1)] + [job(chance, last)]


def outcome(client: httpx2.Client, job_id: str) -> tuple[Any, ...]:
    """All that must not depend on who trained beside it."""
    ended = wait(client, job_id, ENDED)
    found = weights(client, job_id) if "weights" in ended["links"] else {}
    return ended["status"], ended["status_reason"], ended["metrics"], ended["error"], found, history(client, job_id)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mixtures", type=int, default=200)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--dry", action="store_true", help="print, do not write bench/results/mixtures.json")
    asked = parser.parse_args()
    chance, stacks, endings, different = random.Random(asked.seed), Counter[int](), Counter[str](), 0
    with deployment() as running, httpx2.Client(base_url=running.url, timeout=60) as client:

        def submit(body: dict[str, Any]) -> str:
            return str(client.post("/v1/jobs", json=body).raise_for_status().json()["id"])

        for number in range(asked.mixtures):
            bodies = mixture(chance)
            ids = [submit(body) for body in bodies]
            together = [outcome(client, job_id) for job_id in ids]
            stacks.update(client.get(f"/v1/jobs/{job_id}").json()["environment"]["stack"] for job_id in ids)
            for body, job_id, found in zip(bodies, ids, together, strict=True):
                alone = submit(body)
                endings[str(found[1])] += 1
                if outcome(client, alone) != found:
                    different += 1
                    print(f"mixture {number}: {job_id} is not {alone}")
    figures = {
        "mixtures": asked.mixtures,
        "jobs": asked.mixtures * JOBS,
        "different": different,
        "endings": dict(endings),
        "jobs_by_stack_when_they_began": {str(size): count for size, count in sorted(stacks.items())},
    }
    if asked.dry:
        print(figures)
    else:
        write_result("mixtures", "random stacks are their jobs alone", "python -m bench.mixtures", figures)
    if different:
        raise SystemExit("a job depends on who trains beside it")


if __name__ == "__main__":
    main()
