"""NPY, IDX and CIFAR-10: what was written is read, in any order of files; what lies about its size is refused."""

from __future__ import annotations

import gzip
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nets.table import TableInfo
from store.ingest.arrays import npy_header
from tests.store.file_writers import batch, gzipped, idx, npy, tar, tar_of
from tests.store.ingest_parts import LIMITS, read, read_files, refused_files, run_process

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 5, 4), np.uint8)
LABELS = (np.arange(12) % 3).astype(np.uint8)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f8", "f4", ">i2", "?"])
@pytest.mark.parametrize("zipped", [False, True])
def test_one_npy_is_a_table_whose_last_column_is_the_target(
    tmp_path: Path, order: Any, dtype: str, zipped: bool
) -> None:
    table = np.asarray(RNG.integers(0, 2, (9, 4)), dtype, order=order)
    data = gzip.compress(npy(table)) if zipped else npy(table)
    found = read(tmp_path, data, "t.npy.gz" if zipped else "t.npy")
    np.testing.assert_array_equal(found.x, table[:, :3])
    np.testing.assert_array_equal(found.y, table[:, 3])
    assert [c["name"] for c in found.info["columns"]] == ["x0", "x1", "x2"]
    chosen = read(tmp_path / "chosen", npy(table), "t.npy", target="x1", features=["x3", "x0"])
    np.testing.assert_array_equal(chosen.x, table[:, [3, 0]])
    np.testing.assert_array_equal(chosen.y, table[:, 1])


@pytest.mark.parametrize("swapped", [False, True])
def test_two_npy_files_are_features_and_target_in_any_order(tmp_path: Path, swapped: bool) -> None:
    files = [(npy(PIXELS), "X.npy"), (npy(np.array(list("abc"))[LABELS]), "y.npy")]
    found = read_files(tmp_path, files[::-1] if swapped else files)
    np.testing.assert_allclose(found.x, PIXELS.reshape(12, -1) / 255, rtol=1e-6)
    np.testing.assert_array_equal(found.y, LABELS)
    assert found.info["classes"] == ["a", "b", "c"]
    assert found.info["image"] == {"height": 5, "width": 4, "channels": 1}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([(npy(PIXELS), "X.npy")], '"X.npy" has the shape (12, 5, 4); must be (rows, columns)'),
        ([(npy(LABELS), "y.npy")], '"y.npy" has the shape (12,)'),
        ([(npy(LABELS), "a.npy"), (npy(LABELS), "b.npy")], "exactly one must have one value per row"),
        ([(npy(PIXELS), "X.npy"), (npy(LABELS[:5]), "y.npy")], '"y.npy" has the shape (5,); must be (12,)'),
        ([(npy(PIXELS.astype(object)), "X.npy"), (npy(LABELS), "y.npy")], "holds Python objects (pickle)"),
        ([(npy(np.zeros((3, 2), complex)), "X.npy")], "must be real numbers"),
        ([(npy(np.zeros((3, 2)))[:-8], "X.npy")], 'array "X.npy" declares 48 bytes and holds 40'),
        ([(npy(np.zeros((3, 2))) + b"more", "X.npy")], 'array "X.npy" declares 48 bytes and holds 52'),
        ([(npy_header(np.dtype("f8"), (10**13, 2)), "X.npy")], "declares 160000000000000 bytes and holds 0"),
        ([(b"\x93NUMPY\x01\x00zz", "X.npy")], "has no valid NPY header"),
        ([(npy(np.array([[1.0, 0], [np.nan, 1]])), "X.npy")], "X.npy[1, 0] is nan"),
    ],
)
def test_wrong_npy_files_are_refused(tmp_path: Path, files: list[tuple[bytes, str]], said: str) -> None:
    assert said in refused_files(tmp_path, files).detail


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_an_idx_pair_is_told_apart_by_its_magic(tmp_path: Path, swapped: bool, zipped: bool) -> None:
    ending = ".gz" if zipped else ""
    pack = gzip.compress if zipped else bytes
    files = [
        (pack(idx(PIXELS)), f"train-images-idx3-ubyte{ending}"),
        (pack(idx(LABELS)), f"train-labels-idx1-ubyte{ending}"),
    ]
    found = read_files(tmp_path, files[::-1] if swapped else files)
    np.testing.assert_allclose(found.x, PIXELS.reshape(12, -1) / 255, rtol=1e-6)
    np.testing.assert_array_equal(found.y, LABELS)
    assert (found.info["target"], found.info["classes"]) == ("label", ["0", "1", "2"])
    assert found.info["image"] == {"height": 5, "width": 4, "channels": 1}
    assert found.info["standardize"] is False


