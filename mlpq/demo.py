"""`mlpq demo`: the whole way once, from nothing to checked weights."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mlpq.addresses import DEFAULT_URL
from mlpq.arrays import Array
from mlpq.cli.live import follow
from mlpq.cli.output import command_name, console, duration, facts, print_json, say
from mlpq.client import Client
from mlpq.errors import DeploymentError
from mlpq.job import Job
from mlpq.up.launch import deployment
from mlpq.up.plan import DEFAULT_DATA_DIR, choose_port

TOLERANCE = 1e-5
"""Largest difference between the service's probabilities and those of plain NumPy."""

N_ROWS = 200

EXPECTED_ACCURACY = {"digits": 0.96}
"""What the default settings must reach on held-out rows."""


@dataclass(frozen=True)
class Outcome:
    """What the demo found."""

    job: str
    dataset: str
    status: str
    val_accuracy: float
    weights: str
    largest_difference: float
    rows_checked: int
    seconds: float
    url: str
    ok: bool


def run_demo(data_dir: Path, dataset: str, port: int | None, *, as_json: bool) -> bool:
    """Start what is not running, train the defaults on `dataset`, check the weights, stop what was started.

    Returns:
        Whether the job succeeded, learned, and its weights predict in plain NumPy what the service predicts.
    """
    started = time.monotonic()
    if not as_json:
        say("starting the service …")
    with deployment(data_dir, "--port", str(_free_port(port))) as (url, ours), Client(url) as client:
        if not as_json:
            console().print(f"{'started' if ours else 'using'} {url}, data in {data_dir}", markup=False)
        job = client.train(dataset, name="demo", tags=["demo"])
        if as_json:
            job.wait(check=False)
        else:
            follow(job, as_json=False)
        outcome = _check(job, data_dir / "demo" / "weights.npz", started, url)
    if as_json:
        print_json(asdict(outcome))
    else:
        _tell(outcome, data_dir, ours)
    return outcome.ok


def forward(weights: Mapping[str, Array], rows: Array) -> Array:
    """A ReLU classifier of complete numbers, written out: standardise, (product, bias, ReLU) for every layer, softmax.

    Args:
        weights: the arrays of a weights file: `W1` (in, out), `b1` (out,), …, `input_mean`, `input_std`,
            `input_median`.
        rows: (n, features) raw numeric rows, NaN where a cell is missing.

    Returns:
        (n, classes) probabilities, float64.
    """
    filled = np.where(np.isnan(rows), weights["input_median"], rows)
    a = (filled - weights["input_mean"]) / weights["input_std"]  # (n, features)
    n_layers = sum(name[0] == "W" and name[1:].isdigit() for name in weights)
    for layer in range(1, n_layers + 1):
        z = a @ weights[f"W{layer}"].astype(np.float64) + weights.get(f"b{layer}", 0.0)  # (n, out)
        a = z if layer == n_layers else np.maximum(z, 0.0)
    exponentials = np.exp(a - a.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def _check(job: Job, path: Path, started: float, url: str) -> Outcome:
    """Download the weights and compare plain NumPy with the service."""
    accuracy = job.final_metrics.get("val_accuracy") or 0.0
    difference, n_rows = float("inf"), 0
    if job.status == "succeeded":
        job.save_weights(path)
        with np.load(path, allow_pickle=False) as archive:
            weights = {name: archive[name] for name in archive.files}
        rows = _rows_around(weights)
        said = job.predict(rows).probabilities
        if said is not None:
            difference, n_rows = float(np.abs(forward(weights, rows) - said).max()), len(rows)
    learned = accuracy >= EXPECTED_ACCURACY.get(job.record.dataset, 0.0)
    return Outcome(
        job=job.id,
        dataset=job.record.dataset,
        status=job.status,
        val_accuracy=accuracy,
        weights=str(path),
        largest_difference=difference,
        rows_checked=n_rows,
        seconds=round(time.monotonic() - started, 2),
        url=url,
        ok=job.status == "succeeded" and learned and difference <= TOLERANCE,
    )


def _rows_around(weights: Mapping[str, Array]) -> Array:
    """Raw rows to compare on: those that travel with the weights, and some around the training data."""
    made_up = np.random.default_rng(0).normal(weights["input_mean"], weights["input_std"], (N_ROWS, len(weights["W1"])))
    return np.concatenate([weights["golden_inputs"], made_up])


def _tell(outcome: Outcome, data_dir: Path, ours: bool) -> None:
    agree = "agrees" if outcome.largest_difference <= TOLERANCE else "DIFFERS"
    shown = Path(outcome.weights)
    mlpq = command_name()
    up = mlpq + " up"
    if outcome.url != DEFAULT_URL:
        up += f" --port {outcome.url.rpartition(':')[2]}"
    if data_dir != DEFAULT_DATA_DIR:
        up += f" --data-dir {data_dir}"
    page = f"{outcome.url}/" if not ours else f"`{up}`, then open {outcome.url}/"
    facts(
        [
            ("", ""),
            ("job", f"{outcome.job} {outcome.status}"),
            ("accuracy", f"{outcome.val_accuracy:.4f} on held-out rows of {outcome.dataset}"),
            ("weights", shown),
            ("NumPy", f"{agree}: largest difference {outcome.largest_difference:.1e} over {outcome.rows_checked} rows"),
            ("took", duration(outcome.seconds)),
            ("page", page),
            ("next", up),
            ("", f"{mlpq} train digits --hidden 128 64 --epochs 30 --watch"),
            ("", f"{mlpq} train your.csv --target column --watch --weights net.npz"),
        ]
    )
    if not outcome.ok:
        expected = EXPECTED_ACCURACY.get(outcome.dataset, 0.0)
        sys.stderr.write(f"mlpq: the demo is off: wanted success, accuracy >= {expected}, difference <= {TOLERANCE}\n")


def _free_port(port: int | None) -> int:
    """The asked port, else 8000, else any free one."""
    if port is not None:
        return port
    try:
        return choose_port("127.0.0.1", 8000)
    except DeploymentError:
        return 0
