"""Rows L16, L17, L23, L29 and L30: what `examples/lecture_figures.py` draws, through a service, is what is taught."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from mlpq.up.launch import deployment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example has written into, with a tenth of the training."""
    written = tmp_path_factory.mktemp("figures") / "new"
    with deployment(tmp_path_factory.mktemp("up") / "data", "--port", "0", "--device", "cpu") as (url, _):
        environment = {**os.environ, "MLPQ_URL": url, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, str(ROOT / "examples" / "lecture_figures.py"), str(written), "--quick"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return written


@pytest.fixture(scope="module")
def facts(folder: Path) -> dict[str, Any]:
    """What the figures show, in numbers."""
    return json.loads((folder / "figures.json").read_text())


def colours(folder: Path, name: str) -> set[tuple[float, ...]]:
    """The colours of a picture, which must be one, in steps of a tenth."""
    pixels = imread(folder / f"{name}.png")
    assert pixels.shape[1] == 900
    places = 16 ** np.arange(pixels.shape[2])
    codes = np.unique(np.rint(10 * pixels).astype(np.int64) @ places)
    return set(map(tuple, (codes[:, None] // places % 16 / 10).tolist()))


def test_L16_a_linear_classifier_has_one_template_per_class(folder, facts):
    assert (facts["L16"]["of"], facts["L16"]["classes"]) == ("classes", 10)
    assert facts["L16"]["accuracy"] > 0.75
    assert len(colours(folder, "L16-templates")) > 20


def test_L17_a_line_fails_in_x_and_y_and_separates_in_r_and_theta(folder, facts):
    assert facts["L17"]["before"] < 0.7
    assert facts["L17"]["after"] > 0.9
    assert all(len(colours(folder, f"L17-{name}")) > 20 for name in ("before", "after"))


def test_L23_a_hundred_shared_templates_in_colour(folder, facts):
    assert facts["L23"] == {"parameters": 3072 * 100 + 100 + 100 * 10 + 10, "templates": 100}
    vivid = [one for one in colours(folder, "L23-templates") if max(one[:3]) - min(one[:3]) > 0.35]
    assert len(vivid) > 20, "the templates of colour images are in colour"


def test_L29_more_hidden_units_follow_the_points_more_closely(folder, facts):
    accuracy = facts["L29"]
    assert accuracy["3"] < accuracy["6"] < accuracy["20"]
    assert accuracy["20"] - accuracy["3"] > 0.1
    assert all(len(colours(folder, f"L29-{units}")) > 20 for units in (3, 6, 20))


def test_L30_a_larger_penalty_makes_a_smoother_boundary(folder, facts):
    steps = [facts["L30"][strength] for strength in ("0.001", "0.01", "0.1")]
    assert steps == sorted(steps, reverse=True)
    assert steps[2] < 0.7 * steps[0]
    assert steps[2] > 0, "the net still tells the classes apart"
    assert all(np.isfinite(steps))
    assert all(len(colours(folder, f"L30-{strength}")) > 20 for strength in ("0.001", "0.01", "0.1"))
