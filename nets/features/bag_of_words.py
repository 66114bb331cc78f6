"""A bag of visual words: which of a codebook's patches an image is made of.

Axis legend: n images, Q places of a patch in an image, N patches, D numbers of a patch, K words.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.random import Stream, uniform
from nets.features.featuriser import Arrays, Featuriser, Floats, Sample, Settings, Shape
from nets.features.numpy_operations import NumpyOperations
from nets.options import Option
from nets.table import Image
from nets.threads import ALONE

MAX_ITERATIONS = 50
"""Of k-means, which often stops by itself."""

MAX_CLUSTERED, MAX_COMPARED = 2_000_000_000, 100_000_000
"""Products of one iteration of k-means, samples x words x D; and of one image, Q x words x D: some seconds in all for
the first, a fraction of one for the second."""

MAX_HELD = 30_000_000
"""Numbers of all patches that the codebook is made of."""

_clustering = Lock()
"""The limit of threads is the process's: one k-means at a time sets and restores it."""

_BLOCK = 256
"""Images from which patches are cut at once."""

_NEVER = 1e200
"""Half the squared length of a word that nothing is near to."""


def patch_places(shape: Shape, patch: int, stride: int) -> NDArray[np.int64]:
    """Places (Q, D) of the numbers of every patch in an image's (height·width·channels); without a fourth channel."""
    height, width, channels = shape
    row, column, channel = np.indices((patch, patch, min(channels, 3))).reshape(3, -1)
    top, left = np.indices(((height - patch) // stride + 1, (width - patch) // stride + 1)).reshape(2, -1, 1) * stride
    return np.asarray(((top + row) * width + left + column) * channels + channel)


def normalized(xp: Any, patches: Any, numbers: int, contrast: Any) -> Any:
    """Patches (N, D), each less its mean and, with `contrast`, divided by its standard deviation; D is `numbers`."""
    average = np.full((numbers, 1), 1 / numbers)
    centred = patches - patches @ average
    return centred / xp.sqrt((centred * centred) @ average + 1e-3) if contrast else centred


def bag_of_words(xp: Any, x: Any, shape: Shape, settings: Settings, arrays: Arrays) -> Any:
    """Images (n, pixels·channels) in [0, 1] -> the share of patches nearest to each word (n, [4·]K).

    |p - w|² is least where p·w - |w|²/2 is largest; compared in steps of 2⁻³⁰, so that rounding decides no tie.
    """
    patch, stride, words = settings["patch"], settings["stride"], settings["words"]
    places = patch_places(shape, patch, stride)
    patches = xp.reshape(xp.take(x, places.ravel()), places.shape[1])
    patches = normalized(xp, patches, places.shape[1], settings["normalize"])
    fine = 2.0**30
    nearness = patches @ (arrays["words"].T * fine) - arrays["half_squares"] * fine
    word = xp.reshape(xp.argmax(xp.floor(nearness)), len(places))
    down, across = (shape[0] - patch) // stride + 1, (shape[1] - patch) // stride + 1
    if not settings["quadrants"]:
        return xp.histogram(word, 1 / (down * across), words)
    quadrant = (np.arange(down) * 2 // down * 2)[:, None] + np.arange(across) * 2 // across
    return xp.histogram(word + quadrant.ravel() * words, 1 / (down * across), 4 * words)


def fit(sample: Sample, settings: Settings) -> dict[str, NDArray[Any]]:
    """A codebook: words (K, D) and half their squares (K,), by k-means on random patches of the training rows."""
    words: int = settings["words"]
    patches = _random_patches(sample, settings)
    few = len({patch.tobytes() for patch in patches}) <= words
    found = np.unique(patches, axis=0) if few else _centres(patches, words, sample.seed)
    codebook = np.zeros((words, patches.shape[1]))
    codebook[: len(found)] = found
    half_squares = (codebook**2).sum(axis=1) / 2
    half_squares[len(found) :] = _NEVER
    return {"words": codebook, "half_squares": half_squares}


def _random_patches(sample: Sample, settings: Settings) -> Floats:
    """Patches (samples, D) of random images at random places."""
    places = patch_places(sample.shape, settings["patch"], settings["stride"])
    count: int = settings["samples"]
    drawn = uniform(sample.seed, Stream.PATCHES, (2, count)) * np.array([[sample.n_rows], [len(places)]])
    images, spots = drawn.astype(np.int64)
    order = np.argsort(images, kind="stable")
    images, spots = images[order], spots[order]
    patches = np.empty((count, places.shape[1]))
    wanted = np.unique(images)
    for start in range(0, len(wanted), _BLOCK):
        rows = wanted[start : start + _BLOCK]
        part = slice(*np.searchsorted(images, [rows[0], rows[-1] + 1]))
        pixels = sample.read(rows)
        patches[part] = pixels[np.searchsorted(rows, images[part])[:, None], places[spots[part]]]
    cut = normalized(NumpyOperations, patches, patches.shape[1], settings["normalize"])
    return np.asarray(cut + 0.0)  # no -0, so that equal patches have equal bytes


def _centres(patches: Floats, words: int, seed: int) -> Floats:
    """k-means from a k-means++ start, on one thread: the same bits however many cores there are."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with _clustering, ALONE, threadpool_limits(1, "openmp"):
        found = KMeans(words, n_init=1, max_iter=MAX_ITERATIONS, random_state=seed % 2**32).fit(patches)
    return np.asarray(found.cluster_centers_, np.float64)


def _width(image: Image, settings: Settings) -> int:  # noqa: ARG001
    return int(settings["words"]) * (4 if settings["quadrants"] else 1)


def _places(image: Image, settings: Settings) -> int:
    patch, stride = settings["patch"], settings["stride"]
    return int(((image.height - patch) // stride + 1) * ((image.width - patch) // stride + 1))


def _numbers(image: Image, settings: Settings) -> int:
    return int(settings["patch"]) ** 2 * min(image.channels, 3)


def _held(image: Image, settings: Settings) -> int:
    return _places(image, settings) * max(_numbers(image, settings), int(settings["words"]))


def _work(image: Image, settings: Settings) -> int:
    return _places(image, settings) * _numbers(image, settings) * int(settings["words"])


def _refuses(image: Image, settings: Settings) -> tuple[str, str] | None:
    patch, most = settings["patch"], min(image.height, image.width)
    if patch > most:
        return "patch", f"is {patch}; must be 2..{most} for images of {image.height} x {image.width}"
    words, samples, numbers = settings["words"], settings["samples"], _numbers(image, settings)
    if samples * numbers > MAX_HELD:
        return "samples", f"is {samples}; must be 100..{MAX_HELD // numbers} for patches of {numbers} numbers each"
    for what, count, limit in (
        ("samples", samples, MAX_CLUSTERED),
        ("patches of an image", _places(image, settings), MAX_COMPARED),
    ):
        allowed = limit // (count * numbers)
        if words > allowed:
            return "words", f"is {words}; must be 2..{allowed} for {count} {what} of {numbers} numbers each"
    return None


ROW = Featuriser(
    "bag_of_words",
    "The share of an image's patches that are nearest to each visual word. The words are the centres of k-means on "
    "random patches of the training rows.",
    "Fei-Fei & Perona 2005, A Bayesian hierarchical model for learning natural scene categories; "
    "Coates & Ng 2012, Learning feature representations with k-means",
    _width,
    bag_of_words,
    (
        Option("words", 64, "Words of the codebook.", 2, 4096),
        Option("patch", 4, "Pixels along each side of a patch.", 2, 32),
        Option("stride", 1, "Pixels from one patch of an image to the next.", 1, 32),
        Option("samples", 20_000, "Random patches that the codebook is made of.", 100, 200_000),
        Option("normalize", True, "Whether a patch's contrast is divided out, as its mean always is."),
        Option("quadrants", False, "Whether every quarter of the image is counted apart."),
    ),
    uses=(patch_places, normalized),
    held=_held,
    work=_work,
    fit=fit,
    refuses=_refuses,
)
