"""The ingest process: whatever a file does to it, the answer is one of our errors and the memory stays bounded."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from kernels.errors import InvalidInput, TooLarge
from store.ingest.limits import Limits
from store.ingest.options import IngestOptions, Source
from store.ingest.problems import CellError
from store.ingest.sandbox import ingest
from tests.store.file_writers import gzipped, npz_bomb, tar_header, tar_of
from tests.store.ingest_parts import npz, run_process

SMALL = b"a,y\n1,p\n2,q\n"


@pytest.fixture(scope="module")
def usual_mib(tmp_path_factory: pytest.TempPathFactory) -> float:
    ran = run_process(tmp_path_factory.mktemp("usual"), [(SMALL, "a.csv")])
    assert ran.status == 0
    return ran.peak_mib


WIDE = json.dumps({f"c{place}": 0 for place in range(60_000)}).encode()
CLASSES = "\n".join(map(str, range(150_000))).encode()

BOMBS: dict[str, tuple[Callable[[], bytes], str, str, int]] = {
    "npz of zeros": (lambda: npz_bomb(1 << 28), "a.npz", "too_large", 16),
    "npz header of 10^13 elements": (lambda: npz_bomb(10**13), "a.npz", "too_large", 16),
    "gzip of zeros": (lambda: gzipped(b"a,y\n" + b"0" * (100 << 20)), "a.csv.gz", "too_large", 16),
    "one endless line": (lambda: b"a,y\n" + b"1," * (30 << 20), "a.csv", "invalid_input", 64),
    "quote that is never closed": (lambda: b'a,y\n1,"' + b"p\n" * (10 << 20), "a.csv", "invalid_input", 16),
    "blanks in json": (lambda: gzipped(b"[" + b" " * (100 << 20)), "a.json.gz", "too_large", 16),
    "endless object in json": (lambda: b'{"a": [' + b"{}," * (4 << 20), "a.json", "invalid_input", 280),
    "endless text in json": (lambda: b'{"a": "' + b"p" * (20 << 20), "a.json", "invalid_input", 48),
    "too many names in json": (
        lambda: json.dumps(dict.fromkeys(map(str, range(1 << 18)))).encode(),
        "a.json",
        "invalid_input",
        200,
    ),
    "columns that json rows lack": (lambda: WIDE + b"{}\n" * 30_000, "a.jsonl", "too_large", 64),
    "cifar-100 of zeros": (
        lambda: gzipped(tar_of(("train.bin", bytes(50_000 * 3074)), mode="w")),
        "a.tgz",
        "too_large",
        16,
    ),
    "cifar-100 header of 10^18 bytes": (lambda: tar_header("train.bin", 3074 << 50), "a.tar", "too_large", 16),
    "a hundred thousand classes": (
        lambda: tar_of(("fine_label_names.txt", CLASSES), mode="w"),
        "a.tar",
        "invalid_input",
        16,
    ),
    "a million names": (lambda: b",".join([b"a"] * (1 << 20)) + b"\n", "a.csv", "invalid_input", 64),
}
"""How to make it, its name, the code of the refusal, MiB that it may cost beyond a small file."""


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_memory_is_taken(tmp_path: Path, usual_mib: float, bomb: str) -> None:
    make, filename, code, allowed_mib = BOMBS[bomb]
    ran = run_process(tmp_path, [(make(), filename)])
    assert ran.status == 1
    assert ran.error["code"] == code, ran.error
    grown = ran.peak_mib - usual_mib
    assert grown < allowed_mib, f"{bomb}: {grown:.0f} MiB more than a small file"


def test_a_large_table_is_read_in_constant_memory(tmp_path: Path, usual_mib: float) -> None:
    row = b"1.25,-2.5,3e-3,4.125,5.5,6.75,7.875,8.0,9.5,%d\n"
    data = b"a,b,c,d,e,f,g,h,i,y\n" + b"".join(row % (i % 3) for i in range(150_000))
    ran = run_process(tmp_path, [(data, "a.csv")])
    assert ran.status == 0
    assert np.load(tmp_path / "x.npy", mmap_mode="r").shape == (150_000, 9)
    grown = ran.peak_mib - usual_mib
    assert grown < 80, f"{len(data) >> 20} MiB of text took {grown:.0f} MiB of memory"


def _ingest(folder: Path, data: bytes, limits: Limits, filename: str = "a.csv") -> dict[str, object]:
    path = folder / "upload"
    path.write_bytes(data)
    out = folder / "out"
    out.mkdir()
    return ingest([Source(path, filename)], IngestOptions(), out, limits)


def test_the_answer_is_the_same_as_in_this_process(tmp_path: Path) -> None:
    info = _ingest(tmp_path, SMALL, Limits())
    assert (info["n_rows"], info["format"]) == (2, "csv")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["x.npy", "y.npy"]


def test_errors_keep_row_and_column_across_the_process(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        _ingest(tmp_path, b"a,b,y\n1,2,p\n1_0,2_0,q\n", Limits())
    assert caught.value.errors == (
        CellError(
            "/file/3/a", 'row 3, column "a": "1_0" is not a number: digits may not be grouped by underscores', 3, "a"
        ),
        CellError(
            "/file/3/b", 'row 3, column "b": "2_0" is not a number: digits may not be grouped by underscores', 3, "b"
        ),
    )


def test_the_memory_limit_refuses_the_file(tmp_path: Path) -> None:
    labels = np.array([f"{i:0200d}" for i in range(100_000)])
    data = npz(X=np.zeros((100_000, 1)), y=labels)
    with pytest.raises(InvalidInput, match="could not be read within 200 MiB of memory"):
        _ingest(tmp_path, data, Limits(memory_bytes=200 << 20), "a.npz")


def test_a_reader_that_cannot_even_start_refuses_the_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="could not be read"):
        _ingest(tmp_path, SMALL, Limits(memory_bytes=48 << 20))


def test_the_wall_clock_limit_kills_the_reader(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(InvalidInput, match="took longer to read than allowed"):
        _ingest(tmp_path, b"a,y\n" + b"1,0\n" * 4_000_000, Limits(wall_s=0.5))
    assert time.monotonic() - begin < 15
    assert not _processes_about(tmp_path)


def test_the_processor_limit_kills_the_reader(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="1 s of processor time"):
        _ingest(tmp_path, b"a,y\n" + b"1,0\n" * 6_000_000, Limits(cpu_s=1))


def test_the_output_limit_refuses_the_file(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="makes an array of more than 10000 bytes"):
        _ingest(tmp_path, b"a,y\n" + b"1,0\n2,1\n" * 5_000, Limits(output_bytes=10_000))


def test_a_full_disk_is_told_apart_from_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "x.npy").symlink_to("/dev/full")
    ran = run_process(tmp_path, [(SMALL, "a.csv")])
    assert (ran.status, ran.error["code"]) == (1, "disk_full")


def _processes_about(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it may end while we look
                if os.fsencode(folder) in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
    return found
