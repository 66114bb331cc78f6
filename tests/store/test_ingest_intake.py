"""Receiving bytes: counted, hashed, bounded, gone afterwards."""

from __future__ import annotations

import hashlib
import resource
from pathlib import Path

import pytest

from kernels.errors import DiskFull, InvalidInput, TooLarge
from store.ingest.intake import MAX_FILES, receive


def test_bytes_arrive_hashed_and_counted(tmp_path: Path) -> None:
    with receive(tmp_path, 100) as intake:
        with intake.file("a.csv") as first:
            first.write(b"hello ")
            first.write(memoryview(b"world"))
        with intake.file("b.csv") as second:
            second.write(b"x")
        [a, b] = intake.uploads()
        assert a.path.read_bytes() == b"hello world"
        assert (a.filename, a.bytes, a.sha256) == ("a.csv", 11, hashlib.sha256(b"hello world").hexdigest())
        assert (b.filename, b.bytes) == ("b.csv", 1)
    assert list(tmp_path.iterdir()) == []


def test_the_limit_holds_over_all_files_and_in_mid_stream(tmp_path: Path) -> None:
    with receive(tmp_path, 10) as intake:
        with intake.file("a") as first:
            first.write(b"12345678")
        second = intake.file("b")
        second.write(b"90")
        with pytest.raises(TooLarge, match="more than 10 bytes"):
            second.write(b"!")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_of_its_own(tmp_path: Path) -> None:
    with receive(tmp_path, 1 << 30) as intake:
        (intake.folder / "upload-0").symlink_to("/dev/full")
        incoming = intake.file("a")
        with pytest.raises(DiskFull):
            incoming.write(bytes(1 << 20))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_request_leaves_nothing(tmp_path: Path) -> None:
    def serve() -> None:
        with receive(tmp_path, 100) as intake:
            intake.file("a").write(b"half")
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        serve()
    assert list(tmp_path.iterdir()) == []


def test_large_uploads_take_no_memory(tmp_path: Path) -> None:
    chunk = bytes(1 << 20)
    with receive(tmp_path, 1 << 30) as intake, intake.file("a") as incoming:
        incoming.write(chunk)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(64):
            incoming.write(chunk)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\x00b", "a\r\nb", "a\u202eb", "", "n" * (1 << 20), "..\\x"])
def test_names_that_mislead_are_refused(tmp_path: Path, name: str) -> None:
    with receive(tmp_path, 100) as intake, pytest.raises(InvalidInput) as caught:
        intake.file(name)
    assert caught.value.errors[0].pointer == "/file/filename"
    assert len(str(caught.value)) < 300


def test_the_number_of_files_is_bounded(tmp_path: Path) -> None:
    with receive(tmp_path, 100) as intake:
        for index in range(MAX_FILES):
            intake.file(f"f{index}").close()
        with pytest.raises(InvalidInput, match=f"more than {MAX_FILES} times"):
            intake.file("one more")
