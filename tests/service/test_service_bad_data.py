"""Bad data over HTTP, case by case: the status, where it is wrong, and in which words; bombs take no memory here."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx2
import numpy as np
import pytest

from store.ingest.arrays import npy_header
from tests.processes import Processes, Service, wait_until
from tests.service.api_parts import assert_problem
from tests.service.test_service_large_weights import memory_watched
from tests.store.file_writers import bomb, gzipped, idx, npy, npz_bomb, parquet, tar

API_MEMORY = 24 << 20
"""Bytes that the API may take while a file that claims or holds a hundred times as much is refused."""

WORKER_MEMORY = 16 << 20
"""The same of the worker and its training process, which have nothing to do with it."""

X = np.arange(8.0).reshape(4, 2)
Y = np.array([0, 1, 1, 0])


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def sent(api: httpx2.Client, files: list[tuple[str, bytes]], **options: Any) -> httpx2.Response:
    data = {"options": json.dumps(options)} if options else {}
    return api.post("/v1/datasets", files=[("file", file) for file in files], data=data)


def changed(place: tuple[int, int], value: float) -> np.ndarray:
    x = X.copy()
    x[place] = value
    return x


PICKLED = npz(X=np.array([{}, {}], dtype=object), y=np.arange(2))
REFUSED: dict[str, tuple[str, bytes, dict[str, Any], str, str]] = {
    "csv not utf-8": ("t.csv", b"a,y\n1,p\ncaf\xe9,q\n", {}, "/file/3/a", "byte 0xe9 is not UTF-8"),
    "csv ragged": ("t.csv", b"a,y\n1,p\n1,2,q\n", {}, "/file/3/3", "the row has 3 fields; the first row has 2"),
    "csv underscores": ("t.csv", b"a,y\n1,p\n1_000,q\n", {}, "/file/3/a", "digits may not be grouped"),
    "csv other digits": ("t.csv", "a,y\n1,p\n٣,q\n".encode(), {}, "/file/3/a", "digits must be 0-9"),
    "csv open quote": ("t.csv", b'a,y\n1,p\n"2,q\n', {}, "/file/3/a", "a quote is opened and not closed"),
    "csv nan": ("t.csv", b"a,y\n1,p\nnan,q\n", {}, "/file/3/a", "is not a finite number"),
    "csv infinity": ("t.csv", b"a,y\n1,p\n-inf,q\n", {}, "/file/3/a", "is not a finite number"),
    "csv beyond floats": ("t.csv", b"a,y\n1,p\n1e999,q\n", {}, "/file/3/a", "is beyond the range of float64"),
    "csv missing refused": ("t.csv", b"a,y\n1,p\n,q\n", {"missing": "error"}, "/file/3/a", "the value is missing"),
    "no rows": ("t.csv", b"a,y\n", {}, "/file", "has no rows; at least 1 is needed"),
    "no bytes": ("t.csv", b"", {}, "/file", "is empty"),
    "one class": ("t.csv", b"a,y\n1,p\n2,p\n", {}, "/file", 'has one class, "p"; at least 2 are needed'),
    "npz nan": ("a.npz", npz(X=changed((2, 1), np.nan), y=Y), {}, "/file/3/x1", "X[2, 1] is nan"),
    "npz infinity": ("a.npz", npz(X=changed((0, 0), np.inf), y=Y), {}, "/file/1/x0", "X[0, 0] is inf"),
    "npz no rows": ("a.npz", npz(X=X[:0], y=Y[:0]), {}, "/file", "has no rows"),
    "npz one class": ("a.npz", npz(X=X, y=Y * 0), {}, "/file", "has one class"),
    "label of a half": (
        "a.npz",
        npz(X=X, y=Y / 2),
        {"task": "classification"},
        "/file",
        "has the label 0.5; labels must be whole numbers or text",
    ),
    "label below 0": ("a.npz", npz(X=X, y=Y - 2), {"task": "classification"}, "/file", "labels must be 0..2147483647"),
    "label beyond": (
        "a.npz",
        npz(X=X, y=Y * 2**40),
        {"task": "classification"},
        "/file",
        "has the label 1099511627776; labels must be 0..2147483647",
    ),
    "pickle": ("a.npz", PICKLED, {}, "/file", "holds Python objects (pickle), which are never loaded"),
    "pickled npy": ("a.npy", npy(np.array([[{}, 1]], object)), {}, "/file", "holds Python objects (pickle)"),
    "parquet nan": (
        "t.parquet",
        parquet(a=[1.0, float("nan")], y=["p", "q"]),
        {},
        "/file/2/a",
        "nan is not a finite number",
    ),
    "parquet no rows": ("t.parquet", parquet(a=np.arange(0), y=np.arange(0)), {}, "/file", "has no rows"),
    "no such target": ("t.csv", b"a,y\n1,p\n2,q\n", {"target": "z"}, "/options/target", 'the columns are "a", "y"'),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_data_is_422_with_its_place_and_its_value(api: httpx2.Client, case: str) -> None:
    filename, content, options, pointer, said = REFUSED[case]
    problem = assert_problem(sent(api, [(filename, content)], **options), 422, "invalid_input")
    error = problem["errors"][0]
    assert error["pointer"].startswith(pointer)
    assert said in error["detail"]
    assert api.get("/v1/datasets?limit=1").json()["data"][0]["builtin"], "nothing was recorded"


@pytest.mark.parametrize(
    ("filename", "content"),
    [
        ("t.csv", b"a,b,y\n1,5,p\n2,5,q\n3,5,p\n4,5,q\n"),
        ("a.npz", npz(X=np.array([[1.0, 5], [2, 5], [3, 5], [4, 5]]), y=Y)),
        ("t.parquet", parquet(a=[1.0, 2, 3, 4], b=[5.0] * 4, y=["p", "q", "p", "q"])),
    ],
)
def test_a_constant_feature_is_taken_with_a_warning_and_trains(
    api: httpx2.Client, filename: str, content: bytes
) -> None:
    answer = sent(api, [(filename, content)])
    assert answer.status_code == 201, answer.text
    assert any("same value in every row" in warning for warning in answer.json()["warnings"]), answer.json()["warnings"]
    job = {"dataset": answer.json()["id"], "training": {"validation_fraction": 0.0}}
    dry = api.post("/v1/jobs", params={"dry_run": "true"}, json=job).json()
    assert dry["initial_loss"] is not None
    assert dry["gradient_check"]["ok"]


def test_nan_is_imputed_where_that_was_asked_for(api: httpx2.Client) -> None:
    answer = sent(api, [("t.csv", b"a,y\n1,p\nnan,q\n3,p\n")], missing="impute")
    assert answer.status_code == 201, answer.text
    assert answer.json()["columns"][0]["missing"] == 1


def test_one_row_trains_only_without_a_split(api: httpx2.Client) -> None:
    dataset = sent(api, [("t.csv", b"a,y\n1,2.5\n")], task="regression").json()["id"]
    for training, field, said in (
        ({}, "validation_fraction", "must be 0: the data set has one row"),
        ({"test_fraction": 0.5, "validation_fraction": 0.0}, "test_fraction", "must be left out: there is one row"),
    ):
        answer = api.post("/v1/jobs", json={"dataset": dataset, "training": training})
        (error,) = assert_problem(answer, 422)["errors"]
        assert error["pointer"] == f"/training/{field}"
        assert error["detail"].startswith(said)
    whole = {"dataset": dataset, "training": {"validation_fraction": 0.0}}
    assert api.post("/v1/jobs", json=whole).status_code == 202


LABELS = idx((np.arange(20) % 4).astype(np.uint8))
BOMBS: dict[str, tuple[Callable[[], list[tuple[str, bytes]]], int]] = {
    "npz of zeros": (lambda: [("a.npz", npz_bomb(1 << 28))], 413),
    "npz header of 10^13 elements": (lambda: [("a.npz", npz_bomb(10**13))], 413),
    "npy header of 10^13 elements": (lambda: [("t.npy", npy_header(np.dtype("f8"), (10**13, 2)))], 422),
    "gzip of zeros": (lambda: [("t.csv.gz", gzipped(b"a,y\n" + bytes(1 << 28)))], 413),
    "tar of zeros": (lambda: [("c.tar.gz", tar(data_batch_1__bin=bytes(3073 << 16)))], 413),
    "parquet": (lambda: [("t.parquet", bomb(lies=False))], 413),
    "parquet whose footer lies": (lambda: [("t.parquet", bomb(lies=True))], 422),
    "idx of 2^128 cells": (lambda: [("i", b"\0\0\x08\x04" + b"\xff" * 16), ("l", LABELS)], 422),
    "quote that is never closed": (lambda: [("t.csv", b'a,y\n1,"' + b"p\n" * (10 << 20))], 422),
    "one endless line": (lambda: [("t.csv", b"a,y\n" + b"1," * (20 << 20))], 422),
    "a million names": (lambda: [("t.csv", b",".join([b"a"] * (1 << 20)) + b"\n")], 422),
}


LARGEST = ("npz of zeros", "gzip of zeros", "tar of zeros", "parquet whose footer lies", "one endless line")
"""One of a kind."""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_while_the_api_takes_no_memory(api: httpx2.Client, service: Service, name: str) -> None:
    make, status = BOMBS[name]
    files = make()
    sent(api, [("t.csv", b"a,y\n")])  # whatever a first upload loads
    with memory_watched(service.pid, API_MEMORY):
        answer = sent(api, files)
    assert_problem(answer, status, "too_large" if status == 413 else "invalid_input")
    assert api.get("/healthz").status_code == 200


def test_bombs_take_no_memory_from_the_worker_beside_the_api(processes: Processes) -> None:
    api_process, worker = processes.service().ready(), processes.worker().ready()
    with httpx2.Client(base_url=api_process.url, timeout=20) as api:
        train_one(api, 1)  # whatever a first upload and a first job load
        watched = [(api_process.pid, API_MEMORY), (worker.pid, WORKER_MEMORY), (worker.trainer_pid(), WORKER_MEMORY)]
        with ExitStack() as stack:
            for pid, limit in watched:
                stack.enter_context(memory_watched(pid, limit))
            for name in LARGEST:
                make, status = BOMBS[name]
                assert sent(api, make()).status_code == status
        train_one(api, 2)
    assert len(worker.trainer_pids()) == 1


def train_one(api: httpx2.Client, epochs: int) -> None:
    rows = "".join(f"{n},{'pq'[n % 2]}\n" for n in range(40))
    dataset = sent(api, [("t.csv", f"a,y\n{rows}".encode())]).json()["id"]
    job = api.post("/v1/jobs", json={"dataset": dataset, "training": {"epochs": epochs}}).json()["id"]
    wait_until(lambda: api.get(f"/v1/jobs/{job}").json()["status"] == "succeeded")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_is_no_data_set_and_what_is_not_there_are_answered_alike(api: httpx2.Client, method: str) -> None:
    gone = api.request(method, f"/v1/datasets/ds_{'0' * 24}")
    assert_problem(gone, 404, "not_found")
    for name in ("x", "ds_", "ds_%00", "DS_1", "ds_" + "a" * 5000, "ds_é", "%ff", "job_1"):
        answer = api.request(method, f"/v1/datasets/{name}")
        assert (answer.status_code, answer.content) == (404, gone.content), name
