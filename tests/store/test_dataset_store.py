"""The data set store: one record per content, pages, references, and nothing visible that is not whole."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis

from kernels.errors import Conflict, InvalidInput, NotFound, StoreUnavailable, TooLarge
from mlpq.embedded import EmbeddedServer
from store import builtin, keys
from store.connection import connect
from store.datasets import Dataset, DatasetStore
from store.jobs import JobStore
from store.records import NewJob
from tests.store.ingest_parts import npz

CSV = b"a,b,y\n1,2,p\n3,,q\n5,6,p\n0.5,7,q\n"


@pytest.fixture
def store(redis: Redis, data_dir: Path) -> DatasetStore:
    return DatasetStore(redis, data_dir)


def upload(store: DatasetStore, data: bytes = CSV, filename: str = "my table.csv", **options: Any) -> Dataset:
    with store.receive() as intake:
        with intake.file(filename) as incoming:
            incoming.write(data)
        return store.create_from_upload(intake.uploads(), options)


def files(store: DatasetStore) -> list[str]:
    return sorted(path.name for path in store.root.iterdir() if path.name != ".lock")


def test_an_upload_becomes_a_record_and_mapped_arrays(store: DatasetStore) -> None:
    before_ms = time.time() * 1000
    made = upload(store)
    assert store.get(made.id) == made
    shown = made.to_json()
    assert shown["id"].startswith("ds_")
    assert list(shown)[:2] == ["id", "object"]
    created = datetime.fromisoformat(shown.pop("created_at"))
    assert abs(created.timestamp() * 1000 - before_ms) < 60_000
    numbers = {"kind": "numeric", "categories": []}
    assert shown == {
        "id": made.id,
        "object": "dataset",
        "name": "my table",
        "task": "classification",
        "target": "y",
        "n_rows": 4,
        "n_features": 2,
        "n_classes": 2,
        "classes": ["p", "q"],
        "columns": [
            {"name": "a", **numbers, "missing": 0, "cardinality": 4, "minimum": 0.5, "maximum": 5.0},
            {"name": "b", **numbers, "missing": 1, "cardinality": 3, "minimum": 2.0, "maximum": 7.0},
        ],
        "warnings": [],
        "standardize": True,
        "image": None,
        "text": {"delimiter": ",", "header": True, "encoding": "utf-8", "decimal": ".", "thousands": None},
        "format": "csv",
        "builtin": False,
        "sha256": hashlib.sha256(CSV).hexdigest(),
        "bytes": len(CSV),
    }
    info, x, y = store.load(made.id)
    assert info == json.loads((store.root / made.id / "info.json").read_bytes())
    assert isinstance(x, np.memmap)
    assert not x.flags.writeable
    np.testing.assert_array_equal(x, [[1, 2], [3, np.nan], [5, 6], [0.5, 7]])
    np.testing.assert_array_equal(y, [0, 1, 0, 1])
    assert files(store) == [made.id]


def test_the_same_content_is_the_same_data_set(store: DatasetStore) -> None:
    first = upload(store)
    stamp = (store.root / first.id / "x.npy").stat().st_mtime_ns
    assert upload(store, filename="another name.csv") == first
    assert (store.root / first.id / "x.npy").stat().st_mtime_ns == stamp
    others = {upload(store, name="named").id, upload(store, missing="drop").id, upload(store, CSV + b"\n").id}
    assert len(others | {first.id}) == 4
    assert len(store.page().items) == 4 + len(builtin.BUILTINS)


def test_simultaneous_uploads_of_the_same_content_make_one_data_set(store: DatasetStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: upload(store), range(4)))
    assert len({(one.id, one.created_at_ms) for one in made}) == 1
    assert files(store) == [made[0].id]


def test_a_refused_upload_leaves_nothing(store: DatasetStore, redis: Redis) -> None:
    with pytest.raises(InvalidInput, match="row 2"):
        upload(store, b"a,y\n1_0,p\n2,q\n")
    with pytest.raises(InvalidInput, match="is not an option"):
        upload(store, colour=1)
    with store.receive(max_bytes=10) as intake, pytest.raises(TooLarge):
        intake.file("a.csv").write(bytes(11))
    assert files(store) == []
    assert redis.keys("*") == []


def test_pages_are_newest_first_and_end_with_the_built_in_sets(store: DatasetStore) -> None:
    made = [upload(store, CSV + b"7,8,q\n" * n).id for n in range(5)]
    expected = [*reversed(made), *builtin.BUILTINS]
    assert [one.id for one in store.page(limit=100).items] == expected
    for limit in (1, 2, 3, 7, 14, 15):
        seen: list[str] = []
        after = None
        while True:
            page = store.page(limit, after)
            seen += [one.id for one in page.items]
            if not page.has_more:
                break
            assert len(page.items) == limit
            after = seen[-1]
        assert seen == expected, limit


def test_a_cursor_outlives_its_data_set(store: DatasetStore) -> None:
    made = [upload(store, CSV + b"7,8,q\n" * n).id for n in range(3)]
    store.delete(made[1])
    assert [one.id for one in store.page(1, after=made[1]).items] == [made[0]]


@pytest.mark.parametrize("after", ["ds_" + "0" * 24, "nonsense", "job_1", "\x00", ""])
def test_an_unknown_cursor_is_refused(store: DatasetStore, after: str) -> None:
    with pytest.raises(InvalidInput, match="names no data set"):
        store.page(after=after)


@pytest.mark.parametrize("limit", [0, -1, 101])
def test_a_limit_out_of_range_is_refused(store: DatasetStore, limit: int) -> None:
    with pytest.raises(InvalidInput, match=r"must be 1\.\.100"):
        store.page(limit)


@pytest.mark.parametrize("dataset_id", ["ds_" + "0" * 24, "nonsense", "../etc", "ds_*", "", "digits\n"])
def test_an_unknown_id_is_not_found(store: DatasetStore, dataset_id: str) -> None:
    for call in (store.get, store.load, store.delete):
        with pytest.raises(NotFound):
            call(dataset_id)


def test_a_deleted_data_set_is_gone_and_may_come_again(store: DatasetStore) -> None:
    made = upload(store)
    _, x, _ = store.load(made.id)
    store.delete(made.id)
    np.testing.assert_array_equal(x[0], [1, 2])  # whoever had it open keeps it
    assert files(store) == []
    with pytest.raises(NotFound):
        store.get(made.id)
    with pytest.raises(NotFound):
        store.delete(made.id)
    again = upload(store)
    assert again.id == made.id
    assert store.load(again.id)[1].shape == (4, 2)


def test_a_data_set_in_use_cannot_be_deleted(store: DatasetStore, redis: Redis) -> None:
    made = upload(store)
    jobs = JobStore(redis)
    job, _ = jobs.create(NewJob(spec={}, dataset=made.id))
    with pytest.raises(Conflict, match="is used by 1 unfinished jobs"):
        store.delete(made.id)
    assert store.load(made.id)[1].shape == (4, 2)
    jobs.request(job.id, "cancel")
    store.delete(made.id)
    with pytest.raises(NotFound):
        jobs.create(NewJob(spec={}, dataset=made.id))


def test_a_built_in_set_cannot_be_deleted(store: DatasetStore) -> None:
    with pytest.raises(Conflict, match="built in"):
        store.delete("iris")


def test_files_without_a_record_are_taken_up_by_the_next_upload(store: DatasetStore, redis: Redis) -> None:
    """The state after a kill between publishing the files and writing the record."""
    made = upload(store)
    stamp = (store.root / made.id / "x.npy").stat().st_mtime_ns
    redis.delete(keys.dataset(made.id), keys.DATASETS)
    with pytest.raises(NotFound):
        store.get(made.id)
    assert store.sweep() == 0
    assert upload(store).id == made.id
    assert store.get(made.id).name == "my table"
    assert (store.root / made.id / "x.npy").stat().st_mtime_ns == stamp


def test_redis_away_is_said_so_and_the_upload_can_be_repeated(tmp_path: Path, data_dir: Path) -> None:
    server = EmbeddedServer(tmp_path / "server")
    server.start()
    store = DatasetStore(connect(server.url), data_dir)
    server.stop()
    for call in (store.page, lambda: upload(store), lambda: store.get("ds_" + "0" * 24)):
        with pytest.raises(StoreUnavailable):
            call()
    assert store.get("digits").name == "digits"
    server.start()
    assert store.get(upload(store).id).info["n_rows"] == 4
    store.redis.close()
    server.stop()


def test_deleting_and_uploading_at_once_never_leaves_a_record_without_files(store: DatasetStore) -> None:
    dataset_id = upload(store).id
    stop = threading.Event()

    def delete_again_and_again() -> None:
        while not stop.is_set():
            try:
                store.delete(dataset_id)
            except NotFound:
                time.sleep(0.001)

    thread = threading.Thread(target=delete_again_and_again)
    thread.start()
    try:
        for _ in range(5):
            upload(store)
    finally:
        stop.set()
        thread.join()
    try:
        assert store.load(store.get(dataset_id).id)[1].shape == (4, 2)
    except NotFound:
        assert not (store.root / dataset_id).exists()


UPLOADER = """
import sys
from pathlib import Path
from store.connection import connect
from store.datasets import DatasetStore
store = DatasetStore(connect(sys.argv[1]), Path(sys.argv[2]))
with store.receive() as intake:
    incoming = intake.file("a.csv")
    incoming.write(b"a,b,y\\n" + b"1,2,0\\n3,4,1\\n" * 1_000_000)
    if sys.argv[3] == "receiving":
        print("ready", flush=True)
        sys.stdin.read()
    incoming.close()
    print("ready", flush=True)
    store.create_from_upload(intake.uploads(), {})
