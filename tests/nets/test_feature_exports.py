"""Files that stand alone make the same features as the service: every featuriser, shape of image and kind of tie."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from nets.export import load_npz, load_safetensors, to_npz, to_safetensors
from nets.features.registry import FEATURISERS
from nets.onnx_file import to_onnx
from nets.script import to_script
from nets.torch_file import state_dict
from nets.weights import Predictor
from tests.nets.support import pictures
from tests.nets.test_exports import assert_onnx_says_the_same, assert_says_the_same, builtin_table, packed, said_alone

ROOT = Path(__file__).parent.parent.parent
SHAPES = [(8, 8, 1), (9, 7, 3), (6, 11, 4)]
ASKED: dict[str, list[Any]] = {
    **{name: [name] for name in FEATURISERS},
    "hue": [{"name": "color_histogram", "space": "hue", "bins": 5}],
    "cells": [{"name": "hog", "cell": 4, "bins": 6}, "raw", {"name": "hog", "cell": 3, "bins": 4}],
    "words": [{"name": "bag_of_words", "words": 7, "patch": 3, "stride": 2, "quadrants": True, "normalize": False}],
    "all": ["raw", "color_histogram", "hog", "bag_of_words"],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [2, 5, 256])
@pytest.mark.parametrize("asked", ASKED)
def test_onnx_says_the_same(asked: str, shape: tuple[int, int, int], levels: int) -> None:
    """Images of few levels have directions, colours and patches that lie between two bins or words."""
    table = pictures(80, shape, levels=levels)
    cells = np.concatenate([table.x, 3 * table.x[:5] - 1, np.full((1, table.x.shape[1]), np.nan)])
    assert_onnx_says_the_same(packed(table, features=ASKED[asked]), cells)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("asked", ASKED)
def test_predict_py_says_the_same(tmp_path: Path, asked: str, shape: tuple[int, int, int]) -> None:
    table = pictures(80, shape, levels=5)
    rows = [*table.x.tolist(), [None] * table.x.shape[1], (9 * table.x[0] - 4).tolist()]
    assert_says_the_same(tmp_path, packed(table, features=ASKED[asked]), rows)


def test_the_golden_vectors_come_out_everywhere(tmp_path: Path) -> None:
    arrays = packed(pictures(), features=ASKED["all"])
    golden, expected = arrays["golden_inputs"], arrays["golden_outputs"]
    scale = 1e-5 * np.abs(expected).max()
    assert len(np.unique(golden)) == golden.size
    Predictor.from_arrays(arrays).verify(golden, expected)
    found = onnxruntime.InferenceSession(to_onnx(arrays)).run(["scores"], {"x": golden})[0]
    np.testing.assert_allclose(found, expected, atol=scale)
    (tmp_path / "predict.py").write_bytes(to_script(arrays))
    code = (
        "import json, predict; w = predict.WEIGHTS; print(json.dumps(predict.scores(w['golden_inputs'], w).tolist()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=scale)


def test_a_damaged_codebook_is_noticed_when_predict_py_is_loaded(tmp_path: Path) -> None:
    arrays = packed(pictures(), features=["bag_of_words"])
    wrong = arrays | {"input_feature0_words": arrays["input_feature0_words"][::-1]}
    with pytest.raises(AssertionError, match="damaged: its golden vectors differ"):
        said_alone(tmp_path, wrong, [])
    assert said_alone(tmp_path, arrays, [])[0] == []


def test_arrays_travel_in_every_format() -> None:
    arrays = packed(pictures(), features=ASKED["all"])
    made = {name for name in arrays if name.startswith("input_feature")}
    learnt = {"input_feature3_words", "input_feature3_half_squares"}
    assert made == learnt | {f"input_feature_{name}" for name in ("image", "range", "mean", "std")}
    for copies in (load_npz(to_npz(arrays)), load_safetensors(to_safetensors(arrays)), state_dict(arrays)):
        for name in made:
            np.testing.assert_array_equal(copies[name], arrays[name])
    cells = pictures(seed=1).x
    again = Predictor.from_arrays(load_safetensors(to_safetensors(arrays)))
    np.testing.assert_array_equal(again.scores(cells), Predictor.from_arrays(arrays).scores(cells))


def test_files_of_raw_pixels_have_nothing_of_featurisers(tmp_path: Path) -> None:
    arrays = packed(builtin_table("digits", tmp_path), features=["raw"])
    assert not [name for name in arrays if name.startswith("input_feature")]
    assert "features" not in json.loads(str(arrays["meta"]))["spec"]


ROW = '''
from nets.features.featuriser import Featuriser
from nets.options import Option

def halves(image):
    return image[0] // 2

def top(xp, x, shape, settings, arrays):
    """Which third of its range the upper half's mean lies in, and how large the mean of the learnt places is."""
    height, width, channels = shape
    upper = xp.take(x, np.arange(halves(shape) * width * channels))
    mean = upper @ np.full((halves(shape) * width * channels, 1), 1 / (halves(shape) * width * channels))
    learnt = xp.take(x, arrays["places"])
    return xp.histogram(xp.minimum(xp.floor(mean * 3), 2), xp.sqrt(mean * settings["factor"]), 3) + learnt

ROW = Featuriser("top", "The upper half's brightness.", "made up", lambda image, settings: 3, top,
                 (Option("factor", 2.0, "Of the mean.", 0.0, 9.0),), uses=(halves,),
                 fit=lambda sample, settings: {"places": sample.read(np.arange(9)).argmax(axis=1)[:3]})
'''
WITH_IT = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import new_row
from nets.features.registry import FEATURISERS
FEATURISERS["top"] = new_row.ROW

from nets.capabilities import capabilities
from nets.reference import page
from nets.spec import TrainingSpec
from tests.nets.support import pictures
from tests.nets.test_exports import assert_onnx_says_the_same, assert_says_the_same, packed
table = pictures()
arrays = packed(table, features=[{"name": "top", "factor": 3.5}, "hog"])
assert_says_the_same(Path(sys.argv[1]), arrays, table.x.tolist())
assert_onnx_says_the_same(arrays, table.x)
shown = [row["name"] for row in capabilities()["features"]], page(), json.dumps(TrainingSpec.model_json_schema())
print(json.dumps(["top" in shown[0], "| `top` |" in shown[1], '"top"' in shown[2], len(arrays["input_feature_mean"])]))
"""


def test_a_new_featuriser_is_shown_trained_and_exported_by_being_in_the_table(tmp_path: Path) -> None:
    (tmp_path / "new_row.py").write_text("import numpy as np\n" + ROW)
    command = [sys.executable, "-c", WITH_IT, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == [True, True, True, 3 + 18]
