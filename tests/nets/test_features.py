"""Featurisers: what they count against slow references, what they learn from which rows, what they refuse."""

from __future__ import annotations

import colorsys
import itertools
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.errors import InvalidInput
from nets.features.bag_of_words import patch_places
from nets.features.fitted import FittedFeatures
from nets.features.numpy_operations import NumpyOperations
from nets.features.registry import FEATURISERS
from nets.parts import fold_rows
from nets.prepare import prepare, prepare_folds
from nets.preprocess import Preprocessing
from nets.resolve import input_count, memory_estimate_bytes
from nets.spec import TrainingSpec
from nets.table import Image, Table
from nets.trainer import Command
from tests.nets.support import assert_same_arrays, blobs, member_for, pictures, run, spec_for, split

ROOT = Path(__file__).parent.parent.parent
MEASURING = [name for name, row in FEATURISERS.items() if row.measure]


def fitted(table: Table, *features: Any, seed: int = 0) -> FittedFeatures:
    spec = spec_for(table, features=list(features))
    made = Preprocessing.fit(table, np.arange(table.info.n_rows), spec.features, seed).features
    assert made is not None
    return made


def hog_by_hand(image: np.ndarray, cell: int, bins: int) -> np.ndarray:
    """Pixel by pixel, by angles: image (height, width, channels)."""
    height, width, channels = image.shape
    grey = image[..., 0] if channels == 1 else image[..., :3] @ [0.299, 0.587, 0.114]
    votes = np.zeros((math.ceil(height / cell), math.ceil(width / cell), bins))
    for y in range(height):
        for x in range(width):
            gx = grey[y, min(x + 1, width - 1)] - grey[y, max(x - 1, 0)]
            gy = grey[min(y + 1, height - 1), x] - grey[max(y - 1, 0), x]
            angle = math.degrees(math.atan2(gy, gx)) % 180
            votes[y // cell, x // cell, int(angle / (180 / bins)) % bins] += math.hypot(gx, gy)
    return votes.ravel()


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 7, 3), (5, 13, 4)])
@pytest.mark.parametrize(("cell", "bins"), [(4, 9), (3, 6), (8, 5)])
def test_hog_is_what_angles_give_pixel_by_pixel(shape: tuple[int, int, int], cell: int, bins: int) -> None:
    table = pictures(20, shape)
    table = replace(table, x=np.random.default_rng(1).random(table.x.shape))  # no gradient between two bins
    found = fitted(table, {"name": "hog", "cell": cell, "bins": bins}).measured(0, table.x)
    expected = [hog_by_hand(row.reshape(shape), cell, bins) for row in table.x]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bins", [2, 4, 6, 9, 12])
def test_a_gradient_between_two_directions_counts_for_the_first(bins: int) -> None:
    """Whole numbers make exact ties, which rounding must not decide: along the axes and the diagonals."""
    steps = [(1, 0), (0, 1), (1, 1), (3, 0), (0, 7), (5, 5), (1, -1), (-1, 1), (-4, 4)]
    images = np.array([[gy * y + gx * x for y in range(9) for x in range(9)] for gx, gy in steps], float)
    settings = {"cell": 9, "bins": bins}
    found = FEATURISERS["hog"].measure(NumpyOperations, images, (9, 9, 1), settings, {})
    for (gx, gy), votes in zip(steps, found, strict=True):
        angle = math.degrees(math.atan2(gy, gx)) % 180 / (180 / bins)
        between = abs(angle - round(angle)) < 1e-9
        expected = {0: 0}.get(round(angle), round(angle) - 1) if between else int(angle)
        inner = 49 * math.hypot(2 * gx, 2 * gy)
        assert votes[expected] >= inner * (1 - 1e-12), (gx, gy, bins, votes)


def color_by_hand(image: np.ndarray, bins: int, space: str) -> np.ndarray:
    votes = np.zeros(bins**3 if space == "joint" else bins + 1)
    for red, green, blue in image:
        if space == "joint":
            levels = [min(int(value * bins), bins - 1) for value in (red, green, blue)]
            votes[(levels[0] * bins + levels[1]) * bins + levels[2]] += 1
            continue
        turn = (colorsys.rgb_to_hsv(red, green, blue)[0] + 0.5 / bins) % 1.0
        chroma = max(red, green, blue) - min(red, green, blue)
        votes[min(int(turn * bins), bins - 1)] += chroma
        votes[bins] += 1 - chroma
    return votes / len(image)


