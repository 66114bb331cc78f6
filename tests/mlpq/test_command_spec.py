"""`mlpq train` with a specification: YAML or JSON, a file or standard input; options go over it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpq.cli.spec import _yaml
from tests.mlpq.command import Mlpq

NET = "dataset: iris\nnet: {hidden: [8], activation: tanh}\noptimizer: {name: sgd, learning_rate: 1e-2}\ntags: [no]\n"


def test_a_file_of_yaml_is_a_job(mlpq: Mlpq, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(NET)
    for words in (["net.yaml"], ["--spec", "net.yaml"], ["iris", "--spec", "net.yaml"]):
        spec = mlpq.json("train", *words, "--dry-run")["spec"]
        assert (spec["net"]["hidden"], spec["net"]["activation"], spec["optimizer"]["name"]) == ([8], ["tanh"], "sgd")
        assert spec["optimizer"]["learning_rate"] == 0.01
    job = mlpq.json("train", "net.yaml")
    assert (job["dataset"], job["tags"]) == ("iris", ["no"])


def test_standard_input_is_a_job_in_either_language(mlpq: Mlpq) -> None:
    assert mlpq.json("train", "-", "--dry-run", stdin=NET)["spec"]["net"]["hidden"] == [8]
    assert mlpq.json("train", "-", "--dry-run", stdin='{"dataset": "iris", "net": {"hidden": []}}')["parameters"] == 15
    assert mlpq.json("train", "wine", "--spec", "-", "--dry-run", stdin=NET)["dataset"] == "wine"


def test_options_go_over_the_file_and_keep_what_they_do_not_name(mlpq: Mlpq) -> None:
    spec = mlpq.json("train", "-", "--lr", "0.5", "--set", "net.init=xavier", "--dry-run", stdin=NET)["spec"]
    assert (spec["optimizer"]["name"], spec["optimizer"]["learning_rate"]) == ("sgd", 0.5)
    assert (spec["net"]["hidden"], spec["net"]["init"]) == ([8], "xavier")
    short = NET.replace("{name: sgd, learning_rate: 1e-2}", "rmsprop")
    spec = mlpq.json("train", "-", "--lr", "0.5", "--dry-run", stdin=short)["spec"]
    assert (spec["optimizer"]["name"], spec["optimizer"]["learning_rate"]) == ("rmsprop", 0.5)


def test_a_file_that_a_specification_names_is_uploaded(mlpq: Mlpq, tmp_path: Path) -> None:
    (tmp_path / "sizes.csv").write_text("x,size\n" + "".join(f"{x},{'ab'[x > 25]}\n" for x in range(50)))
    told = mlpq.json("train", "-", "--target", "size", "--dry-run", stdin="dataset: sizes.csv\n")
    assert told["dataset"].startswith("ds_")


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (
            "dataset: iris\nnet: {hiden: [3]}",
            '/net/hiden: is not a known field; did you mean "hidden"? [422 invalid_input]',
        ),
        ("dataset: iris\ntraning: {}", '/traning: is not a known field; did you mean "training"? [422 invalid_input]'),
        ("dataset: iris\nnet: {hidden: [yes]}", "/net/hidden/0"),
        ("net: {hidden: [3]}", "no data set is named"),
        ("a: [1", "standard input is no YAML: expected"),
        ("a: &x [1]\nb: *x", "aliases are not allowed in line 2"),
        ("a: 1\na: 2", "'a' is there twice in line 2"),
        ("- 1", "holds no settings"),
        ("3: 4", "holds no settings"),
        ("", "holds no settings"),
        ("a: !!python/object/apply:os.system [x]", "is no YAML: could not determine a constructor"),
        ('{"a": ', "standard input is no JSON"),
    ],
)
def test_what_cannot_be_a_job_is_said_in_a_line_with_a_hint(mlpq: Mlpq, stdin: str, said: str) -> None:
    assert mlpq("train", "-", status=2, stdin=stdin) == ""
    message, hint = mlpq.stderr.splitlines()
    assert said in message
    assert "mlpq" in hint


def test_a_file_that_is_not_there_or_no_text_is_named(mlpq: Mlpq, tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\xff")
    for name, why in (("absent.yaml", "No such file"), ("bytes.json", "it is not UTF-8")):
        mlpq("train", name, status=2)
        assert mlpq.stderr.startswith(f"mlpq: {name} cannot be read: {why}")


SCALARS = st.one_of(
    st.booleans(),
    st.none(),
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(SCALARS)
def test_numbers_and_words_mean_in_yaml_what_they_mean_in_json(value: Any) -> None:
    import json

    assert _yaml(f"a: {json.dumps(value)}", "it") == {"a": value}


@pytest.mark.parametrize(
    "text", ["no", "on", "yes", "off", "2026-11-27", "12:30:45", "0x1f", "0o17", "1_000", "<<", "="]
)
def test_what_is_no_word_of_json_stays_text(text: str) -> None:
    assert _yaml(f"a: {text}", "it") == {"a": text}


def test_infinity_is_a_number() -> None:
    assert math.isinf(_yaml("a: .inf", "it")["a"])


@pytest.mark.parametrize("text", ["a: " + "[" * 5000, '{"a": ' + "[" * 100_000])
def test_deep_nesting_is_refused(mlpq: Mlpq, text: str) -> None:
    mlpq("train", "-", status=2, stdin=text)
    assert "standard input is nested too deeply" in mlpq.stderr
