"""Use trained weights without mlpq: twelve lines of NumPy, held against the service.

mlpq up &
python examples/plain_numpy.py
"""

import tempfile
from pathlib import Path

import numpy as np

from mlpq import Client


def predict(path: Path, rows: np.ndarray) -> np.ndarray:
    """Class probabilities (n, classes) of raw rows (n, features), complete numbers, from the weights of a ReLU net."""
    with np.load(path, allow_pickle=False) as weights:
        rows = np.where(np.isnan(rows), weights["input_median"], rows)
        a = (rows - weights["input_mean"]) / weights["input_std"]
        layers = sum(name.startswith("W") for name in weights.files)
        for layer in range(1, layers + 1):
            z = a @ weights[f"W{layer}"] + weights[f"b{layer}"]
            a = np.maximum(z, 0) if layer < layers else z
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


rng = np.random.default_rng(0)
X = rng.normal(size=(400, 5))
y = np.where(X[:, 0] * X[:, 1] > 0, "same sign", "different")

with tempfile.TemporaryDirectory() as folder, Client() as client:
    job = client.train((X, y), hidden=[32, 16], activation="relu", epochs=80, seed=1).wait(timeout_s=120)
    path = job.save_weights(Path(folder) / "net.npz")
    ours, theirs = predict(path, X[:50]), job.predict(X[:50]).probabilities
    print(f"largest difference {np.abs(ours - theirs).max():.1e}")
    assert np.abs(ours - theirs).max() < 1e-5
    print("validation accuracy", job.final_metrics["val_accuracy"])
