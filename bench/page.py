"""The page: its weight, its first paint, and 60 curves of 10 000 points while they are smoothed, zoomed and scrolled.

Needs chromium. Every load is of a fresh browser context, without a cache. Frames are what `requestAnimationFrame` sees
while something is moved in every frame; chromium draws them in software, without a GPU.
"""

from __future__ import annotations

import gzip
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from playwright.sync_api import Browser, Page, Response, sync_playwright
from redis import Redis

from bench.curves import fill_curves
from bench.deployment import Deployment, deployment
from bench.harness import quantile, write_result

CURVES, POINTS = 60, 10_000
LOADS = 9
FRAMES = 60
FIRST_PAINT = """() => new Promise((found) => {
  const tell = (list) => { for (const one of list.getEntriesByName("first-contentful-paint")) found(one.startTime); };
  new PerformanceObserver(tell).observe({ type: "paint", buffered: true });
})"""
TOUCHED = """async (frames) => {
  const touch = %s;
  const times = [];
  await new Promise(requestAnimationFrame);
  for (let i = 0; i < frames; i += 1) {
    const begun = performance.now();
    touch(i);
    await new Promise(requestAnimationFrame);
    await new Promise((done) => setTimeout(done)); // after the frame was drawn
    times.push(performance.now() - begun);
  }
  return times;
}"""
TOUCHES = {
    "smoothing": """(i) => {
      const slider = document.querySelector("input[type=range]");
      slider.value = 0.02 * (i % 40);
      slider.dispatchEvent(new Event("input"));
    }""",
    "zoom": """(i) => {
      const key = { key: i % 2 ? "-" : "+", bubbles: true, cancelable: true };
      document.querySelector(".charts svg").dispatchEvent(new KeyboardEvent("keydown", key));
    }""",
    "scroll": "(i) => scrollTo(0, 40 * (i % 30))",
    "idle": "() => {}",
}


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, headless."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("chromium is not installed")
    with sync_playwright() as engine:
        launched = engine.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


def fresh(chromium: Browser) -> Page:
    """A page without a cache."""
    return chromium.new_context(viewport={"width": 1180, "height": 800}).new_page()


def weight(chromium: Browser, url: str) -> dict[str, int]:
    """What the first look at the list of jobs fetches: the page's own files, as sent and as they are."""
    page = fresh(chromium)
    answers: list[Response] = []
    page.on("response", lambda one: answers.append(one))
    page.goto(url, wait_until="networkidle")
    own = [one for one in answers if "/v1/" not in one.url]
    sent = sum(one.request.sizes()["responseBodySize"] for one in own)
    bodies = [one.body() for one in own]
    page.context.close()
    return {
        "requests": len(own),
        "sent_bytes": sent,
        "bytes": sum(map(len, bodies)),
        "gzip_bytes": sum(len(gzip.compress(body, 9)) for body in bodies),
    }


def first_paint_ms(chromium: Browser, url: str, ready: str) -> dict[str, float]:
    """Median and worst first contentful paint of `LOADS` loads, and when `ready` was there."""
    paints, readies = [], []
    for _ in range(LOADS):
        page = fresh(chromium)
        page.goto(url)
        page.locator(ready).first.wait_for(state="attached")
        readies.append(page.evaluate("performance.now()"))
        paints.append(page.evaluate(FIRST_PAINT))
        page.context.close()
    return {
        "median_ms": round(statistics.median(paints)),
        "worst_ms": round(max(paints)),
        "content_median_ms": round(statistics.median(readies)),
    }


def settle(redis: Redis) -> None:
    """Wait until the store has written down what it was filled with."""
    while redis.info("persistence")["aof_rewrite_in_progress"]:
        time.sleep(0.1)


def many_curves(chromium: Browser, running: Deployment) -> dict[str, Any]:
    """60 jobs compared: how long until all curves are there, and the time of a frame while something is moved."""
    redis = Redis.from_url(f"unix://{running.data_dir}/valkey/valkey.sock")
    jobs = fill_curves(redis, CURVES, POINTS)
    settle(redis)
    redis.close()
    page = fresh(chromium)
    page.goto(f"{running.url}/#/compare/{','.join(jobs)}")
    page.locator(f"canvas.sheet[data-lines='{CURVES}']").first.wait_for(state="attached", timeout=180_000)
    loaded = page.evaluate("performance.now()")
    frames = {}
    for name, touch in TOUCHES.items():
        times = page.evaluate(TOUCHED % touch, FRAMES)
        frames[name] = {"median_ms": round(quantile(times, 0.5), 1), "p95_ms": round(quantile(times, 0.95), 1)}
    page.context.close()
    return {
        "curves": CURVES,
        "points": POINTS,
        "loaded_ms": round(loaded),
        "frames": frames,
    }


def main() -> None:
    with deployment() as running, browser() as chromium, httpx2.Client(base_url=running.url, timeout=60) as client:
        job = client.post("/v1/jobs", json={"dataset": "digits", "training": {"epochs": 3}}).raise_for_status().json()
        with client.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
            stream.read()  # until its end
        figures = {
            "weight": weight(chromium, f"{running.url}/"),
            "first_paint": {
                "jobs": first_paint_ms(chromium, f"{running.url}/", "tbody tr"),
                "new": first_paint_ms(chromium, f"{running.url}/#/new", "form"),
                "job": first_paint_ms(chromium, f"{running.url}/#/jobs/{job['id']}", "path.line"),
            },
            "many_curves": many_curves(chromium, running),
        }
    claim = "weight and first paint of the page; time of a frame with 60 curves of 10 000 points"
    write_result("page", claim, "python -m bench page", figures)


if __name__ == "__main__":
    main()
