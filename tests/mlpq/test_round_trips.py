"""Every format of data in, every artefact out, through the running service: each says what the service says."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from pyarrow.feather import write_feather
from safetensors.numpy import load_file

from mlpq import Client, Job, Prediction
from nets.weights import Predictor
from store.builtin import BUILTINS
from tests.store.file_writers import batch, idx, npy, parquet, tar

Rows = list[list[Any]]

RNG = np.random.default_rng(7)
SIZE, WEIGHT = RNG.normal(40, 9, 80).round(3), RNG.normal(0, 1, 80).round(3)
TOWN = [("Köln", "Málaga", "Oslo", None)[n % 4] for n in range(80)]
KIND = [("big" if size > 40 else "small") for size in SIZE]
GREY = RNG.integers(0, 256, (60, 6, 5), np.uint8)
COLOUR = RNG.integers(0, 256, (40, 32, 32, 3), np.uint8)
SHOWN_ROWS = 300
MIXED: Rows = [list(row) for row in zip(SIZE.tolist(), TOWN, WEIGHT.tolist(), strict=True)]
NUMBERS: Rows = [list(row) for row in zip(SIZE.tolist(), WEIGHT.tolist(), strict=True)]


def text_table() -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(
        [["size", "town", "weight", "kind"], *([*row, k] for row, k in zip(MIXED, KIND, strict=True))]
    )
    return out.getvalue().encode()


def json_lines() -> bytes:
    rows = [
        dict(zip(("size", "town", "weight", "kind"), (*row, k), strict=True))
        for row, k in zip(MIXED, KIND, strict=True)
    ]
    return "\n".join(map(json.dumps, rows)).encode()


def feather_table() -> bytes:
    buffer = io.BytesIO()
    write_feather(pa.table({"size": SIZE, "town": TOWN, "weight": WEIGHT, "kind": KIND}), buffer)
    return buffer.getvalue()


def arrays(**named: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **named)
    return buffer.getvalue()


def pixels(images: np.ndarray) -> Rows:
    rows: Rows = (images.reshape(len(images), -1) / 255).tolist()
    return rows


def archive() -> bytes:
    labels = np.arange(len(COLOUR), dtype=np.uint8) % 2
    return tar(data_batch_1__bin=batch(COLOUR, labels), batches__meta__txt=b"cat\ndog\n")


FORMATS: dict[str, tuple[Callable[[], Sequence[tuple[str, bytes]]], Rows]] = {
    "csv": (lambda: [("t.csv", text_table())], MIXED),
    "parquet": (
        lambda: [("t.parquet", parquet(size=SIZE, town=TOWN, weight=WEIGHT, kind=KIND))],
        MIXED,
    ),
    "feather": (lambda: [("t.feather", feather_table())], MIXED),
    "json": (lambda: [("t.jsonl", json_lines())], MIXED),
    "npz": (lambda: [("t.npz", arrays(X=np.array(NUMBERS), y=np.array(KIND)))], NUMBERS),
    "npz regression": (lambda: [("r.npz", arrays(X=np.array(NUMBERS), y=SIZE * 1000 + WEIGHT))], NUMBERS),
    "npy": (lambda: [("t.npy", npy(np.column_stack([SIZE, WEIGHT, np.arange(80) % 3])))], NUMBERS),
    "images": (lambda: [("i.npz", arrays(X=GREY, y=np.arange(60) % 3))], pixels(GREY)),
    "idx": (
        lambda: [("images-idx3", idx(GREY)), ("labels-idx1", idx(np.arange(60, dtype=np.uint8) % 3))],
        pixels(GREY),
    ),
    "cifar10": (lambda: [("c.tar.gz", archive())], pixels(COLOUR)),
}


def from_arrays(found: dict[str, np.ndarray], rows: Rows) -> tuple[list[Any], Any]:
    predictor = Predictor.from_arrays(found)
    said = predictor.predict(predictor.cells(rows))
    return said.predictions, said.probabilities


def by_npz(path: Path, rows: Rows) -> tuple[list[Any], Any]:
    with np.load(path, allow_pickle=False) as found:
        return from_arrays(dict(found), rows)


def by_safetensors(path: Path, rows: Rows) -> tuple[list[Any], Any]:
    length = int.from_bytes(path.read_bytes()[:8], "little")
    meta = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]["meta"]
    return from_arrays(load_file(path) | {"meta": np.array(meta)}, rows)


def by_script(path: Path, rows: Rows) -> tuple[list[Any], Any]:
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import predict; "
        "names, chances = predict.predict(json.load(sys.stdin)); "
        "print(json.dumps([names, None if chances is None else chances.tolist()]))"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(path.parent)]
    done = subprocess.run(command, input=json.dumps(rows), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names, chances = json.loads(done.stdout)
    return names, chances


def by_onnx(path: Path, rows: Rows) -> tuple[list[Any], Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    columns, classes = json.loads(told["columns"]), json.loads(told["classes"])

    def number(value: Any, column: dict[str, Any]) -> float:
        if value is None:
            return float("nan")
        return column["categories"].index(value) if column["categories"] else value

    cells = [[number(value, column) for value, column in zip(row, columns, strict=True)] for row in rows]
    found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"x": np.array(cells)}), strict=True))
    if "predictions" in found:
        return found["predictions"].tolist(), None
    return [classes[k] for k in found["scores"].argmax(axis=1)], found["probabilities"]


ARTEFACTS: dict[str, Callable[[Path, Rows], tuple[list[Any], Any]]] = {
    "weights.npz": by_npz,
    "weights.safetensors": by_safetensors,
    "predict.py": by_script,
    "net.onnx": by_onnx,
}


def trained(client: Client, form: str, folder: Path) -> tuple[Job, Rows, Prediction]:
    make, rows = FORMATS[form]
    paths = []
    for name, content in make():
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    record = client.upload(paths[0] if len(paths) == 1 else paths)
    job = client.train(record, hidden=[6], epochs=60).wait(timeout_s=60)
    return job, rows, job.predict(rows)


def trained_on_builtin(client: Client, name: str) -> tuple[Job, Rows, Prediction]:
    cells = BUILTINS[name].make().x
    rows: Rows = cells[:: max(1, len(cells) // SHOWN_ROWS)].tolist()
    job = client.train(name, hidden=[16], epochs=5).wait(timeout_s=60)
    return job, rows, job.predict(rows)


def assert_agrees(name: str, predictions: Sequence[Any], chances: Any, expected: Prediction) -> None:
    if expected.probabilities is None:
        spread = float(np.std(expected.predictions))
        np.testing.assert_allclose(predictions, expected.predictions, rtol=1e-5, atol=1e-5 * spread, err_msg=name)
    else:
        np.testing.assert_allclose(chances, expected.probabilities, atol=1e-5, err_msg=name)
        assert list(predictions) == expected.predictions.tolist(), name


@pytest.mark.parametrize("form", FORMATS)
def test_every_artefact_says_what_the_service_says(client: Client, tmp_path: Path, form: str) -> None:
    job, rows, expected = trained(client, form, tmp_path)
    assert len(set(expected.predictions.tolist())) > 1
    for name, said_by in ARTEFACTS.items():
        assert_agrees(name, *said_by(job.save_weights(tmp_path / name), rows), expected)


@pytest.mark.parametrize("name", BUILTINS)
def test_every_artefact_of_a_builtin_set_says_what_the_service_says(client: Client, tmp_path: Path, name: str) -> None:
    job, rows, expected = trained_on_builtin(client, name)
    assert len(set(expected.predictions.tolist())) > 1
    for file, said_by in ARTEFACTS.items():
        assert_agrees(file, *said_by(job.save_weights(tmp_path / file), rows), expected)


def by_torch(path: Path, rows: Rows) -> tuple[Any, Any]:
    """Scores of a net with one hidden layer of ReLU: predictions where it has a target's scale, else probabilities."""
    import torch

    tensors = torch.load(path, weights_only=True)
    x = (torch.tensor(rows, dtype=torch.float64) - tensors["input_mean"]) / tensors["input_std"]
    hidden = torch.relu(x.float() @ tensors["0.weight"].T + tensors["0.bias"])
    scores = hidden @ tensors["2.weight"].T + tensors["2.bias"]
    return (scores[:, 0].double() * tensors["target_std"] + tensors["target_mean"]).numpy(), scores


def assert_torch_agrees(path: Path, rows: Rows, expected: Prediction) -> None:
    import torch

    values, scores = by_torch(path, rows)
    if expected.probabilities is None:
        assert_agrees("torch", values, None, expected)
        return
    names = [expected.classes[code] for code in scores.argmax(dim=1).tolist()]
    assert_agrees("torch", names, torch.softmax(scores, dim=1).numpy(), expected)


@pytest.mark.torch
@pytest.mark.parametrize("form", [form for form, (_, rows) in FORMATS.items() if rows is not MIXED])
def test_pytorch_says_what_the_service_says(client: Client, tmp_path: Path, form: str) -> None:
    job, rows, expected = trained(client, form, tmp_path)
    assert_torch_agrees(job.save_weights(tmp_path / "net.pt"), rows, expected)


@pytest.mark.torch
@pytest.mark.parametrize("name", BUILTINS)
def test_pytorch_says_of_a_builtin_set_what_the_service_says(client: Client, tmp_path: Path, name: str) -> None:
    job, rows, expected = trained_on_builtin(client, name)
    assert_torch_agrees(job.save_weights(tmp_path / "net.pt"), rows, expected)