@pytest.mark.parametrize("space", ["joint", "hue"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_are_counted_as_a_reference_counts_them(space: str, channels: int) -> None:
    table = pictures(20, (6, 5, channels))
    found = fitted(table, {"name": "color_histogram", "bins": 5, "space": space}).measured(0, table.x)
    expected = [color_by_hand(row.reshape(-1, channels)[:, :3], 5, space) for row in table.x]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_grey_images_have_a_histogram_of_brightness_over_their_range() -> None:
    table = pictures(30, (8, 8, 1), levels=17)
    table = replace(table, x=table.x * 16 - 4)  # -4..12
    made = fitted(table, {"name": "color_histogram", "bins": 4})
    assert (made.low, made.high) == (-4, 12)
    expected = [np.histogram(row, 4, (-4, 12))[0] / 64 for row in table.x]
    np.testing.assert_allclose(made.measured(0, table.x), expected)
    beyond = made.measured(0, np.array([[-100.0] * 32 + [100.0] * 32]))
    assert beyond.tolist() == [[0.5, 0, 0, 0.5]]


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 7, 3)])
@pytest.mark.parametrize("quadrants", [False, True])
def test_every_patch_counts_for_its_nearest_word(shape: tuple[int, int, int], quadrants: bool) -> None:
    table = pictures(40, shape)
    settings = {"words": 6, "patch": 3, "stride": 2, "samples": 500, "quadrants": quadrants, "normalize": False}
    made = fitted(table, {"name": "bag_of_words", **settings})
    words = made.learnt[0]["words"]
    height, width, _ = shape
    tops, lefts = range(0, height - 2, 2), range(0, width - 2, 2)
    for row, found in zip(table.x[:10], made.measured(0, table.x[:10]), strict=True):
        image, votes = row.reshape(shape), np.zeros((2, 2, 6))
        for i, top in enumerate(tops):
            for j, left in enumerate(lefts):
                patch = image[top : top + 3, left : left + 3].ravel()
                word = ((patch - patch.mean() - words) ** 2).sum(axis=1).argmin()
                votes[i * 2 // len(tops), j * 2 // len(lefts), word] += 1 / (len(tops) * len(lefts))
        np.testing.assert_allclose(found, votes.ravel() if quadrants else votes.sum(axis=(0, 1)), atol=1e-12)


def test_a_patch_between_two_words_counts_for_the_first_however_sums_are_rounded() -> None:
    rng = np.random.default_rng(0)
    half = rng.random((500, 8))
    images = np.concatenate(
        [half, half[:, ::-1]], axis=1
    )  # alike in both directions, as near to a word as to its mirror
    words = np.repeat(rng.normal(size=(20, 16)), 2, axis=0)
    words[1::2] = words[1::2, ::-1]
    learnt = {"words": words, "half_squares": np.repeat((words[::2] ** 2).sum(axis=1) / 2, 2)}
    settings = {"patch": 4, "stride": 1, "words": 40, "normalize": True, "quadrants": False}
    found = FEATURISERS["bag_of_words"].measure(NumpyOperations, images, (4, 4, 1), settings, learnt)
    assert found[:, 0::2].sum() == 500


def test_the_words_are_centres_of_random_patches_of_the_rows() -> None:
    """Rows of four kinds: with as many words each kind is one, and each row has nothing but its own."""
    kinds = np.random.default_rng(3).random((4, 16))
    x = kinds[np.arange(80) % 4]
    table = Table.from_arrays(x, np.arange(80) % 4, standardize=False, image=Image(4, 4))
    bag = {"name": "bag_of_words", "words": 4, "patch": 4, "samples": 200, "normalize": False}
    made = fitted(table, bag)
    words = made.learnt[0]["words"]
    centred = kinds - kinds.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(np.sort(words, axis=0), np.sort(centred, axis=0), atol=1e-12)
    assert sorted(made.measured(0, kinds).argmax(axis=1)) == [0, 1, 2, 3]
    more = fitted(table, bag | {"words": 7})  # no more than four are found; the others are nearest to nothing
    assert more.measured(0, x)[:, 4:].max() == 0


def test_patches_are_cut_row_by_row_without_a_fourth_channel() -> None:
    image = np.arange(5 * 6 * 4).reshape(5, 6, 4)
    places = patch_places((5, 6, 4), 3, 2)
    assert places.shape == (4, 27)
    np.testing.assert_array_equal(image.ravel()[places[1]].reshape(3, 3, 3), image[:3, 2:5, :3])
    np.testing.assert_array_equal(image.ravel()[places[2]].reshape(3, 3, 3), image[2:5, :3, :3])


EVERYTHING: list[Any] = ["color_histogram", {"name": "bag_of_words", "words": 9}, "raw", {"name": "hog", "cell": 4}]


def test_inputs_lie_in_the_order_given_and_are_standardised_apart() -> None:
    table = pictures(60, (8, 8, 3))
    spec = spec_for(table, features=EVERYTHING, training={"precision": "float64", "validation_fraction": 0.0})
    data = prepare(table, spec)
    assert data.n_inputs == 512 + 9 + 192 + 36 == input_count(spec.features, table.info) == data.x_train.shape[1]
    np.testing.assert_array_equal(data.x_train[:, 521 : 521 + 192], table.x)
    for name, part in {"color": slice(0, 512), "bag": slice(512, 521), "hog": slice(713, 749)}.items():
        made = data.x_train[:, part]
        np.testing.assert_allclose(made.mean(axis=0), 0, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(made.var(axis=0).mean(), 1, err_msg=name)


def test_everything_is_learnt_from_the_training_rows_alone() -> None:
    table = pictures(80, (8, 8, 1))
    spec = spec_for(table, features=EVERYTHING)
    train, val = split(table, 0, 0.2)
    before = arrays_of(prepare(table, spec))
    other = table.x.copy()
    other[val] = 1 - other[val] * 7
    assert_alike(before, arrays_of(prepare(replace(table, x=other), spec)))
    other = table.x.copy()
    other[train] = np.roll(other[train], 1, axis=1)
    assert not np.array_equal(
        arrays_of(prepare(replace(table, x=other), spec))["input_feature1_words"], before["input_feature1_words"]
    )


def test_every_fold_learns_from_its_own_rows() -> None:
    table = pictures(80, (8, 8, 1))
    spec = spec_for(table, features=EVERYTHING, training={"folds": 3})
    for rows, data in zip(fold_rows(table, np.arange(80), 0, 3), prepare_folds(table, spec), strict=True):
        own = np.setdiff1d(np.arange(80), rows)
        assert_alike(arrays_of(data), Preprocessing.fit(table, own, spec.features, 0).arrays())
    words = [arrays_of(data)["input_feature1_words"] for data in prepare_folds(table, spec)]
    assert not np.array_equal(words[0], words[1])


def test_a_run_that_is_taken_up_again_ends_in_the_same_bits() -> None:
    """Another process prepares the rows anew: from the same rows and seed the same codebook."""
    table = pictures(80, (8, 8, 1))
    spec: dict[str, Any] = {"features": EVERYTHING, "net": {"hidden": [6]}, "training": {"epochs": 6}}
    whole = run(member_for(table, **spec)).outcomes[0]
    looks, ticks = itertools.count(), itertools.count()
    stopped = run(
        member_for(table, **spec),
        script=lambda _: Command.PAUSE if next(looks) >= 4 else Command.CONTINUE,
        clock=lambda: float(next(ticks)),  # a step a chunk
    )
    state = stopped.checkpoints[0][-1]
    assert 0 < int(state["step"]) < whole.step
    again = run(replace(member_for(table, **spec), state=state)).outcomes[0]
    assert_same_arrays(again.parameters, whole.parameters)


def arrays_of(data: Any) -> dict[str, np.ndarray]:
    return data.preprocessing.arrays()


def assert_alike(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert np.array_equal(array, right[name]), name


DIGEST = """
import hashlib, sys
import numpy as np
from tests.nets.test_features import EVERYTHING, pictures, spec_for, prepare
table = pictures(300, (12, 12, 1))
for seed in sys.argv[1:]:
    training = {"seed": int(seed), "validation_fraction": 0.0}
    data = prepare(table, spec_for(table, features=EVERYTHING, training=training))
    made = [data.x_train, data.x_val, *data.preprocessing.arrays().values()]
    print(hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in made)).hexdigest())
"""


def test_the_seed_decides_every_bit_whatever_the_threads() -> None:
    def digests(threads: int, *seeds: str) -> list[str]:
        limits = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS")}
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **limits}
        command = [sys.executable, "-c", DIGEST, *seeds]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.split()

    one, two = digests(1, "1", "2")
    assert digests(2, "1") == [one]
    assert one != two


@pytest.mark.parametrize("name", MEASURING)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, -300.0])
def test_images_without_any_difference_give_finite_inputs(name: str, value: float) -> None:
    table = Table.from_arrays(np.full((20, 75), value), np.arange(20) % 2, standardize=False, image=Image(5, 5, 3))
    data = prepare(table, spec_for(table, features=[name, "raw"]))
    assert np.abs(data.x_train).max() <= max(1, abs(value))
    seen = data.preprocessing.transform(np.random.default_rng(0).random((10, 75)) * 1e6)
    assert np.isfinite(seen).all()


