"""NPZ: numbers, labels and images of any dtype and order; nothing is unpickled, nothing inflated that lies."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kernels.errors import InvalidInput, TooLarge
from store.ingest.arrays import npy_header
from tests.store.ingest_parts import npz, read, refused

X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
Y = np.array([0, 1, 1, 0])


def zipped(method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    """An archive of raw NPY files, however wrong they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("f8", "f8"), ("f4", "f4"), (">f4", "f8"), ("f2", "f4"), ("i8", "f8"), ("u1", "f4"), ("i2", "f4"), (">i4", "f8")],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_of_any_type_and_order_are_read_as_written(tmp_path: Path, dtype: str, stored: str, order: Any) -> None:
    found = read(tmp_path, npz(X=np.asarray(X, dtype, order=order), y=Y), "a.npz")
    np.testing.assert_array_equal(found.x, X)
    np.testing.assert_array_equal(found.y, Y)
    assert found.x.dtype == np.dtype(stored)
    assert found.info["classes"] == ["0", "1"]
    assert [column["name"] for column in found.info["columns"]] == ["x0", "x1"]


@settings(max_examples=40)
@given(
    x=hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 9), st.integers(1, 5)),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_any_finite_array_is_read_back_equal(tmp_path_factory: pytest.TempPathFactory, x: np.ndarray) -> None:
    found = read(tmp_path_factory.mktemp("npz"), npz(X=x, y=np.arange(len(x)) + 0.5), "a.npz")
    np.testing.assert_array_equal(found.x, x)


def test_lowercase_names_and_a_named_target_are_found(tmp_path: Path) -> None:
    data = npz(x=X, y=Y, age=np.array([1.5, 2.5, 3.5, 4.5])[:, None])
    np.testing.assert_array_equal(read(tmp_path / "y", data, "a.npz").y, Y)
    chosen = read(tmp_path / "age", data, "a.npz", target="age", features=["x1"])
    np.testing.assert_array_equal(chosen.y, [1.5, 2.5, 3.5, 4.5])
    np.testing.assert_array_equal(chosen.x, X[:, 1:])
    assert chosen.info["task"] == "regression"
    assert chosen.info["classes"] == []


@pytest.mark.parametrize(
    ("labels", "classes", "codes"),
    [
        (np.array(["b", "a", "a", "b"]), ["a", "b"], [1, 0, 0, 1]),
        (np.array([b"b", b"a", b"a", b"b"]), ["a", "b"], [1, 0, 0, 1]),
        (np.array([True, False, False, True]), ["False", "True"], [1, 0, 0, 1]),
        (np.array([-1, 1, 1, -1]), ["-1", "1"], [0, 1, 1, 0]),
        (np.array([7.0, 2.0, 2.0, 7.0]), ["2", "7"], [1, 0, 0, 1]),
    ],
)
def test_labels_of_any_type_become_codes(tmp_path: Path, labels: np.ndarray, classes: list[str], codes: Any) -> None:
    found = read(tmp_path, npz(X=X, y=labels), "a.npz")
    assert found.info["classes"] == classes
    np.testing.assert_array_equal(found.y, codes)


