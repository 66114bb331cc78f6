"""The page in a real browser against a real deployment: submit, watch, pause, resume, download, lose and find the API.

Run with `make test-page` (needs Debian's chromium, or any chromium on PATH).
"""

from __future__ import annotations

import io
import os
import re
import signal

import httpx2
import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from bench.deployment import Deployment, command_line, descendants
from tests.page.conftest import LONG, expect_focused, points, visit
from tests.processes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def test_features_chosen_on_the_page_are_what_the_job_asks_for(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/new")
    page.get_by_text("Features of the images").click()
    page.get_by_role("checkbox", name="raw").check()
    page.get_by_role("checkbox", name="hog").check()
    page.locator("[name='features.hog.bins']").fill("6")
    page.locator("[name=epochs]").fill("2")
    page.get_by_role("button", name="Train").click()
    expect(page).to_have_url(re.compile(r"#/jobs/job_"))
    job = httpx2.get(f"{running.url}/v1/jobs/{page.url.rpartition('/')[2]}").json()
    assert job["spec"]["features"] == ["raw", {"name": "hog", "cell": 8, "bins": 6}]


def test_a_job_submitted_on_the_page_is_watched_and_its_weights_are_saved(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/new")
    page.locator("[name=hidden]").fill("32 16")
    page.locator("[name=epochs]").fill("12")
    page.locator("[name=name]").fill("from the page")
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_role("heading", name="from the page")).to_be_visible()
    expect(page.locator(".status.succeeded")).to_be_visible()
    expect(page.get_by_text("32 – 16")).to_be_visible()
    titles = page.locator(".charts figcaption strong")
    expect(titles).to_have_text(["Loss", "Accuracy", "Learning rate", "Throughput"])
    with page.expect_download() as started:
        page.get_by_role("button", name="npz").click()
    with np.load(io.BytesIO(started.value.path().read_bytes()), allow_pickle=False) as arrays:
        assert arrays["W1"].shape == (64, 32)


def idx(kind: int, *sizes: int, cells: bytes) -> bytes:
    return bytes([0, 0, kind, len(sizes)]) + b"".join(size.to_bytes(4, "big") for size in sizes) + cells


def test_an_idx_pair_is_uploaded_on_the_page_and_trained(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 4, 4), np.uint8)
    labels = np.arange(60, dtype=np.uint8) % 3
    pair = [
        ("images-idx3-ubyte", idx(8, 60, 4, 4, cells=pixels.tobytes())),
        ("labels-idx1-ubyte", idx(8, 60, cells=labels.tobytes())),
    ]
    page.goto(f"{running.url}/#/new")
    files = [{"name": name, "mimeType": "application/octet-stream", "buffer": content} for name, content in pair]
    page.locator("[name=file]").set_input_files(files[:1])
    expect(page.get_by_role("alert")).to_be_visible()
    page.locator("[name=file]").set_input_files(files)
    expect(page.get_by_text("60 rows · 4 × 4 pixels")).to_be_visible()
    chosen = page.locator("[name=dataset]").input_value()
    assert client.get(f"/v1/datasets/{chosen}").json()["format"] == "idx"
    page.locator("[name=epochs]").fill("2")
    page.get_by_role("button", name="Train").click()
    expect(page.locator(".status.succeeded")).to_be_visible()
    with page.expect_download() as started:
        page.get_by_role("button", name="model card").click()
    assert started.value.path().read_text().startswith("# Model card: ")
    named = page.get_by_text("images-idx3-ubyte", exact=True).first
    expect(named).to_have_attribute("title", chosen)
    visit(page, f"{running.url}/#/")
    expect(named).to_have_attribute("title", chosen)


CSV = "kind,born,size,zip\n" + "".join(
    f"{'ab'[n % 2]},2024-02-{n % 29 + 1:02d},{n % 7 if n % 10 else ''},{8000 + n % 3}\n" for n in range(40)
)

DROP = """(form, text) => {
  const data = new DataTransfer();
  data.items.add(new File([text], "t.csv", { type: "text/csv" }));
  const about = { bubbles: true, cancelable: true, dataTransfer: data };
  const event = (name) => form.dispatchEvent(new DragEvent(name, about));
  event("dragover");
  const shown = form.classList.contains("dropping");
  event("drop");
  return shown;
}"""


