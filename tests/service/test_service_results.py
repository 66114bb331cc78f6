"""Curves, checkpoints, weights and predictions of a job that was really trained and published as a worker does it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import safetensors.numpy
from redis import Redis

from nets.export import load_npz, load_safetensors, to_npz
from nets.member import Member
from nets.parameters import Layout
from nets.prepare import prepare
from nets.scoring import evaluate
from nets.spec import ResolvedSpec
from nets.table import Table, TableInfo
from nets.weight_formats import EXPORTERS
from nets.weights import Predictor, pack
from store.checkpoints import Checkpoints
from store.datasets import DatasetStore
from store.files import LocalArtifacts
from store.jobs import JobStore
from store.records import Job
from store.transitions import Status
from tests.processes import Processes, http_client, resident_bytes
from tests.service.api_parts import assert_problem, claimed, point, submitted


def published(
    api: httpx2.Client, jobs: JobStore, data: Path, dataset: str = "iris", seed: int = 0
) -> tuple[Job, dict[str, Any]]:
    """A job with a result (its initial weights), a checkpoint of step 7 and a curve; and the packed arrays."""
    job = submitted(api, dataset=dataset, net={"hidden": [8]}, training={"seed": seed})
    claim = claimed(jobs)
    info, x, y = DatasetStore(jobs.redis, data).load(dataset)
    table = Table(TableInfo.from_json(info), x, y)
    spec = ResolvedSpec.parse(claim.job.spec)
    member = Member(spec, prepare(table, spec))
    flat = member.initial_parameters()
    assert member.data.preprocessing is not None
    arrays = pack(member.layout.named(flat), member.data.preprocessing, spec, table.info, {"train_loss": 0.5})
    artifacts = LocalArtifacts(data)
    manifest = Checkpoints(artifacts).put(job["id"], claim.fence, 7, 1, {"parameters": flat * 2, "step": np.array(7)})
    jobs.write(claim, events=[point(step, val_loss=None) for step in range(100)], checkpoint=manifest)
    stored = artifacts.put(f"{job['id']}/{claim.fence}-weights.npz", to_npz(arrays))
    result = {"key": stored.key, "sha256": stored.sha256, "bytes": stored.bytes}
    return jobs.finish(claim, Status.SUCCEEDED, result=result), arrays


def test_the_weights_are_the_published_arrays(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, arrays = published(api, jobs, service_data)
    answer = api.get(f"/v1/jobs/{job.id}/weights")
    assert answer.status_code == 200
    assert answer.headers["x-content-sha256"] == hashlib.sha256(answer.content).hexdigest()
    assert answer.headers["etag"] == f'"{answer.headers["x-content-sha256"]}"'
    assert answer.headers["content-disposition"] == f'attachment; filename="{job.id}.npz"'
    found = np.load(io.BytesIO(answer.content), allow_pickle=False)
    assert set(found.files) == set(arrays)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert found["W1"].shape == (4, 8)


def test_safetensors_hold_the_same_weights(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, arrays = published(api, jobs, service_data)
    answer = api.get(f"/v1/jobs/{job.id}/weights?format=safetensors")
    found = safetensors.numpy.load(answer.content)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays if name != "meta")
    assert str(load_safetensors(answer.content)["meta"]) == str(arrays["meta"])
    again = api.get(f"/v1/jobs/{job.id}/weights?format=safetensors")
    assert again.headers["etag"] == answer.headers["etag"]
    assert again.headers["etag"] != api.get(f"/v1/jobs/{job.id}/weights").headers["etag"]


def test_parts_of_a_file_make_the_whole(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, _ = published(api, jobs, service_data)
    path = f"/v1/jobs/{job.id}/weights"
    whole = api.get(path)
    size = len(whole.content)
    parts = b""
    for start in range(0, size, 1000):
        part = api.get(path, headers={"Range": f"bytes={start}-{start + 999}", "If-Range": whole.headers["etag"]})
        assert part.status_code == 206
        assert part.headers["content-range"] == f"bytes {start}-{min(start + 999, size - 1)}/{size}"
        parts += part.content
    assert parts == whole.content
    assert api.get(path, headers={"Range": "bytes=-10"}).content == whole.content[-10:]
    assert api.get(path, headers={"Range": f"bytes={size - 5}-"}).content == whole.content[-5:]
    head = api.head(path)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "lines=1-2", "bytes=5-1", "bytes=-", "bytes=x-", "nonsense"])
def test_ranges_that_mean_nothing_are_ignored(
    api: httpx2.Client, jobs: JobStore, service_data: Path, asked: str
) -> None:
    job, _ = published(api, jobs, service_data)
    whole = api.get(f"/v1/jobs/{job.id}/weights", headers={"Range": asked})
    assert whole.status_code == 200
    assert hashlib.sha256(whole.content).hexdigest() == whole.headers["x-content-sha256"]


def test_a_range_outside_the_file_is_416_and_a_changed_file_is_sent_whole(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    job, _ = published(api, jobs, service_data)
    path = f"/v1/jobs/{job.id}/weights"
    refused = api.get(path, headers={"Range": "bytes=99999999-"})
    assert_problem(refused, 416, "bad_range")
    assert refused.headers["content-range"].startswith("bytes */")
    assert api.get(path, headers={"Range": "bytes=0-9", "If-Range": '"old"'}).status_code == 200


def test_a_client_that_has_the_file_is_told_so(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, _ = published(api, jobs, service_data)
    path = f"/v1/jobs/{job.id}/weights"
    etag = api.get(path).headers["etag"]
    for condition in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        answer = api.get(path, headers={"If-None-Match": condition})
        assert (answer.status_code, answer.content) == (304, b""), condition


def large(jobs: JobStore, api: httpx2.Client, data: Path, n_bytes: int) -> str:
    """The id of a job with a result of so many bytes."""
    job_id = submitted(api)["id"]
    claim = claimed(jobs)
    stored = LocalArtifacts(data).put(f"{job_id}/{claim.fence}-weights.npz", os.urandom(n_bytes))
    result = {"key": stored.key, "sha256": stored.sha256, "bytes": stored.bytes}
    jobs.finish(claim, Status.SUCCEEDED, result=result)
    return job_id


def test_many_downloads_of_a_large_file_take_little_memory(processes: Processes, data_dir: Path, redis: Redis) -> None:
    service = processes.service().ready()
    with http_client(service.url, timeout_s=60) as api:
        path = f"/v1/jobs/{large(JobStore(redis), api, data_dir, 64 << 20)}/weights"
        before = resident_bytes(service.pid)
        with ExitStack() as stack:
            answers = [stack.enter_context(api.stream("GET", path)) for _ in range(8)]
            blocks = [answer.iter_raw(1 << 20) for answer in answers]
            assert all(len(next(block)) == 1 << 20 for block in blocks)
            assert resident_bytes(service.pid) - before < 64 << 20
            for answer, block in zip(answers, blocks, strict=True):
                assert 1 + sum(1 for _ in block) == 64
                assert answer.headers["content-length"] == str(64 << 20)


def test_parts_of_a_large_file_make_the_whole(
    api: httpx2.Client, jobs: JobStore, service_data: Path, redis: Redis
) -> None:
    job_id = large(jobs, api, service_data, 17 << 20)
    path = f"/v1/jobs/{job_id}/weights"
    whole = api.get(path)
    assert hashlib.sha256(whole.content).hexdigest() == whole.headers["x-content-sha256"]
    bounds = [*range(0, 17 << 20, 5_000_001), 17 << 20]
    parts = [api.get(path, headers={"Range": f"bytes={a}-{b - 1}"}) for a, b in pairwise(bounds)]
    assert {part.status_code for part in parts} == {206}
    assert b"".join(part.content for part in parts) == whole.content
    head = api.head(path)
    assert (head.headers["content-length"], head.content) == (str(17 << 20), b"")
    stored = LocalArtifacts(service_data).path(jobs.get(job_id).result["key"])
    with stored.open("r+b") as file:
        file.write(b"damaged")
    assert_problem(api.get(path), 500, "corrupted")


def test_there_are_no_weights_before_there_are_any(api: httpx2.Client, jobs: JobStore) -> None:
    job = submitted(api)
    for query in ("", "?format=safetensors", "?checkpoint=latest", "?checkpoint=5"):
        assert_problem(api.get(f"/v1/jobs/{job['id']}/weights{query}"), 404, "no_weights")
    assert_problem(api.post(f"/v1/jobs/{job['id']}/predict", json={"rows": [[1, 2, 3, 4]]}), 404, "no_weights")
    assert_problem(api.get(f"/v1/jobs/{job['id']}/weights?format=pickle"), 422)
    assert_problem(api.get(f"/v1/jobs/{job['id']}/weights?checkpoint=../x"), 422)


def test_a_checkpoint_is_weights_too(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, arrays = published(api, jobs, service_data)
    (listed,) = api.get(f"/v1/jobs/{job.id}/checkpoints").json()["data"]
    assert (listed["id"], listed["step"], listed["epoch"]) == ("7", 7, 1)
    for path in (listed["links"]["weights"], f"/v1/jobs/{job.id}/weights?checkpoint=latest"):
        found = load_npz(api.get(path).content)
        assert np.array_equal(found["W1"], arrays["W1"] * 2)
        assert np.array_equal(found["input_mean"], arrays["input_mean"])
        Predictor.from_arrays(found).verify(found["golden_inputs"], found["golden_outputs"])


def test_a_job_links_to_the_weights_that_it_has(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job = submitted(api, net={"hidden": []})
    assert "weights" not in job["links"]
    claim = claimed(jobs)
    state = {"parameters": np.ones(4 * 3 + 3, np.float32)}
    manifest = Checkpoints(LocalArtifacts(service_data)).put(job["id"], claim.fence, 7, 1, state)
    jobs.write(claim, checkpoint=manifest)
    link = api.get(f"/v1/jobs/{job['id']}").json()["links"]["weights"]
    assert np.array_equal(load_npz(api.get(link).content)["W1"], np.ones((4, 3)))
    done, arrays = published(api, jobs, service_data)
    link = api.get(f"/v1/jobs/{done.id}").json()["links"]["weights"]
    assert np.array_equal(load_npz(api.get(link).content)["W1"], arrays["W1"])


@pytest.mark.parametrize(
    ("path", "name", "good", "bad"),
    [
        ("weights", "checkpoint", ("latest", "7"), ("", "newest", "-1", "7 ")),
        ("events", "after", ("0", "12"), ("", "x", "-1", "1.0")),
        ("events", "Last-Event-ID", ("0", "12"), ("", "x", "job_a:1")),
    ],
)
def test_the_schema_says_what_a_position_may_be(
    path: str, name: str, good: tuple[str, ...], bad: tuple[str, ...], api: httpx2.Client
) -> None:
    parameters = api.get("/openapi.json").json()["paths"][f"/v1/jobs/{{job_id}}/{path}"]["get"]["parameters"]
    (pattern,) = [one["schema"]["pattern"] for one in parameters if one["name"] == name]
    job = submitted(api)["id"]
    for value in bad:
        where = {"headers": {name: value}} if name == "Last-Event-ID" else {"params": {name: value}}
        assert not re.search(pattern, value)
        assert api.get(f"/v1/jobs/{job}/{path}", **where).status_code in (400, 422), value
    assert all(re.search(pattern, value) for value in good)


@pytest.mark.parametrize(("file_format", "ending"), [("onnx", "onnx"), ("torch", "pt"), ("predict.py", "predict.py")])
def test_files_that_stand_alone_come_whole_in_parts_or_not_at_all(
    api: httpx2.Client, jobs: JobStore, service_data: Path, file_format: str, ending: str
) -> None:
    job, arrays = published(api, jobs, service_data)
    path = f"/v1/jobs/{job.id}/weights?format={file_format}"
    whole = api.get(path)
    assert whole.status_code == 200
    assert whole.content == EXPORTERS[file_format](arrays)
    assert whole.headers["x-content-sha256"] == hashlib.sha256(whole.content).hexdigest()
    assert f'filename="{job.id}.{ending}"' in whole.headers["content-disposition"]
    assert api.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    part = api.get(path, headers={"Range": "bytes=10-29"})
    assert (part.status_code, part.content) == (206, whole.content[10:30])
    at_seven = api.get(f"{path}&checkpoint=7")
    assert at_seven.status_code == 200
    assert at_seven.content != whole.content


def test_a_damaged_file_is_never_handed_out(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, _ = published(api, jobs, service_data, seed=99)  # a content that nobody has asked for yet
    assert job.result is not None
    path = LocalArtifacts(service_data).path(job.result["key"])
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    assert_problem(api.get(f"/v1/jobs/{job.id}/weights"), 500, "corrupted")


def test_predictions_over_http_are_those_of_the_weights(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, arrays = published(api, jobs, service_data)
    predictor = Predictor.from_arrays(arrays)
    names = [column.name for column in predictor.info.columns]
    rows = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5], [None, 3.0, 5, 1]]
    expected = predictor.predict(predictor.cells(rows))
    by_list = api.post(f"/v1/jobs/{job.id}/predict", json={"rows": rows}).json()
    by_name = api.post(
        f"/v1/jobs/{job.id}/predict", json={"rows": [dict(zip(names, row, strict=True)) for row in rows]}
    ).json()
    assert by_list == by_name
    assert by_list["predictions"] == expected.predictions
    assert expected.probabilities is not None
    assert np.allclose(by_list["probabilities"], expected.probabilities)
    assert by_list["classes"] == list(predictor.info.classes)
    assert by_list["unseen"] == []


def test_a_regression_predicts_numbers(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, _ = published(api, jobs, service_data, "diabetes")
    found = api.post(f"/v1/jobs/{job.id}/predict", json={"rows": [[0.0] * 10]}).json()
    assert isinstance(found["predictions"][0], float)
    assert found["probabilities"] is None


def test_an_evaluation_over_http_is_that_of_the_weights(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, arrays = published(api, jobs, service_data)
    predictor = Predictor.from_arrays(arrays)
    info, x, y = DatasetStore(jobs.redis, service_data).load("iris")
    expected = evaluate(predictor, Table(TableInfo.from_json(info), x, y), predictor.scores)
    answer = api.post(f"/v1/jobs/{job.id}/evaluate", json={"dataset": "iris"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["object"], found["job"], found["dataset"], found["n_rows"]) == ("evaluation", job.id, "iris", 150)
    assert found["metrics"] == expected.metrics
    assert set(found["metrics"]) == {"loss", "accuracy", "balanced_accuracy", "macro_f1"}
    assert expected.confusion is not None
    assert found["confusion_matrix"] == expected.confusion.tolist()
    assert found["classes"] == list(predictor.info.classes)
    at_seven = api.post(f"/v1/jobs/{job.id}/evaluate?checkpoint=7", json={"dataset": "iris"}).json()
    assert at_seven["metrics"] != found["metrics"]


def test_an_evaluation_of_a_regression_or_of_two_classes(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    job, _ = published(api, jobs, service_data, "diabetes")
    found = api.post(f"/v1/jobs/{job.id}/evaluate", json={"dataset": "diabetes"}).json()
    assert set(found["metrics"]) == {"loss", "rmse", "mae", "r2"}
    assert (found["classes"], found["confusion_matrix"]) == (None, None)
    job, _ = published(api, jobs, service_data, "breast_cancer")
    assert "auc" in api.post(f"/v1/jobs/{job.id}/evaluate", json={"dataset": "breast_cancer"}).json()["metrics"]


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"dataset": "wine"}, 422, "/dataset"),
        ({"dataset": "ds_" + "0" * 24}, 422, "/dataset"),
        ({"dataset": "../etc"}, 422, "/dataset"),
        ({"dataset": 5}, 422, "/dataset"),
        ({}, 422, "/dataset"),
        ({"dataset": "iris", "rows": 5}, 422, "/rows"),
    ],
)
def test_an_evaluation_that_cannot_be_is_422(
    api: httpx2.Client, jobs: JobStore, service_data: Path, body: dict[str, Any], status: int, pointer: str
) -> None:
    job, _ = published(api, jobs, service_data)
    problem = assert_problem(api.post(f"/v1/jobs/{job.id}/evaluate", json=body), status)
    assert problem["errors"][0]["pointer"] == pointer
    waiting = submitted(api)["id"]
    assert_problem(api.post(f"/v1/jobs/{waiting}/evaluate", json={"dataset": "iris"}), 404, "no_weights")


BAD_ROWS = {
    "[]": "/rows",
    "5": "/rows",
    "[5]": "/rows/0",
    '["x"]': "/rows/0",
    "[[1, 2, 3]]": "/rows/0",
    "[[1, 2, 3, 4, 5]]": "/rows/0",
    '[[1, 2, 3, "x"]]': "/rows/0/3",
    "[[1, 2, 3, NaN]]": "/rows/0/3",
    "[[1, 2, 3, 1e999]]": "/rows/0/3",
    "[[1, 2, 3, [4]]]": "/rows/0/3",
    '[[1, 2, 3, {"a": 1}]]': "/rows/0/3",
    '[{"width of the hat": 1}]': "/rows/0",
    "[[1, 2, 3, %s]]" % ("9" * 400): "/rows/0/3",
    "[" + ",".join(["[1,2,3,4]"] * 10_001) + "]": "/rows",
}


@pytest.mark.parametrize("rows", BAD_ROWS, ids=lambda rows: rows[:30])
def test_bad_rows_are_422_and_the_cell_is_named(
    api: httpx2.Client, jobs: JobStore, service_data: Path, rows: str
) -> None:
    job, _ = published(api, jobs, service_data)
    body, kind = f'{{"rows": {rows}}}', {"Content-Type": "application/json"}
    problem = assert_problem(api.post(f"/v1/jobs/{job.id}/predict", content=body, headers=kind), 422)
    assert BAD_ROWS[rows] in [error["pointer"] for error in problem["errors"]], problem["errors"]


def test_the_curve_comes_as_columns_thinned_and_resumable(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    job, _ = published(api, jobs, service_data)
    path = f"/v1/jobs/{job.id}/metrics"
    whole = api.get(path).json()
    assert whole["columns"]["step"] == list(range(100))
    assert whole["columns"]["val_loss"] == [None] * 100
    assert {len(column) for column in whole["columns"].values()} == {100} == {whole["n_points"]}
    thin = api.get(f"{path}?max_points=10").json()["columns"]["step"]
    assert (thin[0], thin[-1]) == (0, 99)
    assert 5 <= len(thin) <= 10
    assert api.get(f"{path}?after_step=97").json()["columns"]["step"] == [98, 99]
    lines = api.get(f"{path}?format=csv").text.splitlines()
    assert lines[0].startswith("step,epoch,train_loss")
    assert len(lines) == 101
    assert_problem(api.get(f"{path}?max_points=1"), 422)
    assert api.get(f"/v1/jobs/{submitted(api)['id']}/metrics").json()["columns"] == {"step": []}


def test_deleting_a_job_removes_its_files(api: httpx2.Client, jobs: JobStore, service_data: Path, redis: Redis) -> None:
    job, _ = published(api, jobs, service_data)
    folder = LocalArtifacts(service_data).path(job.id)
    assert folder.is_dir()
    assert api.delete(f"/v1/jobs/{job.id}").status_code == 204
    assert not folder.exists()
    assert not [key for key in redis.keys("*") if job.id.encode() in key and b"deleted" not in key]


def test_meta_of_the_weights_names_the_spec(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, _ = published(api, jobs, service_data)
    meta = json.loads(str(load_npz(api.get(f"/v1/jobs/{job.id}/weights").content)["meta"]))
    assert meta["spec"] == job.spec
    assert Layout((4, 8, 3)).count == sum(
        array.size for name, array in load_npz(api.get(f"/v1/jobs/{job.id}/weights").content).items() if name[0] in "Wb"
    )