"""


@pytest.mark.parametrize("moment", ["receiving", "reading"])
def test_an_upload_killed_in_the_middle_leaves_nothing(
    store: DatasetStore, redis: Redis, valkey: EmbeddedServer, moment: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", UPLOADER, valkey.url, str(store.root.parent), moment],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        if moment == "reading":
            _wait_for(lambda: list(store.root.glob(".tmp-*/spool")))
        assert store.sweep() == 0  # a living process' files stay
        os.kill(process.pid, signal.SIGKILL)
    assert len(store.page().items) == len(builtin.BUILTINS)
    _wait_for(lambda: not _readers_in(store.root))
    assert store.sweep() > 0
    assert files(store) == []
    assert upload(store, b"a,b,y\n1,2,0\n3,4,1\n").info["n_rows"] == 2


def _readers_in(root: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.fsencode(root) in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found


def _wait_for(condition: Any, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_npz_uploads_are_data_sets_too(store: DatasetStore) -> None:
    images = np.zeros((4, 2, 2), np.uint8)
    images[1:3] = 255
    made = upload(store, npz(X=images, y=[0, 1, 1, 0]), "squares.npz", name="Squares")
    assert (made.name, made.info["format"], made.info["image"]["width"]) == ("Squares", "npz", 2)
    np.testing.assert_array_equal(store.load(made.id)[1], images.reshape(4, 4) / 255)
