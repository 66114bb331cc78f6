"""Rows L18 to L21: colour histograms, HOG, bags of words, and what they are worth beside an end-to-end net."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nets.features.numpy_operations import NumpyOperations
from nets.features.registry import FEATURISERS
from nets.prepare import prepare
from nets.preprocess import Preprocessing
from nets.resolve import input_count
from nets.table import Image, Table
from tests.nets.support import member_for, run, spec_for

LINEAR: dict[str, Any] = {"net": {"hidden": []}, "training": {"epochs": 60}}


@pytest.fixture(scope="module")
def digits() -> Table:
    x, y = load_digits(return_X_y=True)
    return Table.from_arrays(x, y, standardize=False, image=Image(8, 8))


def coloured_scenes(rows: int = 400, side: int = 12) -> Table:
    """Four colours of a blot on a grey ground, anywhere and of any size: what they share is no pixel but the colour."""
    rng = np.random.default_rng(0)
    colours = np.array([[0.9, 0.2, 0.1], [0.1, 0.8, 0.3], [0.2, 0.3, 0.9], [0.9, 0.8, 0.1]])
    y = np.arange(rows) % 4
    x = np.repeat(rng.random((rows, side, side, 1)), 3, axis=3)
    for image, kind in zip(x, y, strict=True):
        top, left, size = *rng.integers(side - 2, size=2), int(rng.integers(2, 5))
        blot = image[top : top + size, left : left + size]
        blot[:] = (colours[kind] + rng.normal(0, 0.08, blot.shape)).clip(0, 1)
    return Table.from_arrays(x.reshape(rows, -1), y, standardize=False, image=Image(side, side, 3))


def accuracy(table: Table, **spec: Any) -> float:
    return float(run(member_for(table, **LINEAR | spec)).outcomes[0].metrics["val_accuracy"])


def measured(table: Table, feature: Any) -> np.ndarray:
    """What one featuriser makes of every row, before it is standardised."""
    spec = spec_for(table, features=[feature])
    made = Preprocessing.fit(table, np.arange(len(table.x)), spec.features).features
    assert made is not None
    return made.measured(0, table.x)


def test_L18_every_pixel_adds_one_to_the_bin_of_its_hue() -> None:
    hues = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]], float)
    counts = [3, 1, 4, 1, 5, 2]
    image = np.repeat(hues, counts, axis=0).ravel()
    table = Table.from_arrays(np.stack([image, image[::-1]]), np.arange(2), standardize=False, image=Image(4, 4, 3))
    found = measured(table, {"name": "color_histogram", "space": "hue", "bins": 6})
    np.testing.assert_allclose(found[0] * 16, [*counts, 0], atol=1e-12)


@pytest.mark.parametrize("space", ["hue", "joint"])
def test_L18_colours_tell_apart_what_pixels_do_not(space: str) -> None:
    scenes = coloured_scenes()
    by_colour = accuracy(scenes, features=[{"name": "color_histogram", "space": space, "bins": 6}])
    assert by_colour > 0.95
    assert accuracy(scenes) < by_colour - 0.1


def test_L19_a_picture_of_320_by_240_has_10_800_numbers() -> None:
    rng = np.random.default_rng(0)
    picture = Table.from_arrays(rng.random((5, 320 * 240)), np.arange(5) % 2, standardize=False, image=Image(240, 320))
    spec = spec_for(picture, features=["hog"], net={"hidden": []})
    assert input_count(spec.features, picture.info) == 40 * 30 * 9 == 10_800
    assert prepare(picture, spec).x_train.shape == (4, 10_800)


@pytest.mark.parametrize("degrees", [0, 25, 45, 75, 90, 110, 150, 175])
def test_L19_an_edge_counts_for_its_direction_and_by_its_strength(degrees: int) -> None:
    """A ramp: every pixel has the same gradient; 9 bins of 20 degrees, half a turn in all."""
    angle = np.radians(degrees)
    y, x = np.mgrid[:16, :16]
    ramp = 0.5 + 0.02 * (np.cos(angle) * x + np.sin(angle) * y)
    rows = np.stack([ramp.ravel(), 2 * ramp.ravel(), -ramp.ravel()])
    votes = (
        FEATURISERS["hog"].measure(NumpyOperations, rows, (16, 16, 1), {"cell": 8, "bins": 9}, {}).reshape(3, 2, 2, 9)
    )
    assert set(votes.argmax(axis=-1).ravel()) == {degrees // 20}
    np.testing.assert_allclose(votes[1], 2 * votes[0], atol=1e-12)
    np.testing.assert_allclose(votes[2], votes[0], atol=1e-12)  # unsigned


def test_L20_patches_become_words_and_images_counts_of_words(digits: Table) -> None:
    words = {"name": "bag_of_words", "words": 50, "patch": 4}
    found = measured(digits, words)
    assert found.shape == (len(digits.x), 50)
    np.testing.assert_allclose(found.sum(axis=1), 1)  # each of the 25 patches is one word
    np.testing.assert_allclose(found * 25, np.round(found * 25), atol=1e-9)
    assert (found.sum(axis=0) > 0).all()
    assert accuracy(digits, features=[words]) > 0.88


def test_L21_features_lie_one_after_another(digits: Table) -> None:
    asked = [{"name": "hog", "cell": 4}, {"name": "bag_of_words", "words": 30}, "color_histogram", "raw"]
    data = prepare(digits, spec_for(digits, features=asked))
    parts = [prepare(digits, spec_for(digits, features=[one])).x_train for one in asked]
    assert [part.shape[1] for part in parts] == [36, 30, 8, 64]
    np.testing.assert_array_equal(data.x_train, np.concatenate(parts, axis=1))


def test_L21_features_and_a_linear_classifier_against_an_end_to_end_net(digits: Table) -> None:
    """One job each: features make a linear classifier nearly as good as a net that learns its own from the pixels."""
    asked = [{"name": "hog", "cell": 2}, {"name": "bag_of_words", "quadrants": True}]
    pixels, features = accuracy(digits), accuracy(digits, features=asked)
    end_to_end = accuracy(digits, net={"hidden": [128]})
    assert features > pixels
    assert end_to_end > pixels
    assert abs(features - end_to_end) < 0.02
