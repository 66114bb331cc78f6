"""From keywords, files and options to the job specification of the HTTP contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpq.cli.arguments import join_widths, named_parts, split_of, widths
from mlpq.cli.rows import fit_rows, read_rows
from mlpq.cli.spec import assign, merge, read_spec
from mlpq.errors import InvalidArgumentError
from mlpq.settings import TrainSettings, job_specification


def test_short_keywords_reach_their_parts() -> None:
    body = job_specification(
        "digits", {"hidden": (64, 32), "learning_rate": 0.1, "epochs": 3, "name": "n", "loss": "svm", "tags": ("a",)}
    )
    assert body == {
        "dataset": "digits",
        "net": {"hidden": [64, 32]},
        "optimizer": {"name": "adam", "learning_rate": 0.1},
        "training": {"epochs": 3},
        "name": "n",
        "loss": "svm",
        "tags": ["a"],
    }


def test_features_are_sent_as_a_list_in_their_order() -> None:
    asked = ({"name": "hog", "cell": 4}, "raw")
    assert job_specification("digits", {"features": asked})["features"] == [{"name": "hog", "cell": 4}, "raw"]
    assert named_parts(["hog", '{"name": "hog", "cell": 4}']) == ["hog", {"name": "hog", "cell": 4}]
    with pytest.raises(InvalidArgumentError, match="no JSON"):
        named_parts(["{hog"])


def test_settings_of_sgd_name_sgd() -> None:
    assert job_specification("d", {"momentum": 0.9})["optimizer"] == {"name": "sgd", "momentum": 0.9}
    assert job_specification("d", {"optimizer": {"nesterov": True}, "l2": 0.0})["optimizer"]["name"] == "sgd"


def test_nothing_is_sent_that_was_not_given() -> None:
    assert job_specification("digits", {}) == {"dataset": "digits"}


def test_parts_and_short_keywords_add_up_and_the_given_parts_stay_untouched() -> None:
    optimizer = {"name": "adam", "beta1": 0.8}
    body = job_specification("d", {"optimizer": optimizer, "l2": 0.0, "schedule": "cosine", "training": {"seed": 1}})
    assert body["optimizer"] == {"name": "adam", "beta1": 0.8, "l2": 0.0}
    assert body["schedule"] == {"name": "cosine"}
    assert optimizer == {"name": "adam", "beta1": 0.8}


def test_the_same_setting_twice_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="epochs is given twice"):
        job_specification("d", {"training": {"epochs": 1}, "epochs": 2})


def test_an_unknown_keyword_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgumentError, match=r"hiden is no setting of a job; did you mean hidden\?"):
        job_specification("iris", {"hiden": [3]})
    with pytest.raises(InvalidArgumentError, match=r"lr is no setting.*learning_rate"):
        job_specification("d", {"lr": 0.1})


@pytest.mark.parametrize("keyword", sorted(TrainSettings.__annotations__))
def test_every_documented_keyword_has_its_place(keyword: str) -> None:
    value = {"name": "x"} if keyword in ("net", "training", "optimizer", "schedule", "loss") else 1
    if keyword in ("tags", "features"):
        value = ["a"]
    assert job_specification("d", {keyword: value}) != {"dataset": "d"}


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["train", "d", "--hidden", "64", "32", "--watch"], ["train", "d", "--hidden", "64,32", "--watch"]),
        (["--hidden", "8", "16", "4"], ["--hidden", "8,16,4"]),
        (["--hidden", "8", "--epochs", "3", "4"], ["--hidden", "8", "--epochs", "3", "4"]),
        (["--hidden", "none", "3"], ["--hidden", "none", "3"]),
    ],
)
def test_hidden_takes_several_words(typed: list[str], read: list[str]) -> None:
    assert join_widths(typed) == read


def test_widths_are_read() -> None:
    assert (widths("64,32"), widths("8x4x2"), widths("none")) == ([64, 32], [8, 4, 2], [])
    with pytest.raises(InvalidArgumentError, match="--hidden is '64,'"):
        widths("64,")


def test_a_split_is_read_from_its_options() -> None:
    assert split_of("fold", ["val", "3"], ["true", "null", "[1]"]) == {
        "column": "fold",
        "validation": ["val", 3],
        "test": [True, "null", "[1]"],
    }
    assert split_of("fold", [], ["t"]) == {"column": "fold", "test": ["t"]}
    assert split_of(None, [], []) is None
    with pytest.raises(InvalidArgumentError, match="need --split-column"):
        split_of(None, ["val"], [])


def test_assignments_reach_into_parts() -> None:
    body = {"optimizer": "adam", "net": {"hidden": [3]}}
    for text in ("optimizer.beta1=0.8", "net.activation=tanh", "training.clip_norm=null", 'tags=["a"]'):
        assign(body, text)
    assert body == {
        "optimizer": {"name": "adam", "beta1": 0.8},
        "net": {"hidden": [3], "activation": "tanh"},
        "training": {"clip_norm": None},
        "tags": ["a"],
    }
    with pytest.raises(InvalidArgumentError, match="--set"):
        assign(body, "nothing")


def test_merging_goes_part_by_part() -> None:
    assert merge({"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}, "b": {"z": 1}}) == {
        "a": {"x": 1, "y": 3},
        "b": {"z": 1},
    }


def test_files_that_are_no_specifications_are_refused(tmp_path: Path) -> None:
    for content in ("[1]", "{"):
        (tmp_path / "spec.json").write_text(content)
        with pytest.raises(InvalidArgumentError):
            read_spec(str(tmp_path / "spec.json"))
    with pytest.raises(InvalidArgumentError, match="No such file"):
        read_spec(str(tmp_path / "absent.json"))


def test_rows_come_from_csv_and_json(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_text("a;b;c\n1;x;\n2.5;y;3\n")
    rows = read_rows(str(file))
    assert rows == [{"a": "1", "b": "x", "c": None}, {"a": "2.5", "b": "y", "c": "3"}]
    assert fit_rows(rows, None) == ([{"a": 1.0, "b": "x", "c": None}, {"a": 2.5, "b": "y", "c": 3.0}], [], [])
    kinds = {"a": "categorical", "c": "numeric"}
    assert fit_rows(rows, kinds) == ([{"a": "1", "c": None}, {"a": "2.5", "c": 3.0}], ["b"], [])
    file.write_text('{"rows": [[1, 2], [3, 4]]}')
    assert read_rows(str(file)) == [[1, 2], [3, 4]]
    file.write_text("[1, 2]")
    assert read_rows(str(file)) == [[1, 2]]
    file.write_text("a,b\n")
    with pytest.raises(InvalidArgumentError, match="no rows"):
        read_rows(str(file))
