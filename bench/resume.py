"""Killed mid-epoch at random moments: every job finishes, bit-identical, its curve without gap or duplicate.

One job runs undisturbed. Then the same job runs again and again; each time its training process gets SIGKILL at
a random moment. Compared are every array of the weights, every point of the curve, and the event ids (1, 2, 3, ...
without holes).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import time
from typing import Any

import httpx2
import numpy as np

from bench.deployment import Deployment, deployment
from bench.harness import quantile, write_result

KILLS = 20
SPEC = {
    "dataset": "digits",
    "net": {"hidden": [512, 256]},
    "training": {"epochs": 60, "batch_size": 32, "checkpoint_every_s": 1, "seed": 7},
}
ENDED = {"succeeded", "failed", "cancelled"}


def submit(client: httpx2.Client) -> str:
    """Post the job; its id."""
    job_id: str = client.post("/v1/jobs", json=SPEC).raise_for_status().json()["id"]
    return job_id


def wait(client: httpx2.Client, job_id: str, until: set[str]) -> dict[str, Any]:
    """The job once its status is one of `until`."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        if job["status"] in until:
            return job
        time.sleep(0.02)
    raise RuntimeError(f"{job_id} is {job['status']} after 120 s")


def weights(client: httpx2.Client, job_id: str) -> dict[str, bytes]:
    """The trained parameters as raw bytes by name."""
    content = client.get(f"/v1/jobs/{job_id}/weights").raise_for_status().content
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files if name[0] in "Wb"}


def history(client: httpx2.Client, job_id: str) -> tuple[list[int], list[tuple[Any, ...]]]:
    """Event ids in order, and the points of the curve without what depends on the clock."""
    ids, points = [], []
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        kind = ""
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                ids.append(int(value))
            elif name == "event":
                kind = value
            elif name == "data" and kind == "metric":
                data = json.loads(value)
                points.append(
                    tuple(data.get(key) for key in ("step", "epoch", "train_loss", "val_loss", "val_accuracy"))
                )
            elif name == "data" and kind == "end":
                break
    return ids, points


def kill_once(
    running: Deployment, client: httpx2.Client, longest_s: float, rng: random.Random
) -> tuple[str, float | None]:
    """Run the job with one kill at a random moment; its id and the seconds until it ran again.

    None: the job had ended before, and the kill hit nothing.
    """
    job_id = submit(client)
    wait(client, job_id, {"running"})
    time.sleep(rng.uniform(0, 0.7) * longest_s)
    for pid in running.training_children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    attempt, back = 1, None
    while True:
        job = client.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        attempt = job["attempt"]
        if back is None and attempt > 1 and job["status"] == "running":
            back = time.monotonic() - killed
        if job["status"] in ENDED:
            return job_id, back
        time.sleep(0.02)


def main() -> None:
    rng = random.Random(20)
    same_weights = same_curve = whole = finished = 0
    back: list[float] = []
    with deployment() as running, httpx2.Client(base_url=running.url, timeout=60) as client:
        wait(client, submit(client), ENDED)  # the first job on a built-in set also makes the set
        reference = submit(client)
        wait(client, reference, {"running"})
        start = time.monotonic()
        wait(client, reference, ENDED)
        longest_s = time.monotonic() - start
        want, (_, curve) = weights(client, reference), history(client, reference)
        too_late = 0
        while len(back) < KILLS:
            job_id, seconds = kill_once(running, client, longest_s, rng)
            if seconds is None:  # the machine was faster than before: such a run proves nothing
                too_late += 1
                if too_late > KILLS:
                    raise SystemExit("most jobs end before they are killed")
                continue
            back.append(seconds)
            finished += wait(client, job_id, ENDED)["status"] == "succeeded"
            ids, points = history(client, job_id)
            same_weights += weights(client, job_id) == want
            same_curve += points == curve
            whole += ids == list(range(1, len(ids) + 1))
    figures = {
        "kills": KILLS,
        "kills_that_came_too_late": too_late,
        "finished": finished,
        "weights_bit_identical": same_weights,
        "curves_identical": same_curve,
        "event_ids_without_holes": whole,
        "seconds_until_running_again_median": round(quantile(back, 0.5), 2),
        "seconds_until_running_again_worst": round(max(back), 2),
    }
    write_result("resume", "killed mid-epoch at random moments", "python -m bench resume", figures)
    if not finished == same_weights == same_curve == whole == KILLS:
        raise SystemExit("not every killed job finished identically")


if __name__ == "__main__":
    main()
