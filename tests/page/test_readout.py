"""Charts say what stands at a place: under a pointer, by keys, under a finger; the curves stay as they are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, FloatRect, Locator, Page, expect
from redis import Redis

from bench.curves import fill_curves
from bench.deployment import Deployment

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

CURVES, POINTS = 14, 200
MOST_TOLD = 8
LEFT, RIGHT, WIDTH = 54, 550, 560
"""Of the x axis, in the chart's own units."""

COUNT_DRAWINGS = """() => {
  const put = CanvasRenderingContext2D.prototype.putImageData;
  window.drawings = 0;
  CanvasRenderingContext2D.prototype.putImageData = function (...all) {
    window.drawings += 1;
    return put.apply(this, all);
  };
}"""

TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""After which a chart that has come into view is drawn."""


@pytest.fixture(scope="module")
def jobs(running: Deployment) -> list[str]:
    redis = Redis.from_url(f"unix://{running.data_dir}/valkey/valkey.sock")
    found = fill_curves(redis, CURVES, POINTS, kinds=CURVES)
    redis.close()
    return found


@pytest.fixture
def phone(browser: Browser, running: Deployment) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.00299, 0.002995, 0.003], ["0.00299", "0.002995", "0.003"]),
        ([0.00049980, 0.00049984], ["4.9980e-4", "4.9984e-4"]),
        ([12_000, 14_000], ["12K", "14K"]),
        ([0.5, 1], ["0.5", "1"]),
        ([1, 1], ["1", "1"]),
    ],
)
def test_marks_of_an_axis_are_short_and_told_apart(
    page: Page, running: Deployment, values: list[float], texts: list[str]
) -> None:
    page.goto(running.url)
    told = page.evaluate("async (values) => (await import('/static/numbers.js')).marked(values)", values)
    assert told == texts


def test_whole_numbers_are_told_to_their_last_digit(page: Page, running: Deployment) -> None:
    page.goto(running.url)
    exact = "async (value) => (await import('/static/numbers.js')).exact(value, 4)"
    told = [page.evaluate(exact, value) for value in (1_234_567, 12_345, 0.123456)]
    assert told == ["1,234,567", "12,345", "0.1235"]


def compared(page: Page, running: Deployment, jobs: list[str]) -> tuple[Locator, FloatRect]:
    """The figure of the validation loss of all jobs, and where its chart is."""
    page.goto(f"{running.url}/#/compare/{','.join(jobs)}")
    figure = page.locator(".charts figure").first
    expect(figure.locator("canvas.sheet")).to_have_attribute("data-lines", str(CURVES))
    chart = figure.locator("svg").first
    chart.scroll_into_view_if_needed()
    page.evaluate(TWO_FRAMES)
    box = chart.bounding_box()
    assert box is not None
    return figure, box


def across(box: FloatRect, step: int) -> float:
    """Where a step is on the screen."""
    return box["x"] + box["width"] * (LEFT + (RIGHT - LEFT) * (step - 1) / (POINTS - 1)) / WIDTH


def losses_at(client: httpx2.Client, jobs: list[str], step: int) -> dict[str, float]:
    query = f"jobs={','.join(jobs)}&names=val_loss&after_step={step - 1}&until_step={step}"
    data: list[dict[str, Any]] = client.get(f"/v1/metrics?{query}").raise_for_status().json()["data"]
    names = {job["id"]: job["name"] for job in client.get(f"/v1/jobs?ids={','.join(jobs)}").json()["data"]}
    return {names[one["job"]]: one["curves"]["val_loss"]["values"][0] for one in data}


def told(figure: Locator) -> dict[str, str]:
    rows = figure.locator(".readout .key")
    return dict(zip(rows.locator("span").all_text_contents(), rows.locator("b").all_text_contents(), strict=True))


def test_a_pointer_reads_the_values_at_its_step_nearest_first_and_redraws_no_curve(
    page: Page, running: Deployment, client: httpx2.Client, jobs: list[str]
) -> None:
    figure, box = compared(page, running, jobs)
    page.evaluate(COUNT_DRAWINGS)
    for step in (40, 80, 120):
        page.mouse.move(across(box, step), box["y"] + 0.9 * box["height"], steps=3)
        expect(figure.locator(".readout strong")).to_have_text(f"step {step}")
        known = losses_at(client, jobs, step)
        lowest = sorted(known, key=lambda name: known[name])[:MOST_TOLD]  # the pointer is below all curves
        assert told(figure) == {name: f"{known[name]:.4g}" for name in lowest}
        assert list(told(figure)) == lowest
    expect(figure.locator(".readout")).to_contain_text(f"and {CURVES - MOST_TOLD} more")
    assert page.evaluate("window.drawings") == 0
    page.mouse.move(5, 5)
    expect(figure.locator(".reading")).to_be_hidden()


def test_keys_read_a_chart_and_a_screen_reader_is_told(
    page: Page, running: Deployment, client: httpx2.Client, jobs: list[str]
) -> None:
    figure, _ = compared(page, running, jobs)
    chart = figure.get_by_role("slider", name="Validation loss by step: 14 curves")
    chart.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(figure.locator(".readout strong")).to_have_text(f"step {POINTS - 1}")
    known = losses_at(client, jobs, POINTS - 1)
    first = next(iter(told(figure)))
    expect(chart).to_have_attribute("aria-valuenow", str(POINTS - 1))
    assert (chart.get_attribute("aria-valuetext") or "").startswith(f"step 199: {first} {known[first]:.4g}, ")
    for _ in jobs:
        page.keyboard.press("ArrowDown")
    assert next(iter(told(figure))) == min(known, key=lambda name: known[name])
    page.keyboard.press("PageDown")
    expect(chart).to_have_attribute("aria-valuenow", str(POINTS - 21))
    page.keyboard.press("Home")
    expect(chart).to_have_attribute("aria-valuenow", "1")
    ticks = figure.locator("text[text-anchor=middle]")
    whole = ticks.all_text_contents()
    page.keyboard.press("+")
    expect(ticks).not_to_have_text(whole)
    page.keyboard.press("End")
    seen = int(chart.get_attribute("aria-valuenow") or "")
    assert seen == pytest.approx(0.75 * POINTS, abs=2), "the end of what is seen"
    part = ticks.all_text_contents()
    page.keyboard.press("ArrowRight")
    expect(chart).to_have_attribute("aria-valuenow", str(seen + 1))
    assert ticks.all_text_contents() != part, "the chart follows"
    page.keyboard.press("Tab")
    expect(figure.locator(".reading")).to_be_hidden()


def test_a_finger_reads_a_chart_and_two_mark_a_part(phone: Page, running: Deployment, jobs: list[str]) -> None:
    figure, box = compared(phone, running, jobs)
    phone.touchscreen.tap(across(box, 60), box["y"] + 20)
    expect(figure.locator(".readout strong")).to_contain_text("step ")
    assert int((figure.locator(".readout strong").text_content() or "")[5:]) == pytest.approx(60, abs=1)
    phone.touchscreen.tap(10, box["y"] - 100)
    expect(figure.locator(".reading")).to_be_hidden()
    ticks = figure.locator("text[text-anchor=middle]")
    whole = ticks.all_text_contents()
    fingers = phone.context.new_cdp_session(phone)
    places = [{"x": across(box, step), "y": box["y"] + 30, "id": n} for n, step in enumerate((50, 150))]
    for count in (1, 2):
        fingers.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": places[:count]})
    expect(figure.locator(".band")).to_have_count(1)
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(phone.get_by_role("button", name="whole curve")).to_be_visible()
    expect(figure.locator(".band")).to_have_count(0)
    expect(ticks).not_to_have_text(whole)
    chart = figure.locator("svg").first
    assert float(chart.get_attribute("aria-valuemin") or "") == pytest.approx(50, abs=1)
    assert float(chart.get_attribute("aria-valuemax") or "") == pytest.approx(150, abs=1)
