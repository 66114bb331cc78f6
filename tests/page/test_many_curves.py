"""Sixty curves of ten thousand points: thinned out by the service, drawn with their spikes, and closer by a zoom."""

from __future__ import annotations

import httpx2
import pytest
from playwright.sync_api import Page, Response, expect
from redis import Redis

from bench.curves import fill_curves
from bench.deployment import Deployment

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

CURVES, POINTS = 60, 10_000
MOST_POINTS = 500
SPIKE, HEIGHT = 3333, 9.0

COLOURS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = new Set();
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) found.add(data.slice(at, at + 3).join());
  return found.size;
}"""


TOPMOST = """canvas => {
  const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 3; at < data.length; at += 4) if (data[at]) return ((at >> 2) % width) / width;
}"""
"""Where across the chart its topmost pixel is."""


def test_long_curves_are_thinned_out_by_the_service_and_all_are_drawn(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    redis = Redis.from_url(f"unix://{running.data_dir}/valkey/valkey.sock")
    jobs = fill_curves(redis, CURVES, POINTS, kinds=2, spike=(SPIKE, HEIGHT))
    redis.close()
    answers: list[Response] = []
    page.on("response", lambda one: answers.append(one) if "/v1/metrics" in one.url else None)
    page.goto(f"{running.url}/#/compare/{','.join(jobs)}")
    sheet = page.locator("canvas.sheet").first
    expect(sheet).to_have_attribute("data-lines", str(CURVES), timeout=90_000)
    told = [one for answer in answers for one in answer.json()["data"]]
    assert {one["job"] for one in told} == set(jobs)
    assert len(answers) <= CURVES / 5, "many jobs share an answer"
    curves = [one["curves"]["val_loss"] for one in told]
    assert {one["n_points"] for one in told} == {POINTS}
    assert max(len(one["steps"]) for one in curves) <= MOST_POINTS
    assert {one["steps"][-1] for one in curves} == {POINTS}, "the last point is kept"
    assert sheet.evaluate(COLOURS) >= 8, "every colour of the lines"
    assert sheet.evaluate(TOPMOST) == pytest.approx((54 + 496 * SPIKE / POINTS) / 560, abs=0.01), "the spike is seen"
    first = client.get(f"/v1/jobs/{jobs[0]}").raise_for_status().json()["name"]
    page.get_by_role("button", name=first, exact=True).click()
    expect(sheet).to_have_attribute("data-lines", str(CURVES - 1))
    page.locator(".charts svg").first.focus()
    with page.expect_response(lambda one: "until_step=" in one.url) as closer:
        page.keyboard.press("+")
    steps = closer.value.json()["data"][0]["curves"]["val_loss"]["steps"]
    assert 0.9 * MOST_POINTS <= len(steps) <= MOST_POINTS
    assert steps[-1] - steps[0] == pytest.approx(0.75 * POINTS, rel=0.01), "the middle half, and a margin"
