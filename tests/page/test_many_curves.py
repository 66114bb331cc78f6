"""Sixty curves of ten thousand points: the service thins them out before they travel, and all of them are drawn."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Response, expect
from redis import Redis

from bench.curves import fill_curves
from bench.deployment import Deployment

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

CURVES, POINTS = 60, 10_000
MOST_POINTS = 1000

COLOURS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = new Set();
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) found.add(data.slice(at, at + 3).join());
  return found.size;
}"""


def test_long_curves_are_thinned_out_by_the_service_and_all_are_drawn(page: Page, running: Deployment) -> None:
    redis = Redis.from_url(f"unix://{running.data_dir}/valkey/valkey.sock")
    jobs = fill_curves(redis, CURVES, POINTS, kinds=2)
    redis.close()
    answers: list[Response] = []
    page.on("response", lambda one: answers.append(one) if "/metrics" in one.url else None)
    page.goto(f"{running.url}/#/compare/{','.join(jobs)}")
    sheet = page.locator("canvas.sheet").first
    expect(sheet).to_have_attribute("data-lines", str(CURVES), timeout=90_000)
    assert len(answers) == CURVES
    assert {answer.json()["n_points"] for answer in answers} == {MOST_POINTS}
    assert answers[0].json()["columns"]["step"][-1] == POINTS, "the last point is kept"
    assert sheet.evaluate(COLOURS) >= 8, "every colour of the lines"
    page.get_by_role("button", name="curve 1", exact=True).click()
    expect(sheet).to_have_attribute("data-lines", str(CURVES - 1))
