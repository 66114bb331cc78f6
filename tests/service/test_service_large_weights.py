"""Weights of a big net: every format, of the result and of a checkpoint, is made on the disk and not in memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest
from redis import Redis

from mlpq.embedded import EmbeddedServer
from nets.export import load_npz, load_safetensors, map_npz, to_npz
from nets.parts import parts_of
from nets.preprocess import Preprocessing
from nets.resolve import layout_of
from nets.spec import ResolvedSpec
from nets.table import Table, TableInfo
from nets.weight_formats import EXPORTERS
from nets.weights import Predictor, pack
from service.predictors import HELD_BYTES
from store.checkpoints import Checkpoints
from store.datasets import DatasetStore
from store.files import LocalArtifacts
from store.jobs import JobStore
from store.transitions import Status
from tests.processes import Processes, Service, http_client
from tests.service.api_parts import assert_problem, claimed, submitted, twin_of

HIDDEN = [5000, 5000]
FILE_BYTES = 100_000_000
"""More than these parameters take, and far more than the memory that may be used."""


def own_memory(pid: int) -> int:
    """Memory that a process cannot give back: without pages that mirror files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


@contextmanager
def memory_watched(pid: int, limit: int) -> Iterator[None]:
    before, peak, done = own_memory(pid), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, own_memory(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert peak - before < limit, f"{(peak - before) >> 20} MiB more"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, service_data: Path) -> Path:
    """A data directory for all tests here: nothing else may use the store meanwhile."""
    return twin_of(service_data, tmp_path_factory.mktemp("large") / "data")


@pytest.fixture(scope="module")
def big_redis(valkey: EmbeddedServer) -> Iterator[Redis]:
    client = Redis.from_url(valkey.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(scope="module")
def big_service(valkey: EmbeddedServer, big_redis: Redis, folder: Path) -> Iterator[Service]:
    with Processes(folder.parent, valkey.url, folder) as processes:
        yield processes.service().ready()


@pytest.fixture(scope="module")
def job(big_service: Service, big_redis: Redis, folder: Path) -> str:
    """A job whose result and two checkpoints hold random weights; that of step 6 is there to be damaged."""
    jobs, artifacts = JobStore(big_redis), LocalArtifacts(folder)
    with http_client(big_service.url, timeout_s=60) as api:
        job_id = submitted(api, net={"hidden": HIDDEN})["id"]
    claim = claimed(jobs)
    info, x, y = DatasetStore(big_redis, folder).load("iris")
    table, spec = Table(TableInfo.from_json(info), x, y), ResolvedSpec.parse(claim.job.spec)
    layout = layout_of(spec, table.info.n_inputs, table.info.n_outputs)
    flat = np.random.default_rng(0).standard_normal(layout.count, np.float32) / 50
    assert flat.nbytes > FILE_BYTES > HELD_BYTES
    for step in (6, 7):
        kept = Checkpoints(artifacts).put(job_id, claim.fence, step, 1, {"parameters": flat})
        jobs.write(claim, checkpoint=kept)
    preprocessing = Preprocessing.fit(table, parts_of(table, spec.training).train)
    arrays = pack(layout.named(flat), preprocessing, spec, table.info, {}, flat=flat)
    stored = artifacts.put(f"{job_id}/{claim.fence}-weights.npz", to_npz(arrays))
    result = {"key": stored.key, "sha256": stored.sha256, "bytes": stored.bytes}
    jobs.finish(claim, Status.SUCCEEDED, result=result)
    return job_id


def fetched(api: httpx2.Client, path: str, file: Path) -> None:
    """Download to a file, with the hash that the service names."""
    digest = hashlib.sha256()
    with api.stream("GET", path) as answer, file.open("wb") as out:
        assert answer.status_code == 200
        for block in answer.iter_raw(1 << 20):
            out.write(block)
            digest.update(block)
    assert digest.hexdigest() == answer.headers["x-content-sha256"]
    assert int(answer.headers["content-length"]) == file.stat().st_size > FILE_BYTES


QUERIES = [
    "format=safetensors",
    "format=onnx",
    "format=torch",
    "checkpoint=7",
    "checkpoint=7&format=safetensors",
    "checkpoint=7&format=torch",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_large_file_is_made_and_sent_in_little_memory(
    big_service: Service, job: str, tmp_path: Path, folder: Path, query: str
) -> None:
    path, file = f"/v1/jobs/{job}/weights?{query}", tmp_path / "fetched"
    with http_client(big_service.url, timeout_s=60) as api:
        api.get(f"/v1/jobs/{job}")
        with memory_watched(big_service.pid, 32 << 20):
            fetched(api, path, file)
        part = api.get(path, headers={"Range": "bytes=70000000-70000999"})
        assert (part.status_code, len(part.content)) == (206, 1000)
    with file.open("rb") as whole:
        whole.seek(70_000_000)
        assert whole.read(1000) == part.content
    stored = next((folder / "artifacts" / job).glob("*-weights.npz"))
    assert not list((folder / "artifacts").glob(".tmp-*"))
    for name in ("onnx", "torch"):
        if query.endswith(name):
            assert file.read_bytes() == EXPORTERS[name](load_npz(stored))
            return
    arrays = load_safetensors(file.read_bytes()) if "safetensors" in query else load_npz(file)
    Predictor.from_arrays(arrays).verify(arrays["golden_inputs"], arrays["golden_outputs"])
    result = map_npz(stored)
    for name in ("W1", "b1", "W2", "W3", "input_mean", "golden_outputs"):
        np.testing.assert_array_equal(arrays[name], result[name])


def test_damage_of_a_large_checkpoint_is_found(big_service: Service, big_redis: Redis, job: str, folder: Path) -> None:
    (kept,) = [one for one in JobStore(big_redis).get(job).checkpoints if one["step"] == 6]
    with Checkpoints(LocalArtifacts(folder)).locate(kept).open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"damaged")
    with http_client(big_service.url, timeout_s=60) as api:
        assert_problem(api.get(f"/v1/jobs/{job}/weights?checkpoint=6"), 500, "corrupted")
