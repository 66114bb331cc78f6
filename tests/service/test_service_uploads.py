"""Uploads over HTTP: every accepted byte is kept, nothing partial is ever seen, memory stays small."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import numpy as np
import pytest

from store.ingest.arrays import npy_header
from tests.processes import Processes, Service, http_client, most_resident_bytes, resident_bytes, wait_until
from tests.service.api_parts import SPEC, assert_problem, raw_exchange, submitted
from tests.store.file_writers import batch, bomb, gzipped, idx, parquet, tar

CSV = b"width,height,kind\n" + b"".join(f"{n},{n * 2},{'ab'[n % 2]}\n".encode() for n in range(40))


def raw(api: httpx2.Client, content: Any, filename: str = "t.csv", **options: Any) -> httpx2.Response:
    query = {"filename": filename} | ({"options": json.dumps(options)} if options else {})
    return api.post("/v1/datasets", params=query, content=content, headers={"Content-Type": "application/octet-stream"})


def form(api: httpx2.Client, content: bytes, filename: str = "t.csv", **options: Any) -> httpx2.Response:
    data = {"options": json.dumps(options)} if options else {}
    return api.post("/v1/datasets", files={"file": (filename, content)}, data=data)


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


@pytest.mark.parametrize("send", [raw, form])
def test_a_csv_becomes_a_data_set_that_a_job_can_name(api: httpx2.Client, send: Any) -> None:
    answer = send(api, CSV, name="shapes", target="kind")
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{dataset['id']}"
    assert dataset["object"] == "dataset"
    assert dataset["id"].startswith("ds_")
    assert (dataset["name"], dataset["task"], dataset["n_rows"]) == ("shapes", "classification", 40)
    assert dataset["classes"] == ["a", "b"]
    assert [column["name"] for column in dataset["columns"]] == ["width", "height"]
    assert api.get(answer.headers["location"]).json() == dataset
    assert api.get("/v1/datasets?limit=1").json()["data"] == [dataset]
    assert submitted(api, dataset=dataset["id"])["dataset"] == dataset["id"]


def test_a_class_without_a_training_row_is_refused_at_submission(api: httpx2.Client) -> None:
    rows = "".join(f"{n},class {n}\n" for n in range(10))
    data = api.post("/v1/datasets?filename=a.csv", content="x,y\n" + rows).json()
    refused = api.post("/v1/jobs", json={"dataset": data["id"]})
    problem = assert_problem(refused, 422, "invalid_input")
    (error,) = problem["errors"]
    assert error["pointer"] == "/training/validation_fraction"
    assert error["detail"] == "is 0.2; leaves 8 of 10 rows to train 10 classes"
    whole = {"dataset": data["id"], "training": {"validation_fraction": 0}}
    assert api.post("/v1/jobs", json=whole).status_code == 202


def test_form_and_raw_body_of_the_same_bytes_are_the_same_data_set(api: httpx2.Client) -> None:
    ids = {send(api, CSV, target="kind").json()["id"] for send in (raw, form, raw)}
    assert len(ids) == 1
    assert raw(api, CSV, target="width").json()["id"] not in ids


def test_npz_and_gzipped_csv_are_taken(api: httpx2.Client) -> None:
    x, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3
    assert raw(api, npz(X=x, y=y), "a.npz").json()["n_classes"] == 3
    assert raw(api, gzip.compress(CSV), "t.csv.gz").json()["n_rows"] == 40


IMAGES, CODES = np.random.default_rng(0).integers(0, 256, (20, 4, 3), np.uint8), (np.arange(20) % 4).astype(np.uint8)


def two_files(api: httpx2.Client, *files: tuple[str, bytes], **options: Any) -> httpx2.Response:
    return api.post(
        "/v1/datasets",
        files=[("file", file) for file in files],
        data={"options": json.dumps(options)} if options else {},
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_idx_pair_in_any_order_is_one_data_set(api: httpx2.Client, pack: Any) -> None:
    images, labels = ("images", pack(idx(IMAGES))), ("labels", pack(idx(CODES)))
    answer = two_files(api, images, labels)
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert (dataset["n_rows"], dataset["n_features"], dataset["n_classes"], dataset["format"]) == (20, 12, 4, "idx")
    assert dataset["image"] == {"height": 4, "width": 3, "channels": 1}
    assert two_files(api, labels, images).json() == dataset
    assert_problem(raw(api, idx(IMAGES), "images"), 422)
    assert_problem(two_files(api, images, images), 422)
    assert_problem(two_files(api, images, ("labels", pack(idx(CODES)[:-1]))), 422)


def test_npy_parquet_and_cifar_are_taken(api: httpx2.Client) -> None:
    out = io.BytesIO()
    np.save(out, np.arange(60.0).reshape(20, 3))
    assert raw(api, out.getvalue(), "t.npy").json()["n_features"] == 2
    assert raw(api, parquet(a=np.arange(20.0), y=["u", "v"] * 10), "t.parquet").json()["classes"] == ["u", "v"]
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    found = raw(api, tar(data_batch_1__bin=batch(pixels, CODES), batches__meta__txt=b"a\nb\nc\nd\n"), "cifar.tar.gz")
    assert (found.json()["classes"], found.json()["n_features"]) == (list("abcd"), 3072)


def test_kinds_are_inferred_told_and_overridden(api: httpx2.Client) -> None:
    rows = "".join(
        f"2026-01-{n % 28 + 1:02d},{n % 3},{'' if n == 4 else n},{['no', 'yes'][n % 2]},{'ab'[n % 2]}\n"
        for n in range(40)
    )
    content = f"day,zip,n,member,y\n{rows}".encode()
    first = raw(api, content).json()
    assert [c["kind"] for c in first["columns"]] == ["datetime", "numeric", "numeric", "boolean"]
    assert [c["missing"] for c in first["columns"]] == [0, 0, 1, 0]
    assert (first["columns"][1]["cardinality"], first["columns"][2]["maximum"]) == (3, 39)
    second = raw(api, content, columns={"zip": {"kind": "categorical"}}, features=["zip", "n"]).json()
    assert [c["kind"] for c in second["columns"]] == ["categorical", "numeric"]
    assert second["columns"][0]["categories"] == ["0", "1", "2"]
    assert second["id"] != first["id"]
    problem = assert_problem(raw(api, content, columns={"day": {"kind": "numeric"}}), 422)
    assert problem["errors"][0]["pointer"] == "/file/2/day"
    plan = api.post("/v1/jobs?dry_run=true", json={"dataset": first["id"], "net": {"hidden": []}}).json()
    assert plan["parameters"] == (7 + 1 + 2 + 1 + 1) * 2


def test_bombs_are_413_or_422_and_the_service_lives(api: httpx2.Client) -> None:
    zeros = bytes(1 << 27)
    assert_problem(raw(api, gzipped(b"a,b\n" + zeros), "t.csv.gz"), 413, "too_large")
    huge = npy_header(np.dtype("f8"), (10**13, 2))
    assert_problem(raw(api, huge, "t.npy"), 422, "invalid_input")
    assert_problem(raw(api, bomb(lies=False), "t.parquet"), 413, "too_large")
    assert_problem(raw(api, bomb(lies=True), "t.parquet"), 422, "invalid_input")
    overflow = b"\0\0\x08\x04" + b"\xff" * 16
    assert_problem(two_files(api, ("images", overflow), ("labels", idx(CODES))), 422, "invalid_input")
    assert api.get("/healthz").status_code == 200


def test_built_in_sets_are_listed_last_and_stay(api: httpx2.Client) -> None:
    mine = raw(api, CSV).json()["id"]
    ids = [d["id"] for d in api.get("/v1/datasets?limit=100").json()["data"]]
    assert ids[0] == mine
    assert {"digits", "iris", "wine", "breast_cancer", "diabetes"} < set(ids)
    assert {"spiral", "moons", "circles", "blobs", "xor"} < set(ids)
    assert_problem(api.delete("/v1/datasets/digits"), 409)
    paged = []
    after = None
    while True:
        page = api.get("/v1/datasets", params={"limit": 4} | ({"after": after} if after else {})).json()
        paged += [d["id"] for d in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert paged == ids


def test_a_data_set_in_use_is_not_deleted(api: httpx2.Client) -> None:
    dataset = raw(api, CSV).json()
    job = submitted(api, dataset=dataset["id"])
    assert_problem(api.delete(f"/v1/datasets/{dataset['id']}"), 409, "conflict")
    api.post(f"/v1/jobs/{job['id']}/cancel")
    assert api.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
    assert_problem(api.get(f"/v1/datasets/{dataset['id']}"), 404)
    problem = assert_problem(api.post("/v1/jobs", json=SPEC | {"dataset": dataset["id"]}), 422)
    assert problem["errors"][0]["pointer"] == "/dataset"


BAD_FILES = {
    "empty": (b"", "t.csv", "/file"),
    "header only": (b"a,b\n", "t.csv", "/file"),
    "not utf-8": (b"a,b\n1,\xff\n", "t.csv", "/file"),
    "ragged": (b"a,b\n1,2\n1,2,3\n", "t.csv", "/file/3"),
    "pickle": (b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.", "t.npz", "/file"),
    "object array": (npz(X=np.array([{}, {}], dtype=object), y=np.arange(2)), "t.npz", "/file"),
    "not a zip": (b"PK\x03\x04nonsense", "t.npz", "/file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_422_and_says_where(api: httpx2.Client, name: str) -> None:
    content, filename, pointer = BAD_FILES[name]
    problem = assert_problem(raw(api, content, filename), 422, "invalid_input")
    assert problem["errors"][0]["pointer"].startswith(pointer), problem
    assert_problem(form(api, content, filename), 422)


@pytest.mark.parametrize("filename", ["../../etc/passwd", "a\x00b.csv", "a\r\nb.csv", "\u202etxt.csv", "n" * 300])
def test_a_file_name_that_misleads_is_422(api: httpx2.Client, filename: str) -> None:
    assert_problem(raw(api, CSV, filename), 422)


@pytest.mark.parametrize(
    ("options", "status"),
    [("{", 400), ('{"a": 1, "a": 2}', 400), ("[]", 422), ('{"colour": 1}', 422), ('{"target": "none such"}', 422)],
)
def test_bad_options_are_refused(api: httpx2.Client, options: str, status: int) -> None:
    query = {"filename": "t.csv", "options": options}
    assert_problem(api.post("/v1/datasets", params=query, content=CSV), status)


def multipart(*parts: bytes, boundary: bytes = b"xx", end: bytes = b"--xx--\r\n") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + end


FILE_PART = b'Content-Disposition: form-data; name="file"; filename="t.csv"\r\n\r\n' + CSV
BAD_FORMS = {
    "no boundary": ("multipart/form-data", multipart(FILE_PART), 400),
    "no end": ("multipart/form-data; boundary=xx", multipart(FILE_PART, end=b""), 400),
    "empty": ("multipart/form-data; boundary=xx", b"", 400),
    "no file": ("multipart/form-data; boundary=xx", multipart(), 422),
    "nonsense": ("multipart/form-data; boundary=xx", b"nonsense" * 100, 400),
    "unknown part": (
        "multipart/form-data; boundary=xx",
        multipart(b'Content-Disposition: form-data; name="x"\r\n\r\n1'),
        422,
    ),
    "no disposition": ("multipart/form-data; boundary=xx", multipart(b"X: y\r\n\r\n1"), 422),
    "huge header": ("multipart/form-data; boundary=xx", multipart(b"X: " + b"y" * 100_000 + b"\r\n\r\n1"), 400),
    "many parts": (
        "multipart/form-data; boundary=xx",
        multipart(*[b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n1'] * 100),
        422,
    ),
    "form": ("application/x-www-form-urlencoded", CSV, 415),
    "json": ("application/json", b"{}", 415),
}


OWN_PARAMETER = 'is not a parameter of its own; it belongs into options: {"target": …}'


@pytest.mark.parametrize(
    ("query", "parts", "pointer", "words"),
    [
        ({"options": '{"tagret": "y"}'}, {}, "/options/tagret", 'is not an option; did you mean "target"?'),
        ({"option": "{}"}, {}, "/query/option", 'is not a known parameter; did you mean "options"?'),
        ({"target": "y"}, {}, "/query/target", OWN_PARAMETER),
        ({"target": "y"}, {"options": "{}"}, "/query/target", OWN_PARAMETER),
        ({}, {"options": '{"tagret": "y"}'}, "/options/tagret", 'is not an option; did you mean "target"?'),
        ({}, {"target": "y"}, "/target", 'is an option; they are one part: options={"target": …}'),
        ({}, {"option": "{}"}, "/option", 'is "option"; parts are named file or options'),
    ],
)
def test_a_mistyped_or_misplaced_option_is_answered_with_what_was_meant(
    api: httpx2.Client, query: dict[str, str], parts: dict[str, str], pointer: str, words: str
) -> None:
    body: dict[str, Any] = {"files": {"file": ("t.csv", CSV)}, "data": parts} if parts else {"content": CSV}
    (error,) = assert_problem(api.post("/v1/datasets", params=query, **body), 422, "invalid_input")["errors"]
    assert (error["pointer"], error["detail"]) == (pointer, words)


BAD_OPTIONS = {
    "{": b"the field options is not JSON",
    '{"tagret": "y"}': b"/options/tagret",
    '{"missing": "x", "task": "y"}': b"/options/task",
    '{"format": "cvs"}': b"/options/format",
    '{"format": "csv", "part": "test"}': b"/options/part",
}


@pytest.mark.parametrize("options", BAD_OPTIONS)
def test_bad_options_of_a_raw_body_are_refused_before_it_comes(service: Service, options: str) -> None:
    path = f"/v1/datasets?filename=t.csv&options={quote(options)}"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
    answer = raw_exchange(service.url, head.encode())
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 422 ")), "and no 100 Continue"
    assert b"connection: close" in answer
    assert BAD_OPTIONS[options] in answer


def test_bad_options_of_a_form_are_refused_when_they_have_come(service: Service) -> None:
    part = b'--xx\r\nContent-Disposition: form-data; name="options"\r\n\r\n{"tagret": "y"}\r\n' + multipart(FILE_PART)
    head = b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=xx\r\n"
    head += b"Content-Length: 1000000000\r\n\r\n"
    answer = raw_exchange(service.url, head + part, itertools.repeat(bytes(1 << 20), 3))
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert b"/options/tagret" in answer


def test_who_sends_much_with_bad_options_reads_the_answer(api: httpx2.Client) -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for block in table_of(200):
            sent += len(block)
            yield block

    began = time.monotonic()
    answer = api.post("/v1/datasets", params={"options": '{"tagret": "y"}'}, content=body())
    (error,) = assert_problem(answer, 422, "invalid_input")["errors"]
    assert error["pointer"] == "/options/tagret"
    assert sent < 64 << 20
    assert time.monotonic() - began < 5


def test_options_in_the_query_of_a_form_are_not_ignored(api: httpx2.Client) -> None:
    answer = api.post("/v1/datasets", params={"options": '{"target": "width"}'}, files={"file": ("t.csv", CSV)})
    (error,) = assert_problem(answer, 422, "invalid_input")["errors"]
    assert (error["pointer"], error["detail"]) == (
        "/query/options",
        "is for a body that is the file; in a form they are a part",
    )


@pytest.mark.parametrize("name", BAD_FORMS)
def test_a_broken_form_is_refused(api: httpx2.Client, name: str) -> None:
    kind, content, status = BAD_FORMS[name]
    assert_problem(api.post("/v1/datasets", content=content, headers={"Content-Type": kind}), status)


def test_the_same_key_with_another_file_is_refused(api: httpx2.Client) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first = api.post("/v1/datasets?filename=t.csv", content=CSV, headers=key)
    assert first.status_code == 201, first.text
    assert api.post("/v1/datasets?filename=t.csv", content=CSV, headers=key).json() == first.json()
    assert_problem(api.post("/v1/datasets?filename=t.csv", content=CSV + b"9,9,a\n", headers=key), 422)
    assert_problem(api.post("/v1/jobs", json=SPEC, headers=key), 422)


def table_of(megabytes: int) -> Iterator[bytes]:
    lines = b"".join(b",".join(b"%d" % (n + row) for n in range(100, 120)) + b"\n" for row in range(8))
    block = lines * (1024 * 1024 // len(lines))
    yield b",".join(b"c%d" % n for n in range(20)) + b"\n"
    for _ in range(megabytes):
        yield block


@pytest.mark.parametrize("how", ["raw", "multipart"])
def test_a_large_upload_takes_constant_memory(processes: Processes, how: str, data_dir: Path) -> None:
    """By the kernel's own mark of the most that was resident. `python -m bench.upload` does the same with 10 GB."""
    service = processes.service(MLPQ_MAX_UPLOAD_BYTES=str(250 << 20)).ready()

    def body() -> Iterator[bytes]:
        if how == "multipart":
            yield b'--xx\r\nContent-Disposition: form-data; name="file"; filename="t.csv"\r\n\r\n'
        yield from table_of(300)

    kind = "application/octet-stream" if how == "raw" else "multipart/form-data; boundary=xx"
    with http_client(service.url, timeout_s=100) as api:
        assert raw(api, CSV).status_code == 201
        before = resident_bytes(service.pid)
        Path(f"/proc/{service.pid}/clear_refs").write_text("5")
        refused = api.post("/v1/datasets?filename=t.csv", content=body(), headers={"Content-Type": kind})
        assert_problem(refused, 413, "too_large")
        grown = most_resident_bytes(service.pid) - before
        assert grown < 32 << 20, f"grew by {grown >> 20} MiB"
        assert api.get("/healthz").status_code == 200
    assert len([path for path in (data_dir / "datasets").iterdir() if path.name != ".lock"]) == 1