@pytest.mark.parametrize(("code", "dtype"), [(0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")])
def test_idx_numbers_of_every_type_are_a_table(tmp_path: Path, code: int, dtype: str) -> None:
    x = np.arange(12).reshape(6, 2).astype(dtype)
    found = read_files(tmp_path, [(idx(x, code), "a"), (idx(LABELS[:6]), "b")], format="idx")
    np.testing.assert_array_equal(found.x, x)


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (idx(PIXELS), idx(LABELS[:4]), '"label" has the shape (4,); must be (12,)'),
        (idx(PIXELS), idx(PIXELS), "must be one file of labels (1 dimension)"),
        (idx(PIXELS), b"0,1,2\n", '"labels" does not begin like a file of format idx'),
        (idx(PIXELS)[:9], idx(LABELS), '"images" ends within its header'),
        (idx(PIXELS)[:-1], idx(LABELS), "declares the shape (12, 5, 4), 240 bytes, and holds 239"),
        (idx(PIXELS) + b"x", idx(LABELS), "declares the shape (12, 5, 4), 240 bytes, and holds 241"),
        (b"\0\0\x08\x04" + b"\xff" * 16, idx(LABELS), "and holds 0"),
        (b"\0\0\x08\x03" + struct.pack(">III", 2**31, 2**31, 4), idx(LABELS), "18446744073709551616 bytes"),
        (gzip.compress(idx(PIXELS))[:-9], idx(LABELS), "is a damaged gzip file"),
        (idx(PIXELS[:0]), idx(LABELS[:0]), "has no rows; at least 1 is needed"),
    ],
)
def test_wrong_idx_pairs_are_refused(tmp_path: Path, images: bytes, labels: bytes, said: str) -> None:
    assert said in refused_files(tmp_path, [(images, "images"), (labels, "labels")]).detail


@pytest.mark.parametrize("target", ["digit", "y"])
def test_an_idx_pair_has_one_target(tmp_path: Path, target: str) -> None:
    error = refused_files(tmp_path, [(idx(PIXELS), "a"), (idx(LABELS), "b")], target=target)
    assert (error.pointer, error.detail) == ("/options/target", f'is "{target}"; of an IDX pair it is "label"')


IMAGES = RNG.integers(0, 256, (7, 32, 32, 3), np.uint8)
CODES = np.array([2, 0, 2, 1, 0, 2, 1])
META = b"zebra\nhorse\ndonkey\nunused\n\n"


def archive(**changes: bytes) -> bytes:
    files = {
        "test_batch__bin": batch(IMAGES[5:], CODES[5:]),
        "data_batch_10__bin": batch(IMAGES[3:5], CODES[3:5]),
        "batches__meta__txt": META,
        "data_batch_2__bin": batch(IMAGES[:3], CODES[:3]),
        "readme__html": b"<p>not a batch</p>",
        "._data_batch_2__bin": b"\0\5\x16\7",
    }
    return tar(**(files | changes))


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_cifar_batches_are_read_in_the_order_of_their_numbers(tmp_path: Path, mode: str) -> None:
    data = archive() if mode == "w:gz" else gzip.decompress(archive())
    found = read(tmp_path, data, "cifar.tar.gz" if mode == "w:gz" else "cifar.tar")
    np.testing.assert_allclose(found.x, IMAGES.reshape(7, -1) / 255, rtol=1e-6)
    assert found.info["image"] == {"height": 32, "width": 32, "channels": 3}
    assert found.info["classes"] == ["zebra", "horse", "donkey"]
    np.testing.assert_array_equal(found.y, CODES)
    assert found.info["columns"][0]["name"] == "pixel_0_0_0"


def test_cifar_parts_are_chosen_and_one_batch_stands_alone(tmp_path: Path) -> None:
    train = read(tmp_path / "train", archive(), "c.tar.gz", part="train")
    test = read(tmp_path / "test", archive(), "c.tar.gz", part="test")
    np.testing.assert_array_equal(train.x, IMAGES[:5].reshape(5, -1).astype(np.float32) * np.float32(1 / 255))
    np.testing.assert_array_equal(test.x, IMAGES[5:].reshape(2, -1).astype(np.float32) * np.float32(1 / 255))
    alone = read(tmp_path / "alone", batch(IMAGES, CODES), "data_batch_1.bin")
    assert alone.info["classes"] == ["0", "1", "2"]
    np.testing.assert_array_equal(alone.y, CODES)


def cifar100(labels: np.ndarray) -> bytes:
    """CIFAR-100's archive: coarse labels are fine ones halved."""
    records = [
        bytes([label // 2]) + batch(image[None], label[None]) for image, label in zip(IMAGES, labels, strict=True)
    ]
    return tar_of(
        ("cifar-100-binary/test.bin", b"".join(records[5:])),
        ("cifar-100-binary/train.bin", b"".join(records[:5])),
        ("cifar-100-binary/fine_label_names.txt", b"ant\nbee\ncat\ndog\n"),
        ("cifar-100-binary/coarse_label_names.txt", b"insect\nmammal\n"),
    )


def test_cifar_100_has_fine_and_coarse_labels(tmp_path: Path) -> None:
    fine = np.array([3, 0, 1, 2, 0, 3, 1])
    found = read(tmp_path / "fine", cifar100(fine), "cifar-100-binary.tar.gz")
    np.testing.assert_allclose(found.x, IMAGES.reshape(7, -1) / 255, rtol=1e-6)
    assert (found.info["target"], found.info["classes"]) == ("fine_label", ["ant", "bee", "cat", "dog"])
    np.testing.assert_array_equal(found.y, fine)
    assert found.info["parts"] == [["train", 5], ["test", 2]]
    coarse = read(tmp_path / "coarse", cifar100(fine), "c.tar.gz", target="coarse_label", part="train")
    assert coarse.info["classes"] == ["insect", "mammal"]
    np.testing.assert_array_equal(coarse.y, fine[:5] // 2)
    said = refused_files(tmp_path / "none", [(cifar100(fine), "c.tar.gz")], target="label").detail
    assert said == 'is "label"; of these images it is "coarse_label" or "fine_label"'
    record = bytes([1]) + batch(IMAGES[:1], fine[:1])
    alone = read(tmp_path / "alone", record + bytes([0]) + batch(IMAGES[1:2], fine[1:2]), "train.bin")
    np.testing.assert_allclose(alone.x, IMAGES[:2].reshape(2, -1) / 255, rtol=1e-6)


def test_test_rows_among_others_are_marked_and_told(tmp_path: Path) -> None:
    both = read(tmp_path / "both", archive(), "c.tar.gz")
    assert both.info["parts"] == [["train", 5], ["test", 2]]
    (said,) = [warning for warning in both.info["warnings"] if "test rows" in warning]
    assert said.startswith("the last 2 of 7 rows are test rows: training.split {")
    parts = TableInfo.from_json(both.info).parts
    assert parts == (("train", 5), ("test", 2))
    for part in ("train", "test"):
        alone = read(tmp_path / part, archive(), "c.tar.gz", part=part)
        assert "parts" not in alone.info
        assert not any("test rows" in warning for warning in alone.info["warnings"])


def test_a_part_is_of_archives_alone(tmp_path: Path) -> None:
    error = refused_files(tmp_path, [(b"a,b\n1,0\n2,1\n", "t.csv")], part="train")
    assert (error.pointer, error.detail) == (
        "/options/part",
        "selects rows of the formats cifar10 and npz; this is csv",
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (archive(data_batch_2__bin=batch(IMAGES[:3], CODES[:3])[:-1]), "must be records of 3073 bytes"),
        (archive(batches__meta__txt=b"one\ntwo\n"), "record 1 has the label 2; batches.meta.txt names 2 classes"),
        (archive(batches__meta__txt=b"one\none\nthree\n"), 'class 1 is "one" again'),
        (archive(batches__meta__txt=b"\xff\n"), "batches.meta.txt is not UTF-8"),
        (tar(readme__html=b"x"), 'readme.html", and no records: looked for data_batch_*.bin, test_batch.bin'),
        (tar_of(("cats/1.jpg", b"x"), ("dogs/1.jpg", b"x")), "send pictures as one NPZ with X (rows, height, width"),
        (tar_of(("cifar-10-batches-py/data_batch_1", b"x")), "is the Python version of CIFAR, of pickles"),
        (tar_of(("a/data_batch_1.bin", b""), ("b/data_batch_1.bin", b"")), 'holds "data_batch_1.bin" twice'),
        (gzip.compress(gzip.decompress(archive())[:2000]), "bytes are missing"),
        (gzip.compress(b"\0" * 50 + b"q" * 2000), "a header's checksum is wrong"),
        (gzip.compress(b""), "has no records"),
        (archive()[:-20], "is a damaged gzip file"),
    ],
)
def test_wrong_cifar_archives_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    assert said in refused_files(tmp_path, [(data, "c.tar.gz")], format="cifar10").detail


def test_a_batch_of_another_size_is_refused(tmp_path: Path) -> None:
    error = refused_files(tmp_path, [(b"\1" * 3074, "data_batch_1.bin")])
    assert "has 3074 bytes; must be a tar archive, or a batch of records of 3073 bytes" in error.detail


def extended(size: int) -> bytes:
    """A tar archive whose extended header declares `size` bytes and holds zeros."""
    entry = tarfile.TarInfo("pax")
    entry.type, entry.size = tarfile.XHDTYPE, size
    return entry.tobuf(tarfile.USTAR_FORMAT) + bytes(size)


BOMB = 1 << 27


BOMBS: dict[str, Callable[[], list[tuple[bytes, str]]]] = {
    "npy": lambda: [(gzipped(npy_header(np.dtype("u1"), (BOMB, 1)) + bytes(BOMB)), "x.npy.gz")],
    "idx": lambda: [(gzipped(idx(np.zeros((BOMB, 1), np.uint8))), "x"), (idx(LABELS), "y")],
    "tar": lambda: [(gzipped(extended(BOMB)), "c.tar.gz")],
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_in_constant_memory(tmp_path: Path, kind: str) -> None:
    ran = run_process(tmp_path, BOMBS[kind](), LIMITS)
    assert (ran.status, ran.error["code"]) == (1, "too_large")
    assert "inflates to more than" in ran.error["detail"]
    assert ran.peak_mib < 90


def test_an_extended_header_takes_no_memory(tmp_path: Path) -> None:
    ran = run_process(tmp_path, [(extended(BOMB) + gzip.decompress(archive()), "c.tar")], LIMITS)
    assert (ran.status, ran.error) == (0, {})
    assert ran.peak_mib < 90


def test_many_images_are_read_in_constant_memory(tmp_path: Path) -> None:
    images = np.zeros((40_000, 28, 28), np.uint8)
    images[:] = np.arange(40_000)[:, None, None]
    files = [(idx(images), "images"), (idx((np.arange(40_000) % 10).astype(np.uint8)), "labels")]
    ran = run_process(tmp_path, files, LIMITS)
    assert (ran.status, ran.error) == (0, {})
    assert ran.peak_mib < 180
