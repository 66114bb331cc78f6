"""Rows L16 to L21: templates, changes of coordinates, and features of images."""

from __future__ import annotations

import numpy as np

from nets.features.numpy_operations import NumpyOperations
from nets.features.registry import FEATURISERS
from nets.lecture.claim import Claim, Row, count, holds, same
from nets.lecture.play import Floats, accuracy, descend, spec_for
from nets.preprocess import Preprocessing
from nets.resolve import input_count
from nets.table import Image, Table


def coordinates() -> list[Claim]:
    """L17: two rings, by a linear classifier of (x, y) and by one of (r, θ)."""
    rng = np.random.default_rng(17)
    y = np.arange(200) % 2
    r, theta = 1 + y + rng.normal(0, 0.12, 200), rng.uniform(-np.pi, np.pi, 200)
    before, after = np.stack([r * np.cos(theta), r * np.sin(theta)], axis=1), np.stack([r - 1.5, theta], axis=1)
    zeros = {"W1": np.zeros((2, 2)), "b1": np.zeros(2)}
    right = [accuracy(descend(zeros, x, y, 300, 1.0)[0], x, y) for x in (before, after)]
    return [
        holds(f"a line in (x, y) is right for {right[0]:.0%}, hardly more than a coin", right[0] < 0.65),
        holds(f"a line in (r, θ) for {right[1]:.0%}", right[1] > 0.97),
    ]


def colours() -> list[Claim]:
    """L18."""
    hues = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]], float)
    counts = [3, 1, 4, 1, 5, 2]
    image = np.repeat(hues, counts, axis=0).reshape(1, -1)
    found = _measured("color_histogram", image, (4, 4, 3), space="hue", bins=6)
    shuffled = image.reshape(16, 3)[np.random.default_rng(0).permutation(16)].reshape(1, -1)
    return [
        same("pixels of six hues, and none that is grey", found[0] * 16, [*counts, 0]),
        same(
            "the same pixels elsewhere", _measured("color_histogram", shuffled, (4, 4, 3), space="hue", bins=6), found
        ),
    ]


def gradients() -> list[Claim]:
    """L19."""
    picture = Table.from_arrays(
        np.zeros((4, 320 * 240), np.float32), np.arange(4) % 2, standardize=False, image=Image(240, 320)
    )
    spec = spec_for(picture, features=["hog"], net={"hidden": []})
    claims = [count("numbers of a picture of 320 × 240", input_count(spec.features, picture.info), 40 * 30 * 9)]
    y, x = np.mgrid[:16, :16]
    for degrees in (0, 45, 110):
        angle = np.radians(degrees)
        ramp = 0.5 + 0.02 * (np.cos(angle) * x + np.sin(angle) * y)
        votes = _measured("hog", ramp.reshape(1, -1), (16, 16, 1), cell=8, bins=9).reshape(4, 9)
        claims.append(
            holds(
                f"an edge at {degrees}° counts for bin {degrees // 20}", (votes.argmax(axis=1) == degrees // 20).all()
            )
        )
    return claims


def words() -> list[Claim]:
    """L20."""
    spec = spec_for(_pictures(), features=[{"name": "bag_of_words", "words": 12, "patch": 4, "samples": 500}])
    made = Preprocessing.fit(_pictures(), np.arange(40), spec.features).features
    shares = np.empty((0, 0)) if made is None else made.measured(0, np.asarray(_pictures().x, np.float64))
    return [
        count("words of the codebook", shares.shape[1], 12),
        same("shares of an image's patches sum to 1", shares.sum(axis=1), np.ones(40)),
        same("each of 25 patches is one word", shares * 25, np.round(shares * 25), 1e-9),
        holds("every word is seen", (shares.sum(axis=0) > 0).all()),
    ]


def together() -> list[Claim]:
    """L21."""
    parts = ["raw", {"name": "hog", "cell": 4}, {"name": "color_histogram", "bins": 8}]
    widths = [input_count(spec_for(_pictures(), features=[one]).features, _pictures().info) for one in parts]
    whole = input_count(spec_for(_pictures(), features=parts).features, _pictures().info)
    return [
        count("inputs of pixels, HOG and brightness beside each other", whole, sum(widths)),
        count("that is", whole, 64 + 4 * 9 + 8),
    ]


def _pictures() -> Table:
    """Noise of 8 × 8 pixels in two classes."""
    x = np.random.default_rng(20).random((40, 64))
    return Table.from_arrays(x, np.arange(40) % 2, standardize=False, image=Image(8, 8))


def _measured(name: str, images: Floats, shape: tuple[int, int, int], **settings: object) -> Floats:
    measure = FEATURISERS[name].measure
    if measure is None:
        raise ValueError(f"{name} measures nothing")
    return np.asarray(measure(NumpyOperations, images, shape, settings, {}), np.float64)


ROWS = (
    Row(
        "L16",
        "Templates",
        "Each row of a linear classifier's W is a picture of its class, and every boundary is straight.",
        "“First-layer templates” of a job with `net.hidden: []`",
        None,
        "needs a trained job: see its view, and test_L16 in tests/lecture",
        "#/",
    ),
    Row(
        "L17",
        "Other coordinates",
        "Two rings cannot be told apart by a line; with radius and angle for x and y they can.",
        "your own columns; the decision boundary of a job",
        coordinates,
        "as two jobs: tests/lecture",
        "#/playground?dataset=circles",
    ),
    Row(
        "L18",
        "Colour histograms",
        "Every pixel adds to the bin of its colour, wherever it lies.",
        "`features: [color_histogram]`",
        colours,
        "colours tell apart what pixels do not: tests/lecture",
    ),
    Row(
        "L19",
        "Histograms of oriented gradients",
        "Cells of 8 × 8 pixels, each with the strength of its edges in 9 directions. 320 × 240 make 10 800 numbers.",
        "`features: [hog]`",
        gradients,
    ),
    Row(
        "L20",
        "Bag of visual words",
        "Random patches are clustered into a codebook; an image is how often each word occurs in it.",
        "`features: [bag_of_words]`",
        words,
    ),
    Row(
        "L21",
        "Features together",
        "Features lie one after another; on top is a linear classifier, or a net learns all from the pixels.",
        "a list in `features`",
        together,
        "both on the digits, two jobs within 2 %: tests/lecture",
    ),
)
