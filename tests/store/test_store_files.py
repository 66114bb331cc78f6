"""Files are whole or absent, also after a SIGKILL in the middle, and known by their sha256."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from kernels.errors import Corrupted, DiskFull, NotFound
from store.files import (
    LocalArtifacts,
    StoredFile,
    atomic_write,
    publish_folder,
    sha256_of,
    staging_folder,
    sweep,
)


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_was_written_is_there_with_its_sha256(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.bin"
    written = atomic_write(target, b"hello")
    assert written == StoredFile(str(target), hashlib.sha256(b"hello").hexdigest(), 5)
    assert target.read_bytes() == b"hello"
    assert sha256_of(target) == written.sha256
    assert everything_below(tmp_path) == ["a", "a/b.bin"]


def test_the_sha256_is_of_the_file_also_when_the_writer_went_back(tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"xxxxx")
        file.seek(0)
        file.write(b"ab")

    written = atomic_write(tmp_path / "f", write)
    assert (written.bytes, written.sha256) == (5, hashlib.sha256(b"abxxx").hexdigest())


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    atomic_write(tmp_path / "f", b"old")

    def fail(file: BinaryIO) -> None:
        file.write(b"new, but")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        atomic_write(tmp_path / "f", fail)
    assert (tmp_path / "f").read_bytes() == b"old"
    assert everything_below(tmp_path) == ["f"]


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path) -> None:
    """`/dev/full` answers every write with the kernel's own ENOSPC."""
    atomic_write(tmp_path / "f", b"old")

    def fill(file: BinaryIO) -> None:
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(DiskFull, match="no space left"):
        atomic_write(tmp_path / "f", fill)
    assert (tmp_path / "f").read_bytes() == b"old"
    assert everything_below(tmp_path) == ["f"]


WRITER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from store.files import atomic_write, staging_folder
def write(file):
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
if sys.argv[2] == "file":
    atomic_write(Path(sys.argv[1]) / "target", write)
else:
    with staging_folder(Path(sys.argv[1])) as folder:
        (folder / "part").write_bytes(b"half")
        print("writing", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path: Path, kind: str) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), kind], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    with writer.stdout as said:
        assert said.readline() == b"writing\n"
        assert sweep(tmp_path) == 0
        assert len(list(tmp_path.iterdir())) == 1
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert not (tmp_path / "target").exists()
    assert sweep(tmp_path) == 1
    assert everything_below(tmp_path) == []
    assert sweep(tmp_path / "absent") == 0


def test_a_staged_folder_appears_whole_and_only_once(tmp_path: Path) -> None:
    target = tmp_path / "ds_1"
    for expected in (True, False):
        with staging_folder(tmp_path) as folder:
            (folder / "x.npy").write_bytes(b"data")
            assert not (target / "x.npy").exists() or not expected
            assert publish_folder(folder, target) is expected
    assert everything_below(tmp_path) == ["ds_1", "ds_1/x.npy"]


def test_an_unpublished_folder_is_gone(tmp_path: Path) -> None:
    with staging_folder(tmp_path) as folder:
        (folder / "x").write_bytes(b"data")
    assert everything_below(tmp_path) == []


def test_artifacts_are_read_as_they_were_put(data_dir: Path) -> None:
    artifacts = LocalArtifacts(data_dir)
    stored = artifacts.put("job_1/3-weights.npz", b"weights")
    assert stored.key == "job_1/3-weights.npz"
    with artifacts.open(stored.key) as file:
        assert file.read() == b"weights"
    assert artifacts.stat(stored.key) == 7
    artifacts.verify(stored)
    artifacts.delete(stored.key)
    artifacts.delete(stored.key)
    for call in (artifacts.open, artifacts.stat):
        with pytest.raises(NotFound, match=r"job_1/3-weights\.npz"):
            call(stored.key)
    with pytest.raises(NotFound):
        artifacts.verify(stored)


def test_a_changed_artifact_is_detected(data_dir: Path) -> None:
    artifacts = LocalArtifacts(data_dir)
    stored = artifacts.put("job_1/1-w", b"0" * 1000)
    path = artifacts.path(stored.key)
    path.write_bytes(b"0" * 999 + b"1")
    with pytest.raises(Corrupted, match=stored.sha256):
        artifacts.verify(stored)


@pytest.mark.parametrize(
    "key", ["../x", "/etc/passwd", "a/../../x", ".tmp-1", "a/.hidden", "a\x00b", "a\nb", "", "a//b", "ä", "a" * 300]
)
def test_a_key_cannot_leave_the_folder(data_dir: Path, key: str) -> None:
    with pytest.raises(NotFound):
        LocalArtifacts(data_dir).put(key, b"x")
    assert everything_below(data_dir) == []


def test_a_jobs_files_go_together(data_dir: Path) -> None:
    artifacts = LocalArtifacts(data_dir)
    artifacts.put("job_1/1-a", b"x")
    artifacts.put("job_2/1-a", b"x")
    artifacts.delete_folder("job_1")
    artifacts.delete_folder("job_1")
    assert everything_below(artifacts.root) == ["job_2", "job_2/1-a"]
    assert artifacts.sweep() == 0


def test_many_writers_of_one_name_leave_one_whole_file(tmp_path: Path) -> None:
    contents = [bytes([n]) * 100_000 for n in range(8)]
    start = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: atomic_write(tmp_path / "f", content), contents))
    assert (tmp_path / "f").read_bytes() in contents
    assert everything_below(tmp_path) == ["f"]
    assert time.monotonic() - start < 30


def test_a_jobs_folder_is_on_the_disk_with_its_first_file_and_many_share_a_flush(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush counts for a folder if it began when the folder was there; watched at the system call itself."""
    artifacts, real, lock = LocalArtifacts(data_dir), os.fsync, threading.Lock()
    seen: list[set[str]] = []
    told: dict[str, int] = {}

    def watched(descriptor: int) -> None:
        there = None
        if Path(f"/proc/self/fd/{descriptor}").readlink() == artifacts.root:
            there = {path.name for path in artifacts.root.iterdir()}
            time.sleep(0.003)  # as a disk that others wait for
        real(descriptor)
        if there is not None:
            with lock:
                seen.append(there)

    def put(number: int) -> None:
        artifacts.put(f"job_{number}/1-a.npz", b"content")
        with lock:
            told[f"job_{number}"] = len(seen)

    monkeypatch.setattr(os, "fsync", watched)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(64)))
    assert len(told) == 64
    for name, flushes in told.items():
        assert any(name in there for there in seen[:flushes]), name
    assert len(seen) < 48, "they share"
    count = len(seen)
    artifacts.put("job_3/1-b.npz", b"content")
    assert len(seen) == count, "the folder is known"