def test_a_gap_counts_as_the_median_of_the_training_rows() -> None:
    table = pictures(40, (6, 6, 1))
    columns = tuple(replace(c, missing=1) if i == 7 else c for i, c in enumerate(table.info.columns))
    x = table.x.copy()
    x[3, 7] = np.nan
    table = replace(table, info=replace(table.info, columns=columns), x=x)
    spec = spec_for(table, features=["hog", "raw"], training={"validation_fraction": 0.0})
    preprocessing = prepare(table, spec).preprocessing
    assert preprocessing is not None
    full = x[3].copy()
    full[7] = np.nanmedian(x[:, 7])
    found, expected = preprocessing.transform(x[3:4]), preprocessing.transform(full[None])
    assert preprocessing.n_inputs == 9 + 36 + 1
    gap = 9 + 8  # the input that tells where the eighth pixel was missing
    assert (found[0, gap], expected[0, gap]) == (1, 0)
    np.testing.assert_array_equal(np.delete(found, gap), np.delete(expected, gap))


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pictures(60, (8, 8, 3))
    whole = prepare(table, spec_for(table, features=EVERYTHING)).x_train
    monkeypatch.setattr("nets.features.fitted._BLOCK", 3000)
    monkeypatch.setattr("nets.preprocess._BLOCK", 5000)
    np.testing.assert_array_equal(prepare(table, spec_for(table, features=EVERYTHING)).x_train, whole)