def test_a_dropped_file_is_reported_on_and_read_again_as_a_person_says(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    page.goto(f"{running.url}/#/new")
    assert page.locator("form").evaluate(DROP, CSV)
    about = page.get_by_role("region", name="About t")
    expect(about).to_contain_text("t: 40 rows · 3 features · zip: 3 classes")
    row = about.get_by_role("row").filter(has_text="size")
    expect(row.locator("td")).to_have_text([re.compile("numeric"), "4", "7", "0 … 6"])
    expect(about.get_by_role("row").filter(has_text="born")).to_contain_text("2024-02-01 … 2024-02-29")
    about.get_by_label("Target", exact=True).select_option("kind")
    about.get_by_label("kind of size").select_option("categorical")
    about.get_by_role("button", name="Read again").click()
    expect(about).to_contain_text("kind: 2 classes")
    dataset = client.get(f"/v1/datasets/{page.locator('[name=dataset]').input_value()}").json()
    assert dataset["target"] == "kind"
    assert {column["name"]: column["kind"] for column in dataset["columns"]} == {
        "born": "datetime",
        "size": "categorical",
        "zip": "numeric",
    }
    menu = page.locator("[name=dataset] option")
    for anew in (False, True):
        if anew:
            page.reload()
        for target in ("kind", "zip"):
            title = rf"^t \(40 rows · {target} · \d{{4}}-\d\d-\d\d \d\d:\d\d · …\w{{4}}\)$"
            expect(menu.filter(has_text=re.compile(title))).to_have_count(1)
        expect(menu.filter(has_text="iris")).to_have_text("iris (150 rows)")


def test_the_net_is_drawn_as_its_widths_are_written(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/new")
    net = page.locator("svg.net")
    expect(net).to_have_attribute("aria-label", re.compile("^The net: 64 inputs, then 128 relu .*; 9,610 parameters"))
    page.locator("[name=hidden]").fill("5 3")
    page.locator("[name=activation]").select_option("tanh")
    layers = "64 inputs, then 5 tanh (325 parameters), then 3 tanh (18 parameters), then 10 classes (40 parameters)"
    expect(net).to_have_attribute("aria-label", f"The net: {layers}; 383 parameters in all")
    assert net.locator("circle").count() == 8 + 5 + 3 + 8
    page.locator("[name=hidden]").fill(" ".join(["4"] * 30))
    expect(net.locator("text", has_text="+ 25")).to_be_visible()
    page.locator("[name=hidden]").fill("4 x")
    expect(net).to_have_count(0)


def test_every_setting_of_the_schema_has_a_control_with_its_help(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    page.goto(f"{running.url}/#/new")
    expect(page.locator("svg.net")).to_be_visible()
    schema = client.get("/v1/capabilities").json()["spec_schema"]["$defs"]
    for model in ("NetSpec", "TrainingOptions", "EarlyStoppingSpec", "ColumnSplit"):
        prefix = {"EarlyStoppingSpec": "early_stopping.", "ColumnSplit": "split."}.get(model, "")
        for name in schema[model]["properties"]:
            label = page.locator(f"label:has([name='{prefix}{name}'])")
            expect(label).to_have_count(1)
            assert len(label.locator("small").text_content() or "") > 5, name


def test_older_jobs_are_offered_only_where_there_are_some(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    client.post("/v1/jobs", json={"dataset": "iris", "training": {"epochs": 1}}).raise_for_status()
    page.goto(f"{running.url}/")
    expect(page.locator("tbody tr").first).to_be_visible()
    assert not client.get("/v1/jobs?limit=50").json()["has_more"]
    expect(page.get_by_text("Older jobs")).to_be_hidden()


def test_a_wrong_value_is_explained_beside_the_form(page: Page, running: Deployment) -> None:
    page.goto(f"{running.url}/#/new")
    page.locator("[name=hidden]").fill("32 0")
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_role("alert")).to_contain_text("/net/hidden/1")


def test_a_job_is_checked_before_it_is_submitted(page: Page, running: Deployment, client: httpx2.Client) -> None:
    before = client.get("/v1/jobs?limit=1").json()["first_id"]
    page.goto(f"{running.url}/#/new")
    page.locator("[name=hidden]").fill("32")
    page.get_by_role("button", name="Check first").click()
    would = page.get_by_role("region", name="What it would be")
    expect(would).to_contain_text("2,410")  # 64 · 32 + 32 + 32 · 10 + 10
    expect(would).to_contain_text("2.303")  # ln 10
    expect(would).to_contain_text("right")
    page.locator("[name=hidden]").fill("0")
    page.get_by_role("button", name="Check first").click()
    expect(page.get_by_role("alert")).to_contain_text("/net/hidden/0")
    expect(would).to_be_hidden()
    assert client.get("/v1/jobs?limit=1").json()["first_id"] == before


def test_pause_and_resume_from_the_page(page: Page, running: Deployment, client: httpx2.Client) -> None:
    job = client.post("/v1/jobs", json=LONG).raise_for_status().json()
    page.goto(f"{running.url}/#/jobs/{job['id']}")
    expect(page.locator("figure .line").first).to_be_visible()
    where = page.get_by_role("button", name="Pause").bounding_box()
    assert where is not None
    middle = (where["x"] + where["width"] / 2, where["y"] + where["height"] / 2)
    page.mouse.click(*middle)
    expect(page.locator(".status.paused")).to_be_visible()
    expect(page.locator(".head")).not_to_contain_text("(paused)")
    expect(page.get_by_role("link", name="Fork")).to_be_visible()
    page.mouse.click(*middle)  # the same place means the opposite, whatever has appeared beside it
    expect(page.locator(".status.running")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".status.cancelled")).to_be_visible()
    assert client.get(f"/v1/jobs/{job['id']}").json()["attempt"] == 1
    expect(page.get_by_role("heading", name="Weights of its last checkpoint")).to_be_visible()
    with page.expect_download() as started:
        page.get_by_role("button", name="npz").click()
    assert started.value.suggested_filename.startswith(f"{job['id']}-step-")


def test_a_job_that_finds_the_store_busy_is_sent_again_and_made_once(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    keys: list[str | None] = []

    def busy(route: Route) -> None:
        keys.append(route.request.header_value("Idempotency-Key"))
        if len(keys) > 1:
            route.continue_()
            return
        made = route.fetch()  # what was asked is done, and the answer comes too late
        assert made.status == 202
        route.fulfill(status=503, content_type="application/problem+json", body='{"detail": "busy"}')

    page.route("**/v1/jobs", lambda route: busy(route) if route.request.method == "POST" else route.continue_())
    page.goto(f"{running.url}/#/new")
    page.locator("[name=name]").fill("sent again")
    page.locator("[name=epochs]").fill("1")
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_role("heading", name="sent again")).to_be_visible()
    assert len(keys) == 2
    assert keys[0] == keys[1] is not None
    assert [job["name"] for job in client.get("/v1/jobs").json()["data"]].count("sent again") == 1


def test_the_epoch_shown_is_that_of_the_newest_point(page: Page, running: Deployment, client: httpx2.Client) -> None:
    body = LONG | {"training": LONG["training"] | {"checkpoint_every_s": 600}}
    job = client.post("/v1/jobs", json=body).raise_for_status().json()
    page.goto(f"{running.url}/#/jobs/{job['id']}")
    expect(page.locator("figure .line").first).to_be_visible()
    shown = page.locator("progress")
    first = int(shown.get_attribute("value") or 0)
    page.wait_for_function("first => document.querySelector('progress').value > first + 5", arg=first)
    expect(page.locator(".facts")).to_contain_text("Parameters")  # before any checkpoint
    client.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()


def test_a_button_keeps_its_focus_and_its_click_while_the_curves_grow(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    job = client.post("/v1/jobs", json=LONG | {"name": "grows"}).raise_for_status().json()
    page.goto(f"{running.url}/#/jobs/{job['id']}")
    expect(page.locator("figure .line").first).to_be_visible()
    pause = page.get_by_role("button", name="Pause")
    drawn = page.locator("figure .line").first.get_attribute("d")
    pause.hover()
    page.mouse.down()
    page.wait_for_function("drawn => document.querySelector('figure .line').getAttribute('d') !== drawn", arg=drawn)
    expect_focused(pause)
    page.mouse.up()
    expect(page.locator(".status.paused")).to_be_visible()
    client.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()


def test_a_page_that_was_offline_when_its_job_ended_shows_the_end(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    job = client.post("/v1/jobs", json=LONG | {"name": "cut"}).raise_for_status().json()
    page.goto(f"{running.url}/#/jobs/{job['id']}")
    expect(page.locator("figure .line").first).to_be_visible()
    page.context.set_offline(True)
    client.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
    wait_until(lambda: client.get(f"/v1/jobs/{job['id']}").json()["status"] == "cancelled", what="the end")
    page.wait_for_timeout(500)  # what arrives of it on the open stream is handled while nothing can be asked
    page.context.set_offline(False)
    expect(page.locator(".status.cancelled")).to_be_visible()


def test_a_job_that_was_deleted_while_its_stream_was_cut_is_no_lost_connection(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    job = client.post("/v1/jobs", json=LONG | {"name": "deleted"}).raise_for_status().json()
    page.route("**/events", lambda route: route.abort())
    page.goto(f"{running.url}/#/jobs/{job['id']}")
    expect(page.locator("#connection")).to_contain_text("connection lost")
    client.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
    wait_until(lambda: client.delete(f"/v1/jobs/{job['id']}").status_code == 204, what="the deletion")
    page.unroute("**/events")
    expect(page.get_by_role("alert")).to_have_text("There is no such resource")
    expect(page.locator("#connection")).to_be_empty()


def test_the_curve_on_the_page_survives_a_killed_service_without_gap_or_repeat(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    # wide, so that it runs for as long as is needed; fewer epochs than the points that a chart draws
    body = {"dataset": "digits", "name": "cut", "net": {"hidden": [512, 512]}, "training": {"epochs": 900}}
    job = client.post("/v1/jobs", json=body).raise_for_status().json()
    page.goto(f"{running.url}/#/jobs/{job['id']}")
    expect(page.locator("figure .line").first).to_be_visible()
    [service] = [pid for pid in descendants(running.pid) if b"\0service\0" in command_line(pid)]
    os.kill(service, signal.SIGKILL)
    expect(page.locator("#connection")).to_contain_text("connection lost")
    expect(page.locator("#connection")).to_be_empty(timeout=60_000)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".status.cancelled")).to_be_visible()
    curve = client.get(f"/v1/jobs/{job['id']}/metrics").json()["columns"]["step"]
    expect(page.locator("figure").first.locator(".line").first).to_have_attribute("d", points(len(curve)))


def test_the_list_shows_jobs_live_and_the_queue_shows_its_worker(
    page: Page, running: Deployment, client: httpx2.Client
) -> None:
    job = client.post("/v1/jobs", json=LONG | {"name": "in the list"}).raise_for_status().json()
    page.goto(f"{running.url}/#/")
    row = page.get_by_role("row").filter(has_text="in the list")
    expect(row.locator(".status.running")).to_be_visible()
    page.goto(f"{running.url}/#/queue")
    expect(page.get_by_role("cell", name="cpu").first).to_be_visible()
    client.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()


HISTOGRAMS = "Weights, activations, gradients"
LEARNED = {
    "moons": [
        *("Confusion matrix", "First-layer templates", "Calibration"),
        *("Decision boundary", "Importance of columns", HISTOGRAMS),
    ],
    "diabetes": ["First-layer templates", HISTOGRAMS, "Importance of columns"],
}
LAST = {"moons": "histograms", "diabetes": "importance"}


@pytest.mark.parametrize("dataset", LEARNED)
def test_a_finished_job_shows_what_it_has_learned_in_pictures_that_load_when_they_are_seen(
    page: Page, running: Deployment, client: httpx2.Client, dataset: str
) -> None:
    body = {"dataset": dataset, "name": f"<b>{dataset}", "training": {"epochs": 5}}
    job = client.post("/v1/jobs", json=body).raise_for_status().json()
    page.set_viewport_size({"width": 700, "height": 500})
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url.partition("/explanations/")[2].partition("?")[0]))
    page.goto(f"{running.url}/#/jobs/{job['id']}")
    expect(page.get_by_role("heading", name="What it has learned")).to_be_attached()
    titles = LEARNED[dataset]
    expect(page.locator(".pictures figcaption strong")).to_have_text(titles)
    page.wait_for_timeout(300)
    assert LAST[dataset] not in asked, "the last one is far below"
    for title in titles:
        figure = page.locator(".pictures figure").filter(has=page.get_by_text(title, exact=True))
        figure.scroll_into_view_if_needed()
        shown = figure.get_by_role("img", name=f"{title} of <b>{dataset}. ")
        expect(shown).to_have_js_property("naturalWidth", 1200)
        expect(shown).to_be_visible()
    assert LAST[dataset] in asked
    with page.expect_download() as started:
        page.get_by_role("button", name="Importance of columns: save the numbers as JSON").click()
    assert started.value.suggested_filename == f"{job['id']}-importance.json"
    with page.expect_download() as started:
        page.get_by_role("button", name="Importance of columns: save the picture").click()
    assert started.value.path().read_bytes().startswith(b"\x89PNG")
