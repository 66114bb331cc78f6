"""Files that stand alone say what the service says: built-in sets, losses, activations, nets, kinds of columns."""

from __future__ import annotations

import itertools
import json
import pickletools
import subprocess
import sys
import zipfile
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from kernels.errors import Corrupted, InvalidInput
from kernels.operations import ACTIVATIONS
from nets.losses import LOSSES
from nets.member import Member
from nets.onnx_file import to_onnx
from nets.prepare import prepare
from nets.resolve import resolve
from nets.script import to_script
from nets.spec import TrainingSpec
from nets.table import Column, Table, TableInfo
from nets.torch_file import state_dict, to_torch
from nets.weight_formats import EXPORTERS, write
from nets.weights import Predictor, pack
from store import builtin
from tests.nets.support import blobs, line

RUN = """
import json, sys
for name in ("scipy", "torch", "safetensors", "nets", "kernels", "pandas"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
import predict
names, chances = predict.predict(json.load(sys.stdin))
print(json.dumps([names, None if chances is None else chances.tolist()]))
"""


def packed(table: Table, **spec: Any) -> dict[str, np.ndarray]:
    """A net's weights file with weights that nobody trained: every number of it matters."""
    asked = TrainingSpec.parse({"net": {"hidden": [7, 5]}} | spec)
    resolved = resolve(asked, table.info)
    member = Member(resolved, prepare(table, resolved))
    rng = np.random.default_rng(1)
    named = member.layout.named(member.initial_parameters())
    for name, array in named.items():
        noise = rng.normal(0, 0.3, array.shape)
        array += np.abs(noise) if name.startswith("running") else noise
    assert member.data.preprocessing is not None
    return pack(named, member.data.preprocessing, resolved, table.info, {})


def said_alone(folder: Path, arrays: dict[str, np.ndarray], rows: list[Any]) -> tuple[list[Any], Any]:
    """What the script says in a Python that has NumPy and no more."""
    (folder / "predict.py").write_bytes(to_script(arrays))
    command = [sys.executable, "-W", "error", "-c", RUN, str(folder)]
    done = subprocess.run(command, input=json.dumps(rows), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names, chances = json.loads(done.stdout)
    return names, chances


def assert_says_the_same(folder: Path, arrays: dict[str, np.ndarray], rows: list[Any]) -> None:
    predictor = Predictor.from_arrays(arrays)
    expected = predictor.predict(predictor.cells(rows))
    names, chances = said_alone(folder, arrays, rows)
    if predictor.info.task == "regression":
        unit = predictor.preprocessing.target_std
        np.testing.assert_allclose(np.array(names) / unit, np.array(expected.predictions) / unit, rtol=1e-5, atol=1e-5)
    else:
        assert names == expected.predictions
    assert (chances is None) == (expected.probabilities is None)
    if chances is not None:
        np.testing.assert_allclose(chances, expected.probabilities, atol=1e-5)


def builtin_table(name: str, folder: Path) -> Table:
    info = builtin.write_cells(name, folder)
    return Table(TableInfo.from_json(info), np.load(folder / "x.npy"), np.load(folder / "y.npy"))


@pytest.mark.parametrize("name", builtin.BUILTINS)
def test_predict_py_says_the_same_on_every_built_in_set(tmp_path: Path, name: str) -> None:
    table = builtin_table(name, tmp_path)
    assert_says_the_same(tmp_path, packed(table), table.x[:60].tolist())


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "custom"])
def test_predict_py_knows_every_activation(tmp_path: Path, activation: str) -> None:
    asked: Any = {"name": activation}
    if activation == "custom":
        asked |= {"expression": EVERY_FUNCTION, "beta": 1.5}
    arrays = packed(blobs(), net={"hidden": [7, 5], "activation": asked})
    assert_says_the_same(tmp_path, arrays, blobs().x[:40].tolist())


