"""Weights stand on their own: same bytes, same predictions, also in three lines of plain NumPy."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from kernels.errors import InvalidInput, MalformedInput
from kernels.operations import ACTIVATIONS
from nets.export import load_npz, load_safetensors, map_npz
from nets.table import Column, Table, TableInfo
from nets.weight_formats import EXPORTERS, write
from nets.weights import Predictor, pack
from tests.nets.support import blobs, line, member_for, run
from tests.nets.test_data_preparation import mixed


def trained(table, **spec):
    member = member_for(table, **{"training": {"epochs": 3}, **spec})
    outcome = run(member).outcomes[0]
    return (
        member,
        outcome,
        pack(
            outcome.parameters, member.data.preprocessing, member.spec, table.info, outcome.metrics, golden_rows=table.x
        ),
    )


def test_plain_numpy_predicts_the_same():
    table = blobs()
    _, _, arrays = trained(table, net={"hidden": [16, 8], "activation": ["relu", "tanh"]})
    loaded = np.load(io.BytesIO(EXPORTERS["npz"](arrays)), allow_pickle=False)
    x = (table.x - loaded["input_mean"]) / loaded["input_std"]
    h = np.tanh(np.maximum(x @ loaded["W1"] + loaded["b1"], 0) @ loaded["W2"] + loaded["b2"])
    scores = h @ loaded["W3"] + loaded["b3"]
    found = Predictor.from_arrays(arrays).predict(table.x)
    assert found.predictions == [table.info.classes[c] for c in scores.argmax(axis=1)]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found.probabilities, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)


def test_predictions_score_what_the_run_reported():
    table = blobs(rows=400)
    member, outcome, arrays = trained(table)
    predictor = Predictor.from_arrays(arrays)
    from tests.nets.support import split

    _, val = split(table, 0, 0.2)
    right = np.array(predictor.predict(table.x[val]).predictions) == np.array(table.info.classes)[table.y[val]]
    assert right.mean() == pytest.approx(outcome.metrics["val_accuracy"], abs=1e-12)
    assert member.data.x_val.shape[0] == len(val)


def test_regression_predictions_come_back_in_target_units():
    table = line(rows=300)
    _, outcome, arrays = trained(table, training={"epochs": 100})
    predicted = np.array(Predictor.from_arrays(arrays).predict(table.x).predictions)
    assert np.corrcoef(predicted, table.y)[0, 1] > 0.95
    assert outcome.metrics["val_r2"] > 0.9
    assert abs(predicted.mean() - table.y.mean()) < 1


@pytest.mark.parametrize("name", ["npz", "safetensors"])
def test_a_file_gives_back_every_array_and_equal_arrays_give_equal_bytes(name):
    _, _, arrays = trained(blobs())
    data = EXPORTERS[name](arrays)
    assert data == EXPORTERS[name]({k: v.copy() for k, v in arrays.items()})
    back = (load_npz if name == "npz" else load_safetensors)(data)
    assert back.keys() == arrays.keys()
    for key, array in arrays.items():
        assert np.array_equal(back[key], array), key
    predictor = Predictor.from_arrays(back)
    predictor.verify(back["golden_inputs"], back["golden_outputs"])
    meta = json.loads(str(back["meta"]))
    assert meta["spec"]["net"]["hidden"] == [128]
    assert meta["activations"] == [{"expression": ACTIVATIONS["relu"].value}]


def test_damaged_weights_fail_their_golden_vectors():
    _, _, arrays = trained(blobs())
    arrays["W1"] = arrays["W1"] + np.float32(0.01)
    with pytest.raises(MalformedInput, match="golden"):
        Predictor.from_arrays(arrays).verify(arrays["golden_inputs"], arrays["golden_outputs"])


def test_golden_vectors_exist_without_rows():
    member = member_for(mixed(), training={"epochs": 2, "validation_fraction": 0.0})
    outcome = run(member).outcomes[0]
    arrays = pack(outcome.parameters, member.data.preprocessing, member.spec, mixed().info, outcome.metrics)
    assert arrays["golden_inputs"].shape[1] == 4
    Predictor.from_arrays(arrays).verify(arrays["golden_inputs"], arrays["golden_outputs"], tolerance=0.0)


def test_hostile_or_broken_files_are_refused():
    _, _, arrays = trained(blobs())
    good = EXPORTERS["npz"](arrays)
    evil = io.BytesIO()
    np.savez(evil, W1=np.array([{"a": 1}], dtype=object))
    with_text = io.BytesIO()
    with zipfile.ZipFile(with_text, "w") as archive:
        archive.writestr("W1.npy", b"not an array")
    for data in (b"", b"PK", good[: len(good) // 2], evil.getvalue(), with_text.getvalue()):
        with pytest.raises(MalformedInput):
            Predictor.from_arrays(load_npz(data))
    for data in (b"", b"\xff" * 64):
        with pytest.raises(MalformedInput):
            load_safetensors(data)
    for name in ("W1", "meta", "input_mean"):
        with pytest.raises(MalformedInput):
            Predictor.from_arrays({k: v for k, v in arrays.items() if k != name})
    with pytest.raises(MalformedInput):
        Predictor.from_arrays({**arrays, "W1": arrays["W1"][:2]})


def test_non_finite_weights_are_not_packed():
    member, outcome, _ = trained(blobs())
    bad = {**outcome.parameters, "b1": outcome.parameters["b1"] * np.nan}
    with pytest.raises(InvalidInput, match="finite"):
        pack(bad, member.data.preprocessing, member.spec, blobs().info, {})


def test_json_rows_become_cells():
    member = member_for(mixed(), training={"epochs": 1, "validation_fraction": 0.0})
    predictor = Predictor(member.spec, mixed().info, member.data.preprocessing, run(member).outcomes[0].parameters)
    rows = [{"size": 2, "colour": "green", "new": True}, [1.5, 5, "pink", None]]
    cells = predictor.cells(rows)
    np.testing.assert_array_equal(cells, [[2, np.nan, 1, 1], [1.5, 5, 3, np.nan]])
    assert np.isfinite(predictor.predict(cells).predictions).all()
    for bad, pointer in (([{"height": 1}], "/rows/0"), ([[1, 2]], "/rows/0"), ([[1, "x", "red", 0]], "/rows/0/1"),
                         ([[float("nan"), 1, "red", 0]], "/rows/0/0")):  # fmt: skip
        with pytest.raises(InvalidInput) as caught:
            predictor.cells(bad)
        assert caught.value.errors[0].pointer == pointer


@pytest.mark.parametrize("name", EXPORTERS)
def test_a_file_is_written_from_mapped_arrays_with_the_same_bytes(name, tmp_path):
    _, _, arrays = trained(blobs())
    (tmp_path / "source.npz").write_bytes(EXPORTERS["npz"](arrays))
    mapped = map_npz(tmp_path / "source.npz")
    assert mapped.keys() == arrays.keys()
    for key, array in arrays.items():
        assert np.array_equal(mapped[key], array), key
    write(name, mapped, tmp_path / "written")
    assert (tmp_path / "written").read_bytes() == EXPORTERS[name](arrays)


def test_only_plain_stored_arrays_are_mapped(tmp_path):
    np.savez_compressed(tmp_path / "compressed.npz", x=np.zeros(4))
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object), allow_pickle=True)
    (tmp_path / "text.npz").write_bytes(b"no archive")
    for name in ("compressed", "objects", "text"):
        with pytest.raises(MalformedInput):
            map_npz(tmp_path / f"{name}.npz")
    np.savez(tmp_path / "odd.npz", empty=np.zeros((0, 3)), columns=np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    mapped = map_npz(tmp_path / "odd.npz")
    assert mapped["empty"].shape == (0, 3)
    assert np.array_equal(mapped["columns"], np.arange(6.0).reshape(2, 3))


def test_dates_and_truth_values_are_given_in_words_and_misfits_are_named():
    columns = (Column("when", "datetime"), Column("member", "boolean", ("no", "yes")))
    x = np.stack([np.arange(20) * 86400.0, np.arange(20) % 2], axis=1)
    table = Table(TableInfo(20, columns, "regression"), x, np.arange(20.0))
    member = member_for(table, training={"epochs": 1})
    predictor = Predictor(member.spec, table.info, member.data.preprocessing, run(member).outcomes[0].parameters)
    cells = predictor.cells([["1970-01-02", "Yes"], [86400, False], {"when": "1970-01-01T12:00Z", "member": 1}])
    np.testing.assert_array_equal(cells, [[86400, 1], [86400, 0], [43200, 1]])
    for bad, pointer, said in (
        (["2/1/1970", "no"], "/rows/1/0", "when must be like 2026-01-31"),
        (["1970-01-02", "perhaps"], "/rows/1/1", "member must be true, false, no, yes, a finite number or null"),
        ([[1], "no"], "/rows/1/0", "when must be a finite number or null"),
    ):
        with pytest.raises(InvalidInput) as caught:
            predictor.cells([[0, 0], bad])
        assert caught.value.errors[0].pointer == pointer
        assert said in caught.value.errors[0].detail


def test_rows_that_overflow_the_net_are_named() -> None:
    predictor = Predictor.from_arrays(trained(blobs())[2])
    cells = np.zeros((3, len(predictor.info.columns)))
    cells[1, 0] = -1e299
    with pytest.raises(InvalidInput) as caught:
        predictor.predict(cells)
    (error,) = caught.value.errors
    assert error.pointer == "/rows/1"
    assert "too large" in error.detail