def test_what_a_job_asks_for_is_what_its_record_says() -> None:
    table = pictures()
    assert "features" not in spec_for(table).to_json()
    assert "features" not in spec_for(table, features=["raw"]).to_json()
    spec = spec_for(table, features=["hog", "raw"])
    assert spec.to_json()["features"] == [{"name": "hog", "cell": 8, "bins": 9}, "raw"]
    assert TrainingSpec.parse(spec.to_json()).to_json() == spec.to_json()
    wide = spec_for(table, features=[{"name": "hog", "cell": 2}, "raw"])
    assert memory_estimate_bytes(wide, table.info) > memory_estimate_bytes(spec_for(table), table.info)


@pytest.mark.parametrize(
    ("features", "pointer", "detail"),
    [
        (["raw", "hog"], "/features/1", "is hog, which is made of images; the rows of this data set are none: use raw"),
        (["raw", "raw"], "/features/1", "is raw with the same settings again"),
        (["edges"], "/features/0/name", 'is "edges"; must be one of raw, color_histogram, hog, bag_of_words'),
        ([{"name": "hog", "cell": 1}], "/features/0/cell", "is 1; must be an integer >= 2 and <= 256"),
        ([{"name": "hog", "blocks": 2}], "/features/0/blocks", "is not a setting of hog; its settings are: cell, bins"),
        ([], "/features", "is []; must hold at least 1"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(features: list[Any], pointer: str, detail: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        spec_for(blobs(), features=features)
    assert caught.value.errors[0].pointer == pointer
    assert caught.value.errors[0].detail.startswith(detail)


@pytest.mark.parametrize(
    ("shape", "settings", "name", "detail"),
    [
        ((9, 7, 3), {"patch": 8}, "patch", "is 8; must be 2..7 for images of 9 x 7"),
        (
            (32, 32, 3),
            {"words": 4096, "patch": 6},
            "words",
            "is 4096; must be 2..925 for 20000 samples of 108 numbers each",
        ),
        ((32, 32, 3), {"patch": 32}, "samples", "is 20000; must be 100..9765 for patches of 3072 numbers each"),
        (
            (64, 64, 1),
            {"words": 300, "patch": 16, "samples": 100},
            "words",
            "is 300; must be 2..162 for 2401 patches of an image of 256 numbers each",
        ),
    ],
)
def test_patches_must_fit_into_the_images_and_their_words_into_some_seconds(
    shape: tuple[int, int, int], settings: dict[str, int], name: str, detail: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        spec_for(pictures(6, shape), features=["raw", {"name": "bag_of_words", **settings}])
    assert caught.value.errors[0].pointer == f"/features/1/{name}"
    assert caught.value.errors[0].detail == detail


def test_a_pixel_that_weighs_the_rows_leaves_no_image() -> None:
    with pytest.raises(InvalidInput, match="made of images"):
        spec_for(pictures(), features=["hog"], training={"sample_weight": "x3"})
