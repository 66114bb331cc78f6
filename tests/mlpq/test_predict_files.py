"""Files to predict are read as the job's data set was read: by the command, and by predict.py alone."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from mlpq import Client, InvalidInputError
from tests.mlpq.command import Mlpq

RNG = np.random.default_rng(3)
SIZE = RNG.normal(40, 9, 120).round(2)
KIND = ["big" if size > 40 else "small" for size in SIZE]
EPOCHS = ("--epochs", "60", "--hidden", "8", "--watch")


def trained(mlpq: Mlpq, name: str, content: bytes, *options: str) -> list[str]:
    """What the command says of the training file itself, which predict.py must say too."""
    Path(name).write_bytes(content)
    mlpq("upload", name, *options)
    found = mlpq.json("upload", name, *options)["id"]
    mlpq("train", found, *EPOCHS)
    said = mlpq("predict", "last", name).split()
    mlpq("weights", "last", "-o", "predict.py", "--format", "predict.py")
    return said


def by_script(name: str) -> list[str]:
    done = subprocess.run([sys.executable, "predict.py", name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.partition(",")[0] for line in done.stdout.splitlines()[1:]]


def agreement(said: list[str], truth: list[str]) -> float:
    assert len(said) == len(truth)
    return float(np.mean(np.array(said) == np.array(truth)))


def test_decimal_commas_and_thousands(mlpq: Mlpq) -> None:
    def written(number: float) -> str:
        return f"{number:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".")

    lines = [
        f"{written(1000 * size)};{'NA' if n % 9 == 0 else n % 5};{k}"
        for n, (size, k) in enumerate(zip(SIZE, KIND, strict=True))
    ]
    content = "\n".join(["größe;rest;kind", *lines, ""]).encode()
    said = trained(mlpq, "european.csv", content)
    assert (
        "numbers are read with a decimal comma and points between thousands"
        in mlpq("upload", "european.csv") + mlpq.stderr
    )
    assert agreement(said, KIND) > 0.9
    assert by_script("european.csv") == said
    Path("none.csv").write_text("a;b\n1;2\n")
    mlpq("predict", "last", "none.csv", status=2)
    assert "the rows have none of the job's columns: they have a, b; it knows größe, rest" in mlpq.stderr
    Path("packed.csv.gz").write_bytes(gzip.compress(content))
    assert mlpq("predict", "last", "packed.csv.gz").split() == said


@pytest.mark.parametrize("has_target", [True, False])
def test_a_file_without_a_header(mlpq: Mlpq, has_target: bool) -> None:
    rest = RNG.integers(0, 9, 120)
    content = "\n".join(f"{k},{size},{n}" for k, size, n in zip(KIND, SIZE, rest, strict=True))
    said = trained(mlpq, "letters.data", content.encode(), "--target", "column_1")
    assert agreement(said, KIND) > 0.9
    if not has_target:
        Path("new.data").write_text("\n".join(f"{size},{n}" for size, n in zip(SIZE, rest, strict=True)))
    name = "letters.data" if has_target else "new.data"
    assert mlpq("predict", "last", name).split() == by_script(name) == said


def test_the_encoding_and_the_kinds_of_the_data_set(mlpq: Mlpq) -> None:
    codes = [f"{n % 4:03d}" for n in range(120)]
    lines = [
        f"{code}\t{size}\t{'größer' if k == 'big' else k}" for code, size, k in zip(codes, SIZE, KIND, strict=True)
    ]
    content = "\n".join(["straße\tsize\tkind", *lines, ""]).encode("cp1252")
    truth = ["größer" if k == "big" else k for k in KIND]
    said = trained(mlpq, "old.csv", content, "--encoding", "cp1252", "--kind", "straße=categorical")
    assert agreement(said, truth) > 0.9
    assert by_script("old.csv") == said
    shown = mlpq.json("evaluate", "last", "old.csv")
    assert shown["metrics"]["accuracy"] == pytest.approx(agreement(said, truth))


def test_images_are_predicted_as_they_were_uploaded(mlpq: Mlpq, client: Client) -> None:
    images = RNG.integers(0, 100, (60, 6, 5, 3), np.uint8)
    labels = np.arange(60) % 3
    for label in range(3):
        images[labels == label, :, :, label] += 150
    np.savez("pictures.npz", X=images, y=labels)
    job = client.train(client.upload_arrays(images, labels), hidden=[6], epochs=30).wait(timeout_s=60)
    uploaded = client.upload("pictures.npz")
    assert client.dataset(uploaded.id).raw["white"] == 255
    said = job.predict(images)
    assert agreement(said.predictions.tolist(), list(map(str, labels))) > 0.95
    flat = job.predict(images.reshape(60, -1) / 255)
    np.testing.assert_allclose(said.probabilities, flat.probabilities, atol=1e-6)
    with pytest.raises(InvalidInputError, match=r"pixels are 0\.\.1: divide bytes by 255"):
        job.predict(images.reshape(60, -1))
    assert mlpq("predict", job.id, "pictures.npz").split() == said.predictions.tolist()
    np.save("pictures.npy", images)
    assert mlpq("predict", job.id, "pictures.npy").split() == said.predictions.tolist()


def test_a_file_as_people_keep_them(mlpq: Mlpq, client: Client) -> None:
    """Comments before it, a column without a name, one name twice, amounts, days before months, blanks at its end."""
    days = [f"{1 + n % 28:02d}/{1 + n % 12:02d}/2025 {n % 12 or 12}:30 PM" for n in range(120)]
    rows = [
        f'{n},{days[n]},"€{1000 * size:,.2f}",{n % 7},{size},{kind}'
        for n, (size, kind) in enumerate(zip(SIZE, KIND, strict=True))
    ]
    content = "\n".join(["# x from the shop; when, price", "#", ",when,price,x,x,kind", *rows, "  ", "", ""])
    said = trained(mlpq, "shop.csv", content.encode())
    assert agreement(said, KIND) > 0.9
    assert by_script("shop.csv") == said
    columns = {c["name"]: c for c in client.dataset(mlpq.json("upload", "shop.csv")["id"]).raw["columns"]}
    assert list(columns) == ["column_1", "when", "price", "x", "x.2"]
    assert (columns["when"]["kind"], columns["when"]["order"]) == ("datetime", "dmy")
    assert (columns["price"]["kind"], columns["x.2"]["minimum"]) == ("numeric", min(SIZE))
    early = [n for n, day in enumerate(days) if day.startswith(("01", "02"))]
    Path("early.csv").write_text("\n".join([",when,price,x,x,kind", *(rows[n] for n in early)]))
    assert mlpq("predict", "last", "early.csv").split() == by_script("early.csv") == [said[n] for n in early]
    assert mlpq.json("evaluate", "last", "early.csv")["metrics"]["accuracy"] > 0.8


def test_every_tabular_file_is_predicted_as_it_was_uploaded(mlpq: Mlpq) -> None:
    when = [f"2026-{1 + n % 12:02d}-{1 + n % 28:02d}T0{n % 10}:00:00" for n in range(120)]
    town = [("Köln", "Oslo", None)[n % 3] for n in range(120)]
    columns = {"size": SIZE, "town": town, "when": when, "late": [n % 2 == 0 for n in range(120)], "kind": KIND}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    table = pa.table(columns | {"when": pa.array(np.array(when, "datetime64[us]"))})
    said = trained(mlpq, "rows.jsonl", "\n".join(map(json.dumps, rows)).encode())
    assert agreement(said, KIND) > 0.8
    Path("rows.json").write_text(json.dumps(rows))
    pyarrow.parquet.write_table(table, "rows.parquet")
    pyarrow.feather.write_feather(table, "rows.feather")
    for name in ("rows.json", "rows.parquet", "rows.feather"):
        assert mlpq("predict", "last", name).split() == said, name
        assert mlpq.json("evaluate", "last", name)["metrics"]["accuracy"] == pytest.approx(agreement(said, KIND)), name
    Path("one.jsonl").write_text(json.dumps(rows[0]))
    assert mlpq("predict", "last", "one.jsonl").split() == said[:1]


def test_categories_that_training_has_not_seen_are_told(mlpq: Mlpq) -> None:
    rows = [f"{size},{'red' if n % 2 else 'blue'},{k}" for n, (size, k) in enumerate(zip(SIZE, KIND, strict=True))]
    Path("colours.csv").write_text("\n".join(["size,colour,kind", *rows, ""]))
    mlpq("train", "colours.csv", *EPOCHS)
    assert len(mlpq("predict", "last", "colours.csv").split()) == 120
    assert "training" not in mlpq.stderr
    new = ["gr\x1bey", *(f"shade {n}" for n in range(8)), "red", ""]
    Path("new.csv").write_text("size,colour\n" + "".join(f"{n},{colour}\n" for n, colour in enumerate(new)))
    assert len(mlpq("predict", "last", "new.csv").split()) == 11
    shades = ", ".join(f"shade {n}" for n in range(7))
    told = f"not seen in training, taken as no category: gr\\x1bey, {shades}, … in colour (9 rows)\n"
    assert mlpq.stderr == told
    found = mlpq.json("predict", "last", "-", stdin='{"size": 40, "colour": "green"}')
    assert found["unseen"] == [{"column": "colour", "n_rows": 1, "values": ["green"]}]
    assert mlpq.stderr == "not seen in training, taken as no category: green in colour (1 row)\n"