@pytest.mark.parametrize("loss", LOSSES)
def test_predict_py_knows_every_loss(tmp_path: Path, loss: str) -> None:
    table = line() if "classification" not in LOSSES[loss].tasks else blobs(classes=2)
    assert_says_the_same(tmp_path, packed(table, loss=loss), table.x[:40].tolist())


EVERY_FUNCTION = (
    "where(x > 0, x, beta * x) * sigmoid(beta*x) + pi / 9 + 0.1 * erf(x) - 0.1 * expm1(minimum(x, 0)) "
    "+ 0.1 * log1p(abs(x)) + 0.1 * softplus(x) + 0.01 * sqrt(1 + x**2) + 0.1 * log(1 + x**2)"
)
NETS = [{"hidden": []}, {"hidden": [4], "bias": False}, {"hidden": [6, 4], "batch_norm": True}]


@pytest.mark.parametrize("net", NETS)
def test_predict_py_knows_every_kind_of_net(tmp_path: Path, net: dict[str, Any]) -> None:
    assert_says_the_same(tmp_path, packed(blobs(), net=net), blobs().x[:40].tolist())


def people() -> Table:
    """Every kind of column, with holes, and one of many categories."""
    rng = np.random.default_rng(0)
    n, many = 300, 90
    x = np.stack(
        [
            rng.normal(40, 9, n),
            rng.integers(0, 3, n),
            rng.integers(0, 2, n),
            1.7e9 + rng.random(n) * 3e7,
            rng.integers(0, many, n) // (1 + rng.integers(0, 2, n)),
        ],
        axis=1,
    )
    x[rng.random(x.shape) < 0.1] = np.nan
    missing = np.isnan(x).sum(axis=0).tolist()
    columns = (
        Column("age", missing=missing[0]),
        Column("town", "categorical", ("bonn", "3", 'it\'s "ulm"\n'), missing[1]),
        Column("works", "boolean", ("No", "Yes"), missing[2]),
        Column("since", "datetime", missing=missing[3]),
        Column("shop", "categorical", tuple(f"s{k}" for k in range(many)), missing[4]),
    )
    return Table(TableInfo(n, columns, "classification", ("a", "b")), x, rng.integers(0, 2, n))


def test_predict_py_takes_rows_as_the_service_does(tmp_path: Path) -> None:
    rows: list[Any] = [
        [41.5, "bonn", True, "2024-03-01T12:30:00Z", "s1"],
        [None, 3.0, "no", "2024-03-01", "s89"],
        {"since": "01.03.2024 12:30", "age": 7},
        {"since": "1.3.2024"},
        {"since": "2024/03/01 12:30:00"},
        {"age": 30, "since": 1.71e9, "shop": "none such", "town": "paris", "works": 1},
        {"town": 'it\'s "ulm"\n'},
        ["", "", "", "", ""],
    ]
    assert_says_the_same(tmp_path, packed(people()), rows)


