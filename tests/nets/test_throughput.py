"""How fast a model trains is what its points say, also those of a run that is over in a moment."""

from __future__ import annotations

import statistics

from nets.throughput import LEAST_S, Throughput
from tests.nets.support import blobs, member_for, run


def test_a_figure_is_taken_since_the_point_before_with_all_that_took_time_there():
    said = Throughput(10.0, 300)
    assert said.at(12.0, 500) == 100.0
    assert said.at(12.0, 500) == 100.0, "the other points of the chunk"
    assert said.at(16.0, 600) == 25.0


def test_points_that_come_fast_have_a_figure_over_a_longer_time():
    said = Throughput(0.0, 0)
    assert said.at(LEAST_S / 2, 10) == 10 / (LEAST_S / 2)
    assert said.at(2 * LEAST_S, 40) == 40 / (2 * LEAST_S)
    short = said.at(2 * LEAST_S + 0.001, 41)
    assert short == 41 / (2 * LEAST_S + 0.001), "since the start: the last chunk alone is too short to say anything"
    assert said.at(4 * LEAST_S, 100) == (100 - 40) / (2 * LEAST_S)


def test_a_runs_last_point_has_the_throughput_of_those_before():
    member = member_for(blobs(200, 4), net={"hidden": [8]}, training={"epochs": 1500, "batch_size": 32})
    figures = [point["samples_per_s"] for point in run(member).points[0]]
    assert len(figures) == 1500
    assert figures[-1] > statistics.median(figures) / 4
