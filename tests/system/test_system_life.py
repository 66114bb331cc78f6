"""The whole system through HTTP: API, worker, training process and server are real processes."""

from __future__ import annotations

import io
import itertools
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from mlpq import Client
from nets.export import load_npz
from nets.weights import Predictor
from store.transitions import Status
from tests.history import read_history
from tests.processes import Service, wait_until
from tests.site import ENDLESS, QUICK, STEADY, Site


@dataclass(frozen=True)
class Told:
    """One event as a client of the stream reads it."""

    id: int
    type: str
    data: str


def stream(url: str, job_id: str, after: int = 0) -> Iterator[Told]:
    """The events of a job, from a plain HTTP reader."""
    request = urllib.request.Request(f"{url}/v1/jobs/{job_id}/events", headers={"Last-Event-ID": str(after)})
    with urllib.request.urlopen(request, timeout=30) as answer:
        fields: dict[str, str] = {}
        for line in io.TextIOWrapper(answer, "utf-8"):
            name, _, value = line.rstrip("\n").partition(": ")
            if line == "\n" and "id" in fields:
                yield Told(int(fields["id"]), fields["event"], fields["data"])
            if line == "\n":
                fields = {}
            elif name:
                fields[name] = value


@pytest.fixture
def url(site: Site, service: Service) -> str:
    """A service with one warm worker."""
    site.processes.worker().ready()
    return service.url


def test_a_job_goes_from_http_to_weights_that_predict(url: str, site: Site) -> None:
    with Client(url) as client:
        job = client.submit({"dataset": "iris", "name": "life", "tags": ["a"], **QUICK})
        told = list(stream(url, job.id))
        site.accepted.append(job.id)
        (history,) = site.check()
        assert history.job.tags == ("a",)
        assert [(event.id, event.type) for event in told] == [(event.id, event.type) for event in history.events]
        with urllib.request.urlopen(f"{url}/v1/jobs/{job.id}/weights?format=npz") as answer:
            arrays = load_npz(answer.read())
    Predictor.from_arrays(arrays).verify(arrays["golden_inputs"], arrays["golden_outputs"])
    assert arrays["W1"].shape == (4, 16)
    assert all(np.isfinite(array).all() for name, array in arrays.items() if name != "meta")


def test_a_reconnecting_stream_equals_the_uninterrupted_one(url: str, site: Site) -> None:
    with Client(url) as client:
        job = client.submit({"dataset": "digits", **STEADY})
    site.accepted.append(job.id)
    pieces: list[Told] = []
    while not pieces or pieces[-1].type != "end":
        pieces += itertools.islice(stream(url, job.id, pieces[-1].id if pieces else 0), 3)
    whole = list(stream(url, job.id))
    assert pieces == whole
    assert [event.id for event in whole] == list(range(1, len(whole) + 1))
    (history,) = site.check()
    assert [json.loads(event.data) for event in whole] == [json.loads(event.data) for event in history.events]


def test_pause_resume_and_cancel_through_http(url: str, site: Site) -> None:
    with Client(url) as client:
        job = client.submit({"dataset": "digits", **ENDLESS})
        site.accepted.append(job.id)
        site.wait_for_step(job.id)
        job.pause()
        site.wait(job.id, Status.PAUSED)
        job.resume()
        site.wait_for_step(job.id, site.store.get(job.id).last_metric_step + 1)
        job.cancel()
        site.wait(job.id)
    (history,) = site.check()
    assert history.statuses == [
        "queued",
        "running",
        "pausing",
        "paused",
        "queued",
        "running",
        "cancelling",
        "cancelled",
    ]
    assert history.job.attempt == 1


def test_the_worker_list_tells_who_trains_what(url: str, site: Site) -> None:
    with Client(url) as client:
        job = client.submit({"dataset": "digits", **ENDLESS})
        site.accepted.append(job.id)
        site.wait_for_step(job.id)

        def busy() -> list[dict[str, object]]:
            with urllib.request.urlopen(f"{url}/v1/workers") as answer:
                return [worker for worker in json.load(answer)["data"] if worker["jobs"] == [job.id]]

        (worker,) = wait_until(busy, what="the worker is listed with its job")
        assert worker["device"] == "cpu"
        wait_until(lambda: any(worker["samples_per_s"] for worker in busy()), what="and its throughput")
        job.cancel()
    site.wait(job.id)
    assert read_history(site.store, job.id).job.terminal