@pytest.mark.parametrize("shape", [(6, 4, 3), (6, 4, 3, 1), (6, 4, 3, 3)])
def test_images_of_bytes_are_scaled_and_their_shape_recorded(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = read(tmp_path, npz(X=pixels, y=np.arange(6) % 2), "a.npz")
    np.testing.assert_allclose(found.x, pixels.reshape(6, -1) / 255, rtol=1e-6)
    assert found.x.dtype == np.float32
    assert float(found.x.max()) <= 1.0
    assert found.info["standardize"] is False
    assert found.info["image"] == {"height": 4, "width": 3, "channels": shape[3] if len(shape) == 4 else 1}
    assert found.info["columns"][0]["name"] == ("pixel_0_0_0" if shape[3:] == (3,) else "pixel_0_0")
    assert read(tmp_path, npz(X=pixels, y=np.arange(6) % 2), "a.npz", standardize=True).info["standardize"] is True


def test_images_of_fractions_are_not_standardised_and_others_are(tmp_path: Path) -> None:
    unit = np.random.default_rng(0).random((6, 2, 2))
    assert read(tmp_path / "unit", npz(X=unit, y=np.arange(6) % 2), "a.npz").info["standardize"] is False
    assert read(tmp_path / "wide", npz(X=unit * 9, y=np.arange(6) % 2), "a.npz").info["standardize"] is True


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_need_a_policy(tmp_path: Path, value: float) -> None:
    x = X.copy()
    x[2, 1] = value
    data = npz(X=x, y=Y)
    error = refused(tmp_path / "default", data, "a.npz")
    assert (error.row, error.column, error.pointer) == (3, "x1", "/file/3/x1")
    assert f"X[2, 1] is {value}" in error.detail
    filled = read(tmp_path / "impute", data, "a.npz", missing="impute")
    assert np.isnan(filled.x[2, 1])
    assert filled.column("x1")["missing"] == 1
    assert len(read(tmp_path / "drop", data, "a.npz", missing="drop").x) == 3


def test_the_first_locations_of_nan_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, npz(X=np.full((50, 2), np.nan), y=np.arange(50) % 2), "a.npz")
    assert [e.pointer for e in caught.value.errors][:3] == ["/file/1/x0", "/file/1/x1", "/file/2/x0"]
    assert len(caught.value.errors) == 10


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"X": X.astype(object), "y": Y}, 'array "X" holds Python objects (pickle), which are never loaded'),
        ({"X": X, "y": Y.astype(object)}, 'array "y" holds Python objects (pickle)'),
        ({"X": X}, 'holds "X"; one must be called y or Y'),
        ({"y": Y}, 'holds "y"; one must be called X or x'),
        ({"X": X, "y": Y[:3]}, '"y" has the shape (3,); must be (4,)'),
        ({"X": X, "y": np.eye(4)}, '"y" has the shape (4, 4); must be (4,)'),
        ({"X": X[:, 0], "y": Y}, '"X" has the shape (4,); must be (rows, features)'),
        ({"X": np.zeros((4, 2, 2, 2)), "y": Y}, "with 1, 3 or 4 channels"),
        ({"X": np.zeros((4, 0)), "y": Y}, '"X" has 0 features; must be 1..65536'),
        ({"X": np.zeros((0, 2)), "y": Y[:0]}, "has no rows; at least 1 is needed"),
        ({"X": X.astype(complex), "y": Y}, '"X" has the type complex128; must be real numbers'),
        ({"X": X.astype(str), "y": Y}, '"X" has the type <U'),
        ({"X": X, "y": Y.astype("M8[s]")}, '"y" has the type datetime64[s]; must be numbers or text'),
        ({"X": X, "y": Y * 0}, 'the target "y" has one class, "0"; at least 2 are needed'),
        ({"X": X, "y": np.array([b"\xff", b"a", b"a", b"b"])}, '"y" holds text that is not Unicode'),
    ],
)
def test_wrong_arrays_are_refused_by_name(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    assert said in refused(tmp_path, npz(**arrays), "a.npz").detail


@pytest.mark.parametrize(
    ("labels", "task", "said"),
    [
        ([0, 1, 0.5, 1], "classification", "has the label 0.5; labels must be whole numbers or text"),
        ([0, 1, -2, 1], "classification", "has the label -2; labels must be 0..2147483647"),
        ([-2, -2, -2, 1], "auto", "send task: regression if these are quantities"),
        ([0, 1, 2**40, 1], "classification", "has the label 1099511627776; labels must be 0..2147483647"),
    ],
)
def test_wrong_labels_are_refused_by_value(tmp_path: Path, labels: list[float], task: str, said: str) -> None:
    assert said in refused(tmp_path, npz(X=X, y=np.array(labels)), "a.npz", task=task).detail


def test_a_missing_target_is_named(tmp_path: Path) -> None:
    error = refused(tmp_path, npz(X=X, y=Y), "a.npz", target="z")
    assert (error.pointer, error.detail) == ("/options/target", 'is "z"; the archive holds "X", "y"')


GOOD_X, GOOD_Y = npy(X), npy(Y)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (zipped(X=GOOD_X[:-8], y=GOOD_Y), 'array "X" declares 64 bytes and holds 56'),
        (zipped(X=GOOD_X + b"more", y=GOOD_Y), 'array "X" declares 64 bytes and holds 68'),
        (zipped(X=b"no header", y=GOOD_Y), 'array "X" has no valid NPY header'),
        (zipped(X=GOOD_X.replace(b"'<f8'", b"'os.x'"), y=GOOD_Y), 'array "X" has no valid NPY header'),
        (zipped(X=GOOD_X.replace(b"(4, 2)", b"(-4,2)"), y=GOOD_Y), "lengths must be 0 or more"),
        (zipped(X=b"\x93NUMPY\x03\x00" + GOOD_X[8:], y=GOOD_Y), "has NPY version (3, 0)"),
        (zipped(zipfile.ZIP_BZIP2, X=GOOD_X, y=GOOD_Y), "is compressed in a way that NumPy does not write"),
        (npz(X=X, y=Y)[:-30], "is a damaged or unsupported archive"),
        (zipped(zipfile.ZIP_STORED, X=GOOD_X, y=GOOD_Y).replace(GOOD_X[-8:], b"\x00" * 8), "is a damaged"),
        (b"PK\x03\x04 and nothing more", "is a damaged or unsupported archive"),
    ],
)
def test_damaged_archives_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    assert said in refused(tmp_path, data, "a.npz").detail


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [
        (8, 0x20, "is a damaged or unsupported archive: compressed patched data"),
        (8, 0x40, "is a damaged or unsupported archive: strong encryption"),
        (6, 99, "is a damaged or unsupported archive: zip file version 9.9"),
    ],
)
def test_archives_that_zipfile_does_not_implement_are_refused(
    tmp_path: Path, offset: int, value: int, said: str
) -> None:
    data = bytearray(zipped(X=GOOD_X, y=GOOD_Y))
    data[data.index(b"PK\x01\x02") + offset] = value
    assert said in refused(tmp_path, bytes(data), "a.npz").detail


