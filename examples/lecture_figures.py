"""The lecture's figures, made by a running service: templates, coordinates, capacity, regularisation.

mlpq up &
python examples/lecture_figures.py figures

Writes PNG files into the folder, and figures.json with what they show in numbers.
"""

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlpq import Client
from mlpq.job import Job

Facts = dict[str, Any]
SEED = 231


class Figures:
    """What the figures have in common: a client, a folder, and how long their jobs train."""

    def __init__(self, client: Client, folder: Path, quick: bool, cifar: Path | None) -> None:
        self.client, self.folder, self.quick, self.cifar = client, folder, quick, cifar

    def train(self, dataset: Any, name: str, epochs: int, **settings: Any) -> Job:
        """A job of that name, finished."""
        shorter = max(5, epochs // 10) if self.quick else epochs
        return self.client.train(dataset, name=name, epochs=shorter, seed=SEED, **settings).wait(timeout_s=1800)

    def draw(self, job: Job, explanation: str, name: str, **options: Any) -> None:
        """One picture."""
        job.picture(explanation, self.folder / f"{name}.png", **options)
        print(f"{name}.png", {k: round(v, 3) for k, v in job.final_metrics.items() if v is not None})

    def table(self, name: str, columns: list[str], x: np.ndarray, y: np.ndarray) -> Any:
        """Upload rows as a CSV file."""
        path = self.folder / f"{name}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*columns, "class"])
            writer.writerows([*map(float, row), label] for row, label in zip(x.round(5), y, strict=True))
        return self.client.upload(path, target="class", name=name)


def templates(make: Figures) -> Facts:
    """L16: a linear classifier has one template per class."""
    job = make.train("digits", "linear classifier", 60, hidden=[], l2=0.01)
    make.draw(job, "templates", "L16-templates")
    make.draw(job, "confusion", "L16-confusion")
    found = job.explanation("templates")
    return {"classes": len(found["templates"]), "of": found["of"], "accuracy": job.final_metrics["val_accuracy"]}


def coordinates(make: Figures) -> Facts:
    """L17: a ring around a disc cannot be cut off by a line in (x, y), but can in (r, theta)."""
    rng = np.random.default_rng(SEED)
    count = 300
    theta = rng.uniform(-np.pi, np.pi, 2 * count)
    r = np.concatenate([rng.uniform(0, 1, count), rng.uniform(1.5, 2.5, count)])
    label = np.repeat(["disc", "ring"], count)
    before = make.table("xy", ["x", "y"], np.stack([r * np.cos(theta), r * np.sin(theta)], axis=1), label)
    after = make.table("polar", ["r", "theta"], np.stack([r, theta], axis=1), label)
    facts = {}
    for name, data in (("before", before), ("after", after)):
        job = make.train(data, f"a linear net on {', '.join(c.name for c in data.columns)}", 100, hidden=[])
        make.draw(job, "boundary", f"L17-{name}")
        facts[name] = job.final_metrics["val_accuracy"]
    return facts


def shared_templates(make: Figures) -> Facts:
    """L23: 3072 inputs, 100 hidden units, 10 classes: hidden units are templates that the classes share."""
    if make.cifar is not None:
        data = make.client.upload(make.cifar, name="cifar10", standardize=True)
    else:
        path = make.folder / "coloured_digits.npz"
        images, labels = coloured_digits(600 if make.quick else 1797)
        np.savez_compressed(path, images=images, y=labels)
        data = make.client.upload(path, name="coloured digits", target="y", standardize=True)
    planned = make.client.dry_run(data, hidden=[100])
    job = make.train(data, "100 hidden units", 40, hidden=[100], momentum=0.9, learning_rate=0.01, l2=0.01)
    make.draw(job, "templates", "L23-templates", limit=100)
    return {"parameters": planned["parameters"], "templates": len(job.explanation("templates", limit=100)["templates"])}


def coloured_digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Small colour images (count, 32, 32, 3): handwritten digits on backgrounds whose colour hints at the class."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(SEED)
    images = np.empty((count, 32, 32, 3))
    for image, pixels, label in zip(images, digits.images, digits.target, strict=False):
        hue = 2 * np.pi * (label / 10 + rng.normal(0, 0.05)) + np.array([0, 2, 4]) * np.pi / 3
        light = np.linspace(0.25, 0.75, 32)[:, None, None] * rng.uniform(0.7, 1.3)
        image[...] = light * (1 + 0.6 * np.cos(hue)) + rng.normal(0, 0.06, image.shape)
        down, right = rng.integers(0, 9, 2)
        ink = np.kron(pixels / 16, np.ones((3, 3)))[..., None]
        place = image[down : down + 24, right : right + 24]
        place[...] = place * (1 - ink) + ink * (1 - place.mean(axis=(0, 1)))
    return (255 * images.clip(0, 1)).astype(np.uint8), digits.target[:count]


def capacity(make: Figures) -> Facts:
    """L29: 3, 6 and 20 hidden units: more of them follow the points more closely."""
    data = make.table("eight clouds", ["x1", "x2"], *clouds())
    facts = {}
    for hidden in (3, 6, 20):
        job = make.train(data, f"{hidden} hidden units", 1500, hidden=[hidden], **PLAIN, l2=0.0)
        make.draw(job, "boundary", f"L29-{hidden}")
        facts[str(hidden)] = job.explanation("confusion", rows="train")["metrics"]["accuracy"]
    return facts


def regularisation(make: Figures) -> Facts:
    """L30: one net of 20 hidden units, a larger penalty, a smoother boundary."""
    facts = {}
    for strength in (0.001, 0.01, 0.1):
        job = make.train("moons", f"20 hidden units, lambda {strength}", 1500, hidden=[20], **PLAIN, l2=strength)
        make.draw(job, "boundary", f"L30-{strength}")
        facts[str(strength)] = roughness(job)
    return facts


PLAIN = {"activation": "tanh", "learning_rate": 0.02, "optimizer": "adam", "batch_size": 200}


def clouds() -> tuple[np.ndarray, np.ndarray]:
    """Two classes (x (240, 2), y (240,)) in turn around a circle, in clouds that touch."""
    rng = np.random.default_rng(SEED)
    cloud = np.arange(240) % 8
    angle = 2 * np.pi * cloud / 8
    x = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(0, 0.42, (240, 2))
    return x, np.where(cloud % 2, "class 1", "class 2")


def roughness(job: Job) -> float:
    """How steeply the probability changes over the plane: the mean step from one point of the grid to the next."""
    found = job.explanation("boundary", resolution=100)
    first = np.where(np.array(found["predicted"]) == 0, found["probability"], 1 - np.array(found["probability"]))
    return float(sum(np.abs(np.diff(first, axis=axis)).mean() for axis in (0, 1)))


FIGURES: dict[str, Callable[[Figures], Facts]] = {
    "L16": templates,
    "L17": coordinates,
    "L23": shared_templates,
    "L29": capacity,
    "L30": regularisation,
}


def main() -> None:
    """Make the figures that are asked for."""
    parser = argparse.ArgumentParser(description="The lecture's figures from a running service.")
    parser.add_argument("folder", type=Path, help="where the pictures are written")
    parser.add_argument("--only", choices=FIGURES, nargs="+", default=list(FIGURES), metavar="ROW")
    parser.add_argument("--cifar", type=Path, help="cifar-10-binary.tar.gz, instead of coloured digits")
    parser.add_argument("--quick", action="store_true", help="a tenth of the training")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with Client() as client:
        make = Figures(client, asked.folder, asked.quick, asked.cifar)
        facts = {row: FIGURES[row](make) for row in asked.only}
    (asked.folder / "figures.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
