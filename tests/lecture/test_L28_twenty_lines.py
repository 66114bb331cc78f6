"""Row L28: the 20-line program, reproduced step by step by what trains jobs.

`RUNNERS` holds every way to run it. A runner takes (x, y, first weights, steps) and gives the loss of every
step before its update, and the last weights. Through a job over HTTP it runs in tests/service/test_service_training.py.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from nets.lecture.networks import PROGRAM, twenty_lines
from nets.lecture.networks import program_numbers as first_numbers
from nets.member import Member
from nets.table import Table
from nets.threads import blas_threads
from tests.nets.support import bare_data, run, spec_for

N, D, H, C = PROGRAM
STEPS = 2000
SPEC = {
    "net": {"hidden": [H], "activation": "sigmoid", "bias": False},
    "loss": {"name": "squared_error", "reduction": "sum"},
    "optimizer": {"name": "sgd", "learning_rate": 1e-4, "momentum": 0.0, "l2": 0.0},
    "schedule": "constant",
    "training": {
        "epochs": STEPS,
        "batch_size": N,
        "shuffle": False,
        "validation_fraction": 0.0,
        "precision": "float64",
    },
}
Run = tuple[list[float], dict[str, np.ndarray]]


def through_the_trainer(x: np.ndarray, y: np.ndarray, start: dict[str, np.ndarray], steps: int) -> Run:
    """The same as a spec: `fit` with the lecture's data and first weights."""
    assert steps == SPEC["training"]["epochs"]
    spec = spec_for(Table.from_arrays(x, y[:, 0], "regression"), **SPEC)
    member = Member(spec, bare_data(x, y, C, "regression"))
    assert {name: view.shape for name, view in member.layout.named(np.zeros(member.layout.count)).items()} == {
        name: array.shape for name, array in start.items()
    }
    state = {"parameters": member.layout.flat(start, np.dtype(np.float64))}
    recorder = run(Member(spec, member.data, state), threads=1)
    points = recorder.points[0]
    assert [point["step"] for point in points] == list(range(1, steps + 1))
    return [point["train_loss"] for point in points], recorder.outcomes[0].parameters


RUNNERS = {"trainer": through_the_trainer}


@pytest.fixture(scope="module")
def program() -> Run:
    with blas_threads(1):
        return twenty_lines(*first_numbers(), STEPS)


def test_L28_the_program_goes_from_24635_9_to_4_3485(program):
    losses, _ = program
    assert [round(losses[0], 1), round(losses[-1], 4)] == [24635.9, 4.3485]
    assert all(after < before for before, after in pairwise(losses))


@pytest.mark.parametrize("runner", RUNNERS)
def test_L28_a_run_reproduces_the_program_step_by_step(runner, program):
    losses, weights = program
    found, last = RUNNERS[runner](*first_numbers(), STEPS)
    assert len(found) == STEPS
    np.testing.assert_allclose(found[0], losses[0], rtol=1e-12)
    np.testing.assert_allclose(found, losses, rtol=1e-7)  # rounding in another order, carried through 2000 steps
    assert [round(found[0], 1), round(found[-1], 4)] == [24635.9, 4.3485]
    assert all(after < before for before, after in pairwise(found)), "monotone"
    for name, array in last.items():
        np.testing.assert_allclose(array, weights[name], rtol=1e-6, atol=1e-8, err_msg=name)