def test_declared_sizes_are_refused_before_anything_is_inflated(tmp_path: Path) -> None:
    huge = npy_header(np.dtype(np.float64), (10**13,))
    with pytest.raises(TooLarge, match="declares arrays of 80000000000160 bytes"):
        read(tmp_path, zipped(X=huge, y=GOOD_Y), "a.npz")
    bomb = npy_header(np.dtype(np.uint8), (1 << 27, 1)) + bytes(1 << 27)
    with pytest.raises(TooLarge, match=r"declares arrays of 13421\d+ bytes"):
        read(tmp_path, zipped(X=bomb, y=GOOD_Y), "a.npz")


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "y_train", "X_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
    ids=["keras", "scikit-learn", "medmnist"],
)
def test_test_rows_come_after_the_others_and_are_on_record(tmp_path: Path, names: tuple[str, ...]) -> None:
    images = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
    labels = np.array([0, 1, 0, 1, 1, 0], np.uint8)
    arrays = (images[:4], labels[:4, None], images[4:], labels[4:, None])
    data = npz(**dict(zip(names, arrays, strict=True)), note=np.zeros(3))
    whole = read(tmp_path / "all", data, "mnist.npz")
    np.testing.assert_allclose(whole.x, images.reshape(6, 4) / 255, rtol=1e-6)
    np.testing.assert_array_equal(whole.y, labels)
    assert whole.info["parts"] == [["train", 4], ["test", 2]]
    assert any(said.startswith("the last 2 of 6 rows are test rows") for said in whole.info["warnings"])
    assert 'left out: "note"' in whole.info["warnings"]
    for part, rows in (("train", slice(4)), ("test", slice(4, 6))):
        found = read(tmp_path / part, data, "mnist.npz", part=part)
        np.testing.assert_array_equal(found.y, labels[rows])
        assert "parts" not in found.info


@pytest.mark.parametrize(
    ("tests", "options"),
    [
        ({"x_test": X[:1, :1], "y_test": Y[:1]}, {}),
        ({"x_test": X[:1].astype(np.float32), "y_test": Y[:1]}, {}),
        ({"x_test": X[:1], "y_test": Y[:1]}, {"missing": "drop"}),
        ({"x_test": X[:1]}, {}),
    ],
    ids=["other width", "other type", "rows are dropped", "no labels"],
)
def test_test_rows_that_cannot_be_kept_apart_are_left_out_with_a_word(
    tmp_path: Path, tests: dict[str, np.ndarray], options: dict[str, str]
) -> None:
    found = read(tmp_path, npz(x_train=X, y_train=Y, **tests), "a.npz", **options)
    assert found.info["n_rows"] == 4
    assert "left out: " + ", ".join(f'"{name}"' for name in tests) in found.info["warnings"]


def test_arrays_without_names_are_features_and_target(tmp_path: Path) -> None:
    found = read(tmp_path, npz(arr_0=X, arr_1=Y), "a.npz")
    np.testing.assert_array_equal(found.x, X)
    assert found.info["target"] == "arr_1"


def test_a_part_that_an_archive_does_not_have_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, npz(X=X, y=Y), "a.npz", part="test")
    assert (error.pointer, error.detail) == ("/options/part", "is test; the archive has no x_test and y_test")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat/0.png", "dog/1.png"], 'is a zip archive of files such as "dog/1.png"; send one of them by itself'),
        (["[Content_Types].xml", "xl/workbook.xml"], "is an office document; save its sheet as CSV"),
    ],
)
def test_other_archives_are_refused_with_a_word_on_what_to_send(tmp_path: Path, names: list[str], said: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    error = refused(tmp_path, buffer.getvalue(), "a.zip")
    assert (error.pointer, error.detail.startswith(said)) == ("/file", True)