def run_script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "predict.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_predict_py_reads_a_table_and_proves_itself(tmp_path: Path) -> None:
    arrays = packed(people())
    (tmp_path / "predict.py").write_bytes(to_script(arrays))
    (tmp_path / "rows.csv").write_text("town,age,works,since,shop,more\nbonn,5,yes,2024-03-01 10:00,s3,x\n,,,,,\n")
    lines = run_script(tmp_path, "rows.csv").stdout.splitlines()
    assert lines[0] == "prediction,a,b"
    assert len(lines) == 3
    assert run_script(tmp_path).stdout == "the weights are whole\n"
    wrong = dict(arrays, golden_outputs=arrays["golden_outputs"] + 0.01)
    (tmp_path / "predict.py").write_bytes(to_script(wrong))
    done = run_script(tmp_path, "rows.csv")
    assert done.returncode != 0
    assert "golden vectors differ by 0.01" in done.stderr
    (tmp_path / "predict.py").write_bytes(to_script(arrays))
    (tmp_path / "rows.csv").write_text("age\nold\n")
    refused = run_script(tmp_path, "rows.csv")
    told, said = refused.stderr.splitlines()
    assert told == "predict.py: not there, taken as missing: town, works, since, shop"
    assert (refused.returncode, said) == (2, "predict.py: row 0, column age: 'old' does not fit numeric")
    (tmp_path / "rows.csv").write_text("age\n" + "5\n" * 50_000)
    cut = subprocess.run(
        f"{sys.executable} predict.py rows.csv | head -1",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert cut.stdout == "prediction,a,b\n"
    assert "Error" not in cut.stderr
    absent = run_script(tmp_path, "none.csv")
    assert (absent.returncode, absent.stderr.count("\n")) == (2, 1)
    assert "none.csv" in absent.stderr
    assert run_script(tmp_path, "--help").stdout.startswith("Predict with one trained net")


def test_every_format_gives_equal_bytes_for_equal_arrays() -> None:
    arrays = packed(people())
    for name, export in EXPORTERS.items():
        assert export(arrays) == export({key: array.copy() for key, array in arrays.items()}), name


def test_the_torch_file_holds_the_tensors_and_calls_nothing_else() -> None:
    arrays = packed(blobs(), net={"hidden": [6, 4], "batch_norm": True})
    tensors = state_dict(arrays)
    assert list(tensors)[:4] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    np.testing.assert_array_equal(tensors["0.weight"], arrays["W1"].T)
    with zipfile.ZipFile(BytesIO(to_torch(arrays))) as archive:
        assert archive.testzip() is None
        code = archive.read("archive/data.pkl")
        for key, tensor in enumerate(tensors.values()):
            data = np.frombuffer(archive.read(f"archive/data/{key}"), tensor.dtype).reshape(tensor.shape)
            np.testing.assert_array_equal(data, tensor)
    called = {str(argument) for opcode, argument, _ in pickletools.genops(code) if opcode.name == "GLOBAL"}
    assert called <= {
        "torch._utils _rebuild_tensor_v2",
        "collections OrderedDict",
        *(f"torch {kind}Storage" for kind in ("Float", "Double", "Long", "Bool")),
    }
    pickletools.dis(code, out=StringIO())  # raises for a stack that does not add up


def assert_onnx_says_the_same(arrays: dict[str, np.ndarray], cells: np.ndarray) -> None:
    content = to_onnx(arrays)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    predictor = Predictor.from_arrays(arrays)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = dict(zip((one.name for one in session.get_outputs()), session.run(None, {"x": cells}), strict=True))
    expected = predictor.predict(cells)
    scores = predictor.scores(cells)
    np.testing.assert_allclose(found["scores"], scores, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(scores).max())))
    if expected.probabilities is not None:
        np.testing.assert_allclose(found["probabilities"], expected.probabilities, atol=1e-5)
    if predictor.info.task == "regression":
        unit = predictor.preprocessing.target_std
        np.testing.assert_allclose(
            found["predictions"] / unit, np.array(expected.predictions) / unit, rtol=1e-5, atol=1e-5
        )
    assert set(found) == {"scores"} | ({"predictions"} if predictor.info.task == "regression" else set()) | (
        {"probabilities"} if expected.probabilities is not None else set()
    )
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == list(predictor.info.classes)
    assert [column["name"] for column in json.loads(told["columns"])] == [c.name for c in predictor.info.columns]


@pytest.mark.parametrize(("unit", "begin"), [(1.0, 2.0**40), (1e300, 0.0), (1e-30, 0.0)])
def test_predictions_keep_their_digits_in_every_unit(tmp_path: Path, unit: float, begin: float) -> None:
    table = line()
    arrays = packed(Table(table.info, table.x, table.y * unit + begin))
    predictor = Predictor.from_arrays(arrays)
    cells = np.asarray(table.x[:9], np.float64)
    expected = np.array(predictor.predict(cells).predictions)
    session = onnxruntime.InferenceSession(to_onnx(arrays), providers=["CPUExecutionProvider"])
    alone = said_alone(tmp_path, arrays, cells.tolist())[0]
    spread = predictor.preprocessing.target_std
    for found in (session.run(["predictions"], {"x": cells})[0], np.array(alone)):
        np.testing.assert_allclose((found - begin) / spread, (expected - begin) / spread, atol=1e-5)


