"""Pictures of what is hard to draw: hostile names, one class or hundreds, nothing at all; matplotlib must not warn."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from service.pictures.names import families, has, short
from service.pictures.registry import PICTURES
from service.pictures.style import render

HOSTILE = (
    "$x_1$",
    r"\frac{1",
    "長い名前",
    "naïve\u0301 €",
    "a" * 300,
    " ",
    "%s {} <b>",
    "$$",
    "_^~#&",
    "🙂 ok",
    "-1",
    "$",
)


def named(count: int) -> list[str]:
    return [*HOSTILE[:count], *(f"class {k}" for k in range(count - len(HOSTILE)))]


def confusion(count: int) -> dict[str, Any]:
    rng = np.random.default_rng(count)
    matrix = rng.integers(4, size=(count, count)) + 90 * np.eye(count, dtype=int)
    rows = [{"class": name, "precision": 0.5, "recall": None if k else 1.0} for k, name in enumerate(named(count))]
    metrics = {"accuracy": 0.987}
    shown = {"matrix": matrix.tolist(), "per_class": rows, "metrics": metrics, "rows": "validation"}
    return shown | {"n_rows": int(matrix.sum())}


def boundary(count: int, sure: bool = True) -> dict[str, Any]:
    rng = np.random.default_rng(count)
    grid = np.linspace(-1, 1, 20).tolist()
    points = {"x": rng.uniform(-1, 1, 90).tolist(), "y": rng.uniform(-1, 1, 90).tolist()}
    truth = rng.integers(count, size=90).tolist()
    return {
        "columns": list(HOSTILE[:2]),
        "classes": named(count),
        "x": grid,
        "y": [1e6 * value for value in grid],
        "predicted": rng.integers(count, size=(20, 20)).tolist(),
        "probability": rng.uniform(1 / count, 1, (20, 20)).tolist() if sure else None,
        "points": {
            "train": points | {"truth": truth},
            "validation": {"x": [], "y": [], "truth": []} if count == 2 else points | {"truth": truth},
        },
    }


def field(constant: bool) -> dict[str, Any]:
    shown = boundary(2) | {"classes": None, "target": HOSTILE[2]}
    values = np.full((20, 20), 3.0) if constant else np.arange(400.0).reshape(20, 20)
    shown["points"]["train"]["truth"] = [3.0] * 90 if constant else np.linspace(0, 400, 90).tolist()
    return shown | {"values": values.tolist()}


def templates(count: int, image: tuple[int, int, int] | None, inputs: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(count)
    shape = image or (inputs,)
    units = [{"name": name, "weights": rng.normal(size=shape).tolist()} for name in named(count)]
    units[0]["weights"] = np.zeros(shape).tolist()
    shown: dict[str, Any] = {"of": "hidden units", "n_units": count + 1, "templates": units}
    shown["image"] = None if image is None else dict(zip(("height", "width", "channels"), image, strict=True))
    return shown | {"inputs": named(inputs)}


def importance(count: int, image: bool = False, mean: float = 0.1) -> dict[str, Any]:
    columns = [
        {"name": name, "columns": [k], "mean": mean - k / 50 * mean, "std": 0.01} for k, name in enumerate(named(count))
    ]
    columns[-1] |= {"mean": None, "std": None}
    shape = {"height": 2, "width": count // 2, "channels": 1} if image else None
    about = {
        "metric": "accuracy",
        "baseline": None,
        "rows": "train",
        "n_rows": 1,
        "repeats": 1,
        "left_out": 0,
        "patch": 1,
    }
    return about | {"columns": columns, "image": shape}


def histograms(layers: int) -> dict[str, Any]:
    bars = {"edges": np.linspace(-1e-9, 1e9, 6).tolist(), "counts": [0, 1, 10**6, 3, 0], "std": None}
    active = bars | {"saturated": 0.999, "dead_units": 1.0}
    hidden = {"name": "hidden 1", "units": 1, "activation": "relu", "weights": bars, "gradients": bars}
    output = {"name": "output", "units": 2, "weights": bars, "gradients": bars}
    return {"n_rows": 1, "layers": [hidden | {"activations": active}] * (layers - 1) + [output]}


def calibration(count: int) -> dict[str, Any]:
    bins = [{"low": k / 10, "high": (k + 1) / 10, "count": 0, "stated": None, "observed": None} for k in range(10)]
    bins[9] = {"low": 0.9, "high": 1.0, "count": 5, "stated": 1.0, "observed": 1.0}
    about = {"rows": "all", "n_rows": 5, "expected_calibration_error": 0.0, "brier_score": 1e-12}
    return about | {"classes": named(count), "bins": bins}


def check(error: float | None) -> dict[str, Any]:
    return {"errors": {"W1": error, "b1": 0.0}, "tolerance": 1e-6, "ok": False, "checked": 9, "rows": 1}


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"confusion of {n}": ("confusion", confusion(n)) for n in (2, 3, 8, 12, 20, 21, 60, 61, 300)},
    **{f"boundary of {n}": ("boundary", boundary(n)) for n in (2, 12, 60, 100)},
    "boundary without probabilities": ("boundary", boundary(3, sure=False)),
    "field": ("boundary", field(constant=False)),
    "constant field": ("boundary", field(constant=True)),
    **{f"{n} grey templates": ("templates", templates(n, (8, 8, 1))) for n in (1, 2, 10, 64, 400)},
    "colour templates": ("templates", templates(7, (4, 6, 3))),
    "templates with alpha": ("templates", templates(7, (4, 6, 4))),
    "a flat image": ("templates", templates(12, (1, 64, 1))),
    "a high image": ("templates", templates(3, (64, 1, 1))),
    "weights of few inputs": ("templates", templates(3, None)),
    "weights of many inputs": ("templates", templates(200, None, 64)),
    **{f"importance of {n}": ("importance", importance(n)) for n in (1, 2, 30)},
    "importance of none": ("importance", importance(5, mean=0.0)),
    "importance of pixels": ("importance", importance(40, image=True)),
    **{f"histograms of {n}": ("histograms", histograms(n)) for n in (1, 2, 12)},
    **{f"calibration of {n}": ("calibration", calibration(n)) for n in (2, 12)},
    **{f"check of {error}": ("gradient_check", check(error)) for error in (None, 0.0, 1e-9, 1e300)},
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_drawn_and_nothing_leaves_the_picture(case: str) -> None:
    name, document = CASES[case]
    drawn: list[Figure] = []

    def draw() -> Figure:
        drawn.append(PICTURES[name](document, f"{HOSTILE[0]} on {HOSTILE[4][:32]}"))
        return drawn[0]

    pixels = imread(io.BytesIO(render(draw, 700)))
    height, width, _ = pixels.shape
    assert width == 700
    assert 100 < height < 4000
    assert len(np.unique(_codes(pixels))) > 20
    beyond = _ticks_beyond(drawn[0])
    for text in drawn[0].findobj(Text):
        if text.get_text().strip() and text.get_visible() and text not in beyond:
            box = text.get_window_extent()
            outside = box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
            assert not outside, f"{text.get_text()!r} at {box}"


def _codes(pixels: np.ndarray) -> np.ndarray:
    """One number for each colour: `np.unique` takes a second for as many rows."""
    return np.rint(255 * pixels).astype(np.int64) @ 256 ** np.arange(pixels.shape[2])


def _ticks_beyond(figure: Figure) -> set[Text]:
    """Labels of ticks beyond the limits of their axis, which are not drawn."""
    found = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low <= tick.get_loc() <= high:
                    found |= {tick.label1, tick.label2}
    return found


def test_names_are_short_and_of_characters_that_can_be_drawn() -> None:
    assert short("plain") == "plain"
    assert short("$x_1$") == "$x_1$"
    assert len(short("x" * 500)) == 18
    assert short("temperature at the sea 2024", 20) == "temperature…ea 2024"
    assert short("猫 a") == ("猫 a" if has("猫") else "U+732B a")
    assert short("e\u0301t\u00e9") == "été"
    assert short("two\u3000 words") == "two words"


def test_characters_that_no_typeface_has_are_spelled() -> None:
    lacking = {
        "ネコ": "neko",
        "한국어": "hangugeo",
        "ไทย": "sarathoyo",
        "\U0001f436 x": "(dog face) x",
        "\ue000": "U+E000",
    }
    for name, spelled in lacking.items():
        if not any(has(character) for character in name if not character.isascii()):
            assert short(name) == spelled
    assert len({short(name) for name in ("猫", "犬", "鳥")}) == 3
    assert short("кошка γάτα חתול") == "кошка γάτα חתול"


def test_another_typeface_helps_out_where_it_is_installed() -> None:
    assert families(("STIXGeneral", "No Such Face")) == ["DejaVu Sans", "STIXGeneral"]
    only = next(
        chr(code) for code in range(0x2300, 0x3000) if has(chr(code), ("STIXGeneral",)) and not has(chr(code), ())
    )
    assert only


def test_no_picture_no_matplotlib() -> None:
    code = "import sys, service.start; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