def half_an_upload(service: Service) -> Iterator[bytes]:
    yield from table_of(20)
    service.kill()
    yield b"x"


def test_a_killed_upload_leaves_nothing_that_anyone_sees(processes: Processes, data_dir: Path) -> None:
    service = processes.service().ready()
    with http_client(service.url) as api, pytest.raises(httpx2.HTTPError):
        raw(api, half_an_upload(service))
    again = processes.service().ready()
    with http_client(again.url) as api:
        assert not [d for d in api.get("/v1/datasets?limit=100").json()["data"] if d["id"].startswith("ds_")]
        wait_until(lambda: not list((data_dir / "datasets").glob(".tmp-*")), what="temporary files are swept")
        assert raw(api, CSV).status_code == 201


def test_the_service_answers_while_a_file_is_read(api: httpx2.Client, service: Service) -> None:
    def upload() -> int:
        with http_client(service.url, timeout_s=60) as other:
            return raw(other, table_of(8), "big.csv").status_code

    slowest, begun = 0.0, time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        upload_status = pool.submit(upload)
        while not upload_status.done():
            started = time.monotonic()
            assert api.get("/healthz").status_code == 200
            slowest = max(slowest, time.monotonic() - started)
            time.sleep(0.01)
    assert upload_status.result() == 201
    assert slowest < max(1.0, (time.monotonic() - begun) / 3), "on a busy machine everything takes longer"
