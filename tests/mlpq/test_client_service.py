"""Both clients against the real service: a job's whole life."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlpq import (
    Client,
    ConflictError,
    EndEvent,
    InvalidArgumentError,
    InvalidInputError,
    MetricEvent,
    NotFoundError,
    StatusEvent,
    Unseen,
    WaitTimeoutError,
)
from mlpq.demo import forward
from mlpq.job import PREDICT_ROWS
from mlpq.transport import Reply, Request
from tests.mlpq.on_a_loop import KINDS, connect
from tests.store.file_writers import idx

PENGUINS = Path(__file__).resolve().parent.parent / "data" / "penguins.csv"
"""Horst, Hill and Gorman 2020, palmerpenguins; CC0."""


@pytest.fixture(params=KINDS)
def client(service_url: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    with connect(request.param, service_url) as connected:
        yield connected


def test_a_job_is_trained_watched_and_its_weights_predict_the_same_in_numpy(client: Client) -> None:
    job = client.train("iris", hidden=[16], activation="relu", epochs=15, seed=3, name="first", tags=["t"])
    assert job.id.startswith("job_")
    events = list(job.watch())
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    points = [event for event in events if isinstance(event, MetricEvent)]
    assert [point.epoch for point in points] == list(range(1, 16))
    assert [event.status for event in events if isinstance(event, StatusEvent)][-1] == "succeeded"
    assert isinstance(events[-1], EndEvent)
    assert (job.status, job.progress.epoch, job.record.name, job.record.tags) == ("succeeded", 15, "first", ("t",))
    columns = job.metrics()
    assert columns["epoch"].tolist() == [point.epoch for point in points]
    assert columns["train_loss"].tolist() == [point.train_loss for point in points]

    weights = job.weights()
    assert (weights["W1"].shape, weights["b2"].shape) == ((4, 16), (3,))
    rows = np.random.default_rng(0).normal(weights["input_mean"], weights["input_std"], (50, 4))
    said = job.predict(rows)
    assert said.probabilities is not None
    assert np.abs(forward(weights, rows) - said.probabilities).max() < 1e-5
    assert said.predictions.tolist() == [said.classes[k] for k in said.probabilities.argmax(axis=1)]

    measured = job.evaluate("iris")
    assert (measured.n_rows, measured.classes) == (150, said.classes)
    assert measured.confusion is not None
    assert measured.confusion.trace() / 150 == measured.metrics["accuracy"]
    assert measured.metrics == job.evaluate(client.dataset("iris")).metrics
    with pytest.raises(NotFoundError, match="checkpoint"):
        job.evaluate("iris", checkpoint="latest")
    with pytest.raises(InvalidInputError, match="no column"):
        job.evaluate("wine")


def test_features_of_images_are_trained_and_predict_from_pixels(client: Client) -> None:
    job = client.train("digits", features=[{"name": "hog", "cell": 4}, "raw"], hidden=[], epochs=5).wait(timeout_s=60)
    assert job.spec["features"] == [{"name": "hog", "cell": 4, "bins": 9}, "raw"]
    weights = job.weights()
    assert weights["W1"].shape == (36 + 64, 10)
    said = job.predict(weights["golden_inputs"])
    expected = weights["golden_outputs"].argmax(axis=1)
    assert said.predictions.tolist() == [said.classes[code] for code in expected]
    with pytest.raises(InvalidInputError, match="made of images"):
        client.train("iris", features=["hog"])


def test_a_pair_of_files_is_one_data_set(client: Client, tmp_path: Path) -> None:
    images, labels = np.random.default_rng(0).integers(0, 256, (40, 3, 2), np.uint8), np.arange(40, dtype=np.uint8) % 4
    (tmp_path / 'odd "name"').write_bytes(idx(images))
    (tmp_path / "labels.gz").write_bytes(gzip.compress(idx(labels)))
    sent: list[tuple[int, int]] = []
    paths = [tmp_path / 'odd "name"', tmp_path / "labels.gz"]
    record = client.upload(paths, name="pair", progress=lambda done, size: sent.append((done, size)))
    assert (record.name, record.n_rows, record.n_features, record.n_classes) == ("pair", 40, 6, 4)
    assert sent[-1][0] == sent[-1][1] > sum(path.stat().st_size for path in paths)
    with pytest.raises(InvalidInputError, match="labels"):
        client.upload([paths[0], paths[0]])


def test_penguins_with_missing_cells_are_learned_by_default(client: Client) -> None:
    record = client.upload(PENGUINS, target="species")
    kinds = {column["name"]: column["kind"] for column in record.raw["columns"]}
    assert (kinds["island"], kinds["bill_length_mm"]) == ("categorical", "numeric")
    job = client.train(record).wait(timeout_s=120)
    assert job.final_metrics["val_accuracy"] >= 0.97  # type: ignore[operator]
    known = {
        "island": "Biscoe",
        "bill_length_mm": 47.0,
        "flipper_length_mm": 217,
        "body_mass_g": 5400,
        "bill_depth_mm": 15,
    }
    said = job.predict([known | {"sex": None, "year": 2008}, known | {"sex": "unheard of", "year": 2008}])
    assert said.predictions.tolist() == ["Gentoo", "Gentoo"]
    assert said.unseen == (Unseen("sex", 1, ("unheard of",)),)
    rows = [known | {"island": f"island {n % 12}"} for n in range(PREDICT_ROWS - 1)] + [known, known | {"island": 3}]
    assert job.predict(rows).unseen == (Unseen("island", PREDICT_ROWS, tuple(f"island {n}" for n in range(10))),)


def test_a_file_is_trained_on_the_column_that_target_names(client: Client, tmp_path: Path) -> None:
    told = client.dry_run(PENGUINS, target="species", hidden=[])
    assert told["spec"]["loss"] == "softmax"
    job = client.train(PENGUINS, target="body_mass_g", hidden=[], epochs=1)
    assert client.dataset(job.record.dataset).raw["target"] == "body_mass_g"
    with pytest.raises(InvalidInputError, match="/options/target") as caught:
        client.train(PENGUINS, target="Specis")
    (error,) = caught.value.errors
    assert error.detail.startswith('is "Specis"; the columns are "species", "island", ')
    assert error.detail.endswith('; did you mean "species"?')
    assert error.detail in str(caught.value)
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"size": n, "price": 2 * n} for n in range(30)]))
    with pytest.raises(InvalidInputError, match='the columns are "size", "price"; did you mean "price"'):
        client.sweep(rows, target="prise", grid={"training.seed": [1, 2]})


def test_what_cannot_be_trained_is_refused_before_a_file_is_uploaded(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "never uploaded.csv"
    path.write_text("x,y\n" + "".join(f"{n},{n % 2}\n" for n in range(40)))
    with pytest.raises(InvalidArgumentError, match="hiden is no setting of a job; did you mean hidden"):
        client.train(path, hiden=[8])  # type: ignore[call-arg]
    assert "never uploaded" not in {record.name for record in client.datasets()}
    for dataset in ("iris", client.dataset("iris"), ([[1.0], [2.0]], [0, 1])):
        with pytest.raises(InvalidArgumentError, match="target names a column of a file"):
            client.train(dataset, target="species")


def test_data_sets_beside_the_first_are_named_as_it_is(client: Client) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(90, 3))
    first, second = (client.upload_arrays(x + shift, np.where(x[:, 0] > 0, "up", "down")) for shift in (0.0, 1e-3))
    job = client.train(first, test_dataset=second, epochs=3).wait(timeout_s=60)
    assert job.spec["training"]["test_dataset"] == second.id
    assert "test_accuracy" in job.final_metrics


def test_arrays_are_uploaded_once_and_learned(client: Client) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 3))
    y = np.where(x[:, 0] > 0, "up", "down")
    first = client.upload_arrays(x, y)
    assert (first.task, first.n_rows, first.n_features, set(first.classes)) == (
        "classification",
        300,
        3,
        {"up", "down"},
    )
    assert client.upload_arrays(x, y).sha256 == first.sha256
    job = client.train((x, y), hidden=[8], epochs=30).wait(timeout_s=60)
    assert job.final_metrics["val_accuracy"] > 0.9  # type: ignore[operator]
    many = job.predict(np.tile(x[:10], (PREDICT_ROWS // 4, 1)))
    assert len(many) == 10 * (PREDICT_ROWS // 4)
    assert many.predictions[:10].tolist() == many.predictions[-10:].tolist()


def test_a_csv_is_streamed_trained_and_predicted_by_column_name(client: Client, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    lines = ["size,colour,price"]
    for _ in range(200):
        size, colour = rng.uniform(1, 9), rng.choice(["red", "blue"])
        lines.append(f"{size:.2f},{colour},{3 * size + (5 if colour == 'red' else 0):.2f}")
    path = tmp_path / "prices.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    sent: list[int] = []
    data = client.upload(path, target="price", progress=lambda done, _: sent.append(done))
    assert sent[-1] == path.stat().st_size
    assert (data.task, [(c.name, c.kind) for c in data.columns][:2]) == (
        "regression",
        [("size", "numeric"), ("colour", "categorical")],
    )
    assert client.dataset(data.id).id in {record.id for record in client.datasets()}
    job = client.train(data, hidden=[16], epochs=60).wait(timeout_s=60)
    high, low = job.predict([{"size": 8, "colour": "red"}, {"size": 2, "colour": "blue"}]).predictions
    assert high > low + 5
    with pytest.raises(InvalidInputError, match="weight"):
        job.predict([{"weight": 1}])


def test_a_bad_file_is_refused_with_row_and_column(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(InvalidInputError) as caught:
        client.upload(path)
    assert "3" in str(caught.value)


def test_the_service_names_the_field_that_it_refuses(client: Client) -> None:
    with pytest.raises(InvalidInputError) as caught:
        client.train("digits", hidden=[0], epochs=-1)
    assert {error.pointer for error in caught.value.errors} >= {"/net/hidden/0", "/training/epochs"}
    with pytest.raises(NotFoundError):
        client.job("job_absent")


def test_the_optimizer_that_is_not_named_is_the_service_s_default(client: Client) -> None:
    told = client.dry_run("iris", learning_rate=0.5)["spec"]["optimizer"]
    assert told["name"] == client.dry_run("iris")["spec"]["optimizer"]["name"]
    assert told["learning_rate"] == 0.5


def test_settings_may_be_numpy_numbers(client: Client) -> None:
    told = client.dry_run("iris", hidden=np.array([8, 4]), epochs=np.int64(7), learning_rate=np.float64(0.01))
    assert told["spec"]["net"]["hidden"] == [8, 4]
    assert (told["spec"]["training"]["epochs"], told["spec"]["optimizer"]["learning_rate"]) == (7, 0.01)


def test_a_dry_run_resolves_and_makes_no_job(client: Client) -> None:
    before = {job.id for job in client.jobs(limit=None)}
    told = client.dry_run("digits", hidden=[10])
    assert told["parameters"] == 64 * 10 + 10 + 10 * 10 + 10
    assert told["spec"]["net"]["hidden"] == [10]
    assert {job.id for job in client.jobs(limit=None)} == before


def test_pause_resume_cancel_and_what_is_not_allowed(client: Client) -> None:
    job = client.train("digits", hidden=[64], epochs=100_000, precision="float64", tags=["long"])
    metrics = (event for event in job.watch() if isinstance(event, MetricEvent))
    next(metrics)
    assert job.pause().status in ("pausing", "paused")
    _until(client, job.id, "paused")
    with pytest.raises(ConflictError):
        job.pause()
    assert job.resume().status in ("queued", "running")
    following = next(metrics)
    assert following.epoch > 0
    job.update(name="long one")
    started = time.monotonic()
    job.cancel()
    _until(client, job.id, "cancelled")
    assert time.monotonic() - started < 5
    assert job.refresh().record.name == "long one"
    job.delete()
    with pytest.raises(NotFoundError):
        job.refresh()


def test_a_watch_closed_early_gives_its_connection_back(client: Client) -> None:
    job = client.train("iris", epochs=3)
    for _ in range(15):
        watching = job.watch()
        next(watching)
        watching.close()  # type: ignore[attr-defined]
    assert job.wait(timeout_s=60).status == "succeeded"


@pytest.mark.parametrize("client", ["blocking"], indirect=True)
def test_one_client_serves_many_threads(client: Client) -> None:
    job = client.train("iris", epochs=20)
    found: list[list[int]] = []
    threads = [threading.Thread(target=lambda: found.append([event.id for event in job.watch()])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(ids == found[0] for ids in found)


@pytest.mark.parametrize("client", ["blocking"], indirect=True)
def test_waiting_for_an_end_is_one_request(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    job, sent, send = client.train("digits", epochs=1_000_000), list[str](), client._api.transport.send

    async def counted(request: Request) -> Reply:
        sent.append(f"{request.method} {request.path}")
        return await send(request)

    monkeypatch.setattr(client._api.transport, "send", counted)
    cancelling = threading.Timer(1.0, job.cancel)
    cancelling.start()
    assert client.job(job.id).wait(check=False).status == "cancelled"
    cancelling.join()
    assert sent.count(f"GET /v1/jobs/{job.id}") == 2, "the handle's own, and the end"


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_takes_no_slow_answer_waits_as_long_as_it_is_told(service_url: str, kind: str) -> None:
    with connect(kind, service_url, timeout=1.0) as client:
        job = client.train("digits", epochs=1_000_000)
        with pytest.raises(WaitTimeoutError):
            job.wait(timeout_s=1.2)
        job.cancel()


def test_saved_weights_are_whole_files_in_the_asked_format(client: Client, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    job = client.train("iris", hidden=[], epochs=3).wait(timeout_s=60)
    npz, safetensors = job.save_weights(tmp_path / "a" / "w.npz"), job.save_weights(tmp_path / "w.safetensors")
    with np.load(npz, allow_pickle=False) as archive:
        assert json.loads(str(archive["meta"]))["spec"]["net"]["hidden"] == []
        assert np.array_equal(load_file(safetensors)["W1"], archive["W1"])
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["w.npz"]


def test_capabilities_queue_and_workers_are_told(client: Client) -> None:
    assert "relu" in json.dumps(client.capabilities())
    assert client.queue()["object"] == "queue"
    assert len(client.workers()["data"]) == 1


def _until(client: Client, job_id: str, status: str) -> None:
    deadline = time.monotonic() + 60
    while client.job(job_id).status != status:
        assert time.monotonic() < deadline, f"never {status}: {client.job(job_id).status}"
        time.sleep(0.02)
