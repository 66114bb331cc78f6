"""`POST /v1/jobs/{id}/fork`: a job from another one's weights, through the API and a worker's runner."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from mlpq.embedded import EmbeddedServer
from service.predictors import WeightsFile
from store import scripts
from store.jobs import JobStore
from tests.lossy import lossy_way
from tests.processes import Processes, http_client
from tests.service.api_parts import assert_problem, submitted
from tests.service.test_service_training import run_next, trained, uploaded

PLAIN: dict[str, Any] = {
    "net": {"hidden": [8]},
    "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.0, "l2": 0.0},
    "schedule": "constant",
    "training": {"epochs": 3, "shuffle": False, "batch_size": 10},
}
"""Its steps have no memory: three epochs and then three more are six."""

STILL = {"optimizer": {"learning_rate": 1e-12}, "training": {"epochs": 1}}
"""Changes after which a job ends with the weights that it began with."""


def weights(api: httpx2.Client, job: str, **query: str) -> dict[str, np.ndarray]:
    answer = api.get(f"/v1/jobs/{job}/weights", params=query)
    assert answer.status_code == 200, answer.text
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def forked(api: httpx2.Client, job: str, changes: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = api.post(f"/v1/jobs/{job}/fork", json=changes, **more)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    return dict(answer.json())


def ended(api: httpx2.Client, jobs: JobStore, data_dir: Path, job: str) -> dict[str, Any]:
    run_next(jobs, data_dir)
    found = dict(api.get(f"/v1/jobs/{job}").json())
    assert found["status"] == "succeeded", found["error"]
    return found


def test_a_fork_goes_on_bit_for_bit_where_its_origin_ended(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    long = PLAIN | {"training": PLAIN["training"] | {"epochs": 6}}
    whole = weights(api, trained(api, jobs, service_data, **long)["id"])
    half = trained(api, jobs, service_data, name="half", tags=["t"], **PLAIN)
    assert half["origin"] is None
    fork = forked(api, half["id"], {"metadata": {"why": "on"}})
    assert fork["origin"] == {"job": half["id"], "checkpoint": None}
    assert (fork["spec"], fork["name"], fork["tags"], fork["metadata"]) == (half["spec"], "half", ["t"], {"why": "on"})
    ended(api, jobs, service_data, fork["id"])
    found = weights(api, fork["id"])
    for name in ("W1", "b1", "W2", "b2", "input_mean", "golden_outputs"):
        assert found[name].tobytes() == whole[name].tobytes(), name
    assert not np.array_equal(found["W1"], weights(api, half["id"])["W1"])


def test_changes_reach_their_parts_and_all_else_stays(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    origin = trained(api, jobs, service_data, **PLAIN)
    changes = {"training": {"epochs": 7}, "optimizer": {"momentum": 0.5}, "schedule": "cosine", "net": {"dropout": 0.1}}
    spec = forked(api, origin["id"], changes)["spec"]
    assert spec["training"] == origin["spec"]["training"] | {"epochs": 7}
    assert spec["optimizer"] == origin["spec"]["optimizer"] | {"momentum": 0.5}
    assert spec["schedule"] == {"name": "cosine", "final": 0, "warmup_steps": 0}
    assert spec["net"] == origin["spec"]["net"] | {"dropout": 0.1}
    other = forked(api, origin["id"], {"optimizer": {"name": "adam", "l2": 0.0}})["spec"]["optimizer"]
    assert (other["name"], other["l2"], "momentum" in other) == ("adam", 0.0, False)


def test_on_other_rows_the_weights_keep_what_prepares_their_inputs(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    rng = np.random.default_rng(0)
    texts = []
    for shift in (0.0, 100.0):
        x, label = rng.normal(size=(60, 2)) + shift, np.arange(60) % 3
        rows = [f"{a},{b},{'xyz'[c]}" for (a, b), c in zip(x, label, strict=True)]
        texts.append(("a,b,kind\n" + "\n".join(rows)).encode())
    near, far = (uploaded(api, text, f"rows{place}.csv") for place, text in enumerate(texts))
    origin = trained(api, jobs, service_data, **PLAIN | {"dataset": near})
    fork = forked(api, origin["id"], {"dataset": far, **STILL})
    assert (fork["dataset"], fork["origin"]["job"]) == (far, origin["id"])
    shown = api.get(f"/v1/jobs/{fork['id']}/explanations/gradient_check").json()
    assert (shown["at"], shown["ok"]) == ("initial", True)
    ended(api, jobs, service_data, fork["id"])
    before, after = weights(api, origin["id"]), weights(api, fork["id"])
    for name in ("input_mean", "input_std", "W1", "b2"):
        assert np.allclose(before[name], after[name], 1e-6, 1e-9), name
    assert abs(before["input_mean"]).max() < 1


def test_a_fork_from_a_checkpoint_starts_there(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    spec = PLAIN | {"training": PLAIN["training"] | {"epochs": 3000, "checkpoint_every_s": 0.1}}
    origin = trained(api, jobs, service_data, **spec)
    listed = api.get(f"/v1/jobs/{origin['id']}/checkpoints").json()["data"]
    step = listed[-1]["step"]
    fork = forked(api, origin["id"], STILL, params={"checkpoint": str(step)})
    assert fork["origin"] == {"job": origin["id"], "checkpoint": step}
    ended(api, jobs, service_data, fork["id"])
    there = weights(api, origin["id"], checkpoint=str(step))
    assert np.allclose(weights(api, fork["id"])["W1"], there["W1"], 1e-6, 1e-8)
    assert not np.allclose(weights(api, origin["id"])["W1"], there["W1"], 1e-3)


def test_a_fork_outlives_its_origin(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    origin = trained(api, jobs, service_data, **PLAIN)
    before = weights(api, origin["id"])
    fork = forked(api, origin["id"], STILL)
    assert api.delete(f"/v1/jobs/{origin['id']}").status_code == 204
    ended(api, jobs, service_data, fork["id"])
    assert np.allclose(weights(api, fork["id"])["W1"], before["W1"], 1e-6, 1e-9)


def test_a_damaged_copy_of_the_weights_fails_the_fork(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    fork = forked(api, trained(api, jobs, service_data, **PLAIN)["id"], {})
    copy = service_data / "artifacts" / fork["id"] / "origin.npz"
    content = bytearray(copy.read_bytes())
    content[200] ^= 1
    copy.write_bytes(content)
    run_next(jobs, service_data)
    found = api.get(f"/v1/jobs/{fork['id']}").json()
    assert (found["status"], "sha256" in found["error"]["message"]) == ("failed", True)


def test_a_repeated_request_makes_one_fork(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    origin = trained(api, jobs, service_data, **PLAIN)
    folders = set((service_data / "artifacts").iterdir())
    key = {"Idempotency-Key": "once"}
    first = forked(api, origin["id"], STILL, headers=key)
    assert forked(api, origin["id"], STILL, headers=key)["id"] == first["id"]
    assert {path.name for path in set((service_data / "artifacts").iterdir()) - folders} == {first["id"]}
    answer = api.post(f"/v1/jobs/{origin['id']}/fork", json={}, headers=key)
    assert_problem(answer, 422)
    assert {path.name for path in set((service_data / "artifacts").iterdir()) - folders} == {first["id"]}


def test_a_fork_whose_answer_is_lost_has_its_weights(
    api: httpx2.Client, jobs: JobStore, service_data: Path, valkey: EmbeddedServer, tmp_path: Path
) -> None:
    """The store may have recorded it before it went silent: who asks again finds it, and it trains."""
    origin = trained(api, jobs, service_data, **PLAIN)
    create = hashlib.sha1(scripts.source("create").encode()).hexdigest().encode()
    key = {"Idempotency-Key": "unheard"}
    with (
        lossy_way(valkey.url, create, losses=1) as way,
        Processes(tmp_path, way.url, service_data) as processes,
        http_client(processes.service().ready().url) as other,
    ):
        assert_problem(other.post(f"/v1/jobs/{origin['id']}/fork", json=STILL, headers=key), 503)
    assert way.left == 0
    ended(api, jobs, service_data, forked(api, origin["id"], STILL, headers=key)["id"])


def test_forks_of_the_same_large_weights_at_once_copy_all_of_them(tmp_path: Path) -> None:
    """What is made of large weights is one open file for all that ask."""
    content = os.urandom(24 << 20)
    (tmp_path / "weights").write_bytes(content)
    with (tmp_path / "weights").open("rb") as opened:
        file, copies = WeightsFile(opened, "", "weights"), [io.BytesIO() for _ in range(4)]
        threads = [threading.Thread(target=file.copy_to, args=(copy,)) for copy in copies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [copy.getvalue() == content for copy in copies] == [True] * len(copies)


@pytest.mark.parametrize(
    ("changes", "pointer", "said"),
    [
        ({"net": {"hidden": [9]}}, "/net/hidden", "4 → 9 → 3; the weights have 4 → 8 → 3"),
        ({"net": {"hidden": [8, 8], "activation": "relu"}}, "/net/hidden", "4 → 8 → 8 → 3"),
        ({"net": {"bias": False}}, "/net", "bias"),
        ({"net": {"batch_norm": True}}, "/net", "batch_norm"),
        ({"net": {"depth": 2}}, "/net/depth", ""),
        ({"dataset": "wine"}, "/dataset", "classes"),
        ({"dataset": "diabetes", "loss": "squared_error"}, "/dataset", "task regression"),
        ({"dataset": "ds_" + "0" * 24}, "/dataset", "there is no such data set"),
        ({"loss": "binary_cross_entropy"}, "/loss", ""),
        ({"optimizer": "random_search", "training": {"batch_size": None}}, "/optimizer/name", "draws all weights anew"),
        ({"training": {"folds": 3}}, "/training/folds", "every row may have trained"),
        ({"training": {"epochs": 0}}, "/training/epochs", "1..1000000"),
        ({"features": ["raw"]}, "/features", ""),
    ],
)
def test_what_these_weights_cannot_become_is_422_at_the_field(
    api: httpx2.Client, jobs: JobStore, service_data: Path, changes: dict[str, Any], pointer: str, said: str
) -> None:
    origin = trained(api, jobs, service_data, **PLAIN)
    folders = set((service_data / "artifacts").iterdir())
    problem = assert_problem(api.post(f"/v1/jobs/{origin['id']}/fork", json=changes), 422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert said in problem["errors"][0]["detail"]
    assert set((service_data / "artifacts").iterdir()) == folders


def test_columns_must_be_the_same(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    names = [f"c{j},{j},{'ab'[j % 2]}" for j in range(20)]
    one = uploaded(
        api, ("text,number,kind\n" + "\n".join(n.replace("c", "cd"[len(n) % 2]) for n in names)).encode(), "1"
    )
    two = uploaded(api, ("other,number,kind\n" + "\n".join(names)).encode(), "2")
    origin = trained(api, jobs, service_data, **PLAIN | {"dataset": one})
    problem = assert_problem(api.post(f"/v1/jobs/{origin['id']}/fork", json={"dataset": two}), 422)
    assert problem["errors"][0]["pointer"] == "/dataset"
    assert "the weights read" in problem["errors"][0]["detail"]


def test_without_weights_there_is_nothing_to_fork(api: httpx2.Client) -> None:
    waiting = submitted(api)["id"]
    assert_problem(api.post(f"/v1/jobs/{waiting}/fork", json={}), 404, "no_weights")
    assert_problem(api.post(f"/v1/jobs/{waiting}/fork", json={}, params={"checkpoint": "latest"}), 404, "no_weights")
    assert_problem(api.post("/v1/jobs/job_absent/fork", json={}), 404)


def test_a_fork_of_a_cross_validated_job_has_no_folds(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    training = PLAIN["training"] | {"folds": 3}
    origin = trained(api, jobs, service_data, **PLAIN | {"training": training})
    fork = forked(api, origin["id"], {})
    assert "folds" not in fork["spec"]["training"]
    metrics = ended(api, jobs, service_data, fork["id"])["metrics"]
    assert not any(name.startswith("fold") for name in metrics)
