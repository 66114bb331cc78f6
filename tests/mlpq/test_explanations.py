"""Explanations through the client and the command line, against the real service."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from mlpq import Client, InvalidInputError, NotFoundError
from mlpq.job import Job
from tests.mlpq.command import Mlpq


@pytest.fixture(scope="module")
def moons(service_url: str) -> Job:
    """A finished job on two moons."""
    with Client(service_url) as client:
        return client.train("moons", hidden=[12], epochs=20, name="two moons").wait(timeout_s=90)


def width_of(png: bytes) -> int:
    assert png.startswith(b"\x89PNG")
    return int(struct.unpack(">I", png[16:20])[0])


def test_numbers_and_pictures_come_from_the_job(client: Client, moons: Job, tmp_path: Path) -> None:
    job = client.job(moons.id)
    found = job.explanation("confusion", rows="all")
    measured = job.evaluate("moons")
    assert measured.confusion is not None
    assert found["matrix"] == measured.confusion.tolist()
    assert job.explanation("confusion", dataset=client.dataset("moons"), rows="all")["matrix"] == found["matrix"]
    content = job.picture("boundary", tmp_path / "new" / "boundary.png", width=640, resolution=30)
    assert (tmp_path / "new" / "boundary.png").read_bytes() == content
    assert width_of(content) == 640
    assert width_of(job.picture("gradient_check")) == 900
    assert job.explanations()["boundary"] is None
    with pytest.raises(InvalidInputError, match="/query/resolution"):
        job.explanation("boundary", resolution=3)
    with pytest.raises(InvalidInputError, match='/query/bin: is not a known parameter; did you mean "bins"'):
        job.explanation("calibration", bin=3)
    with pytest.raises(NotFoundError):
        job.explanation("../weights")


def test_what_a_job_cannot_have_is_an_error_that_says_why(client: Client) -> None:
    job = client.train("diabetes", hidden=[], epochs=1).wait(timeout_s=60)
    with pytest.raises(InvalidInputError, match="the job predicts numbers") as caught:
        job.picture("confusion")
    assert caught.value.code == "not_applicable"
    reasons = job.explanations()
    assert reasons["importance"] is None
    assert "two numeric columns" in (reasons["boundary"] or "")


SHOWN = {
    "confusion": ["balanced accuracy", "true \\ predicted", "upper", "precision"],
    "importance": ["accuracy", "worse by", "x1", "█"],
    "calibration": ["expected calibration error", "the probability of lower", "0.90..1.00"],
    "histograms": ["hidden 1", "gradients", "output", "dead"],
    "templates": ["hidden units", "input", "unit 3"],
    "boundary": ["aaaa", "bbbb", "x1 →", "lower"],
    "gradient_check": ["W1", "b2", "tolerated"],
}


@pytest.mark.parametrize("name", SHOWN)
def test_every_explanation_is_a_table_in_the_terminal(mlpq: Mlpq, moons: Job, name: str) -> None:
    printed = mlpq("explain", moons.id, name)
    for text in SHOWN[name]:
        assert text in printed, printed
    assert mlpq.json("explain", moons.id, name)["object"] == name


def test_the_map_of_the_plane_is_the_net_s(mlpq: Mlpq, moons: Job) -> None:
    lines = mlpq("explain", moons.id, "boundary").splitlines()
    drawn = np.array([list(line) for line in lines if len(line) == 60 and set(line) <= {"a", "b"}])
    assert drawn.shape == (24, 60)
    assert (drawn[0] == "a").mean() > 0.9, "the upper moon is above"
    assert (drawn[-1] == "b").mean() > 0.9


def test_a_picture_is_written_and_options_are_passed_on(mlpq: Mlpq, moons: Job, tmp_path: Path) -> None:
    assert "calibration.png (" in mlpq("explain", moons.id, "calibration", "-o", "calibration.png", "--width", "500")
    assert width_of((tmp_path / "calibration.png").read_bytes()) == 500
    told = mlpq.json("explain", moons.id, "calibration", "-o", "again.png")
    assert told["bytes"] == (tmp_path / "again.png").stat().st_size
    assert len(mlpq.json("explain", moons.id, "calibration", "--set", "bins=4", "--rows", "train")["bins"]) == 4
    assert mlpq.json("explain", moons.id, "confusion", "--dataset", "moons", "--rows", "all")["n_rows"] == 400
    listed = json.loads(mlpq("explain", moons.id, "--json"))
    assert set(listed) == set(SHOWN)
    assert "has it" in mlpq("explain", moons.id)
    mlpq("explain", moons.id, "calibration", "--set", "bins", status=2)
    assert "bins=20" in mlpq.stderr
    (tmp_path / "file").touch()
    mlpq("explain", moons.id, "confusion", "-o", "file/x.png", status=2)
    assert "cannot be written" in mlpq.stderr