def test_an_onnx_file_that_says_something_else_does_not_go_out() -> None:
    arrays = packed(blobs())
    assert EXPORTERS["onnx"](arrays) == to_onnx(arrays)
    with pytest.raises(Corrupted, match=r"golden rows differ by 0\.01"):
        EXPORTERS["onnx"](arrays | {"golden_outputs": arrays["golden_outputs"] + 0.01})


def test_a_large_onnx_file_is_checked_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = packed(blobs())
    write("onnx", arrays, tmp_path / "good.onnx")
    assert (tmp_path / "good.onnx").read_bytes() == to_onnx(arrays)
    with pytest.raises(Corrupted, match=r"^the ONNX file's scores of the golden rows differ by 0\.01"):
        write("onnx", arrays | {"golden_outputs": arrays["golden_outputs"] + 0.01}, tmp_path / "wrong.onnx")
    monkeypatch.setattr("nets.onnx_check.MEMORY_RATIO", 1e12)
    with pytest.raises(InvalidInput, match="memory"):
        write("onnx", arrays, tmp_path / "large.onnx")


@pytest.mark.parametrize("name", builtin.BUILTINS)
def test_onnx_says_the_same_on_every_built_in_set(tmp_path: Path, name: str) -> None:
    table = builtin_table(name, tmp_path)
    assert_onnx_says_the_same(packed(table), np.asarray(table.x[:60], np.float64))


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "custom"])
def test_onnx_knows_every_activation(activation: str) -> None:
    asked: Any = {"name": activation}
    if activation == "custom":
        asked |= {"expression": EVERY_FUNCTION, "beta": 1.5}
    assert_onnx_says_the_same(packed(blobs(), net={"hidden": [7, 5], "activation": asked}), blobs().x[:40])


@pytest.mark.parametrize("loss", LOSSES)
def test_onnx_knows_every_loss(loss: str) -> None:
    table = line() if "classification" not in LOSSES[loss].tasks else blobs(classes=2)
    assert_onnx_says_the_same(packed(table, loss=loss), table.x[:40])


@pytest.mark.parametrize("net", NETS)
def test_onnx_knows_every_kind_of_net_and_column(net: dict[str, Any]) -> None:
    table = people()
    cells = table.x.copy()
    cells[:3] = [[40, 3, 1, 1.71e9, 90], [np.nan] * 5, [1e6, 0, 0, -1e9, 89]]
    assert_onnx_says_the_same(packed(table, net=net), cells)


@pytest.mark.torch
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", builtin.BUILTINS)
def test_pytorch_loads_the_file_and_says_the_same(tmp_path: Path, name: str, net: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    table = builtin_table(name, tmp_path)
    arrays = packed(table, net={"activation": "relu"} | net)
    (tmp_path / "net.pt").write_bytes(to_torch(arrays))
    tensors = torch.load(tmp_path / "net.pt", weights_only=True)
    widths = [arrays["W1"].shape[0], *net["hidden"], arrays["golden_outputs"].shape[1]]
    layers: list[Any] = []
    for fan_in, width in itertools.pairwise(widths):
        layers.append(torch.nn.Linear(fan_in, width, bias=net.get("bias", True)))
        layers += [torch.nn.BatchNorm1d(width)] if net.get("batch_norm") else []
        layers.append(torch.nn.ReLU())
    module = torch.nn.Sequential(*layers[: -2 if net.get("batch_norm") else -1]).eval()
    module.load_state_dict({key: value for key, value in tensors.items() if key[0].isdigit()})
    x = torch.tensor(np.asarray(table.x[:60], np.float64))
    with torch.no_grad():
        found = module(((x - tensors["input_mean"]) / tensors["input_std"]).float()).numpy()
    np.testing.assert_allclose(found, Predictor.from_arrays(arrays).scores(table.x[:60]), rtol=1e-5, atol=1e-5)
