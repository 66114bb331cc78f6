"""Handles in a notebook: cards in HTML that no name can break, and curves that grow while a job runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mlpq import Client
from mlpq.notebook.cards import job_card, sweep_card, upload_card
from mlpq.notebook.svg import MARGIN_RIGHT, MOST_POINTS, curves
from mlpq.plot import Series
from mlpq.records import dataset_from, job_from
from tests.mlpq.command import Terminal

RUDE = "<script>alert('x')</script>\"><b>&amp;"


class Tags(HTMLParser):
    """The tags of a document in order, and its text; every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_sweep_is_a_card_with_its_best_jobs() -> None:
    rows = [{"job": f"job_{n}", "net.hidden": [8], "val_loss": n / 3, "status": RUDE} for n in range(12)]
    card = Tags(sweep_card(RUDE, "running", 3, 12, rows))
    assert RUDE in card.text
    assert "script" not in card.tags
    assert "3 of 12 jobs" in card.text
    assert card.tags.count("tr") == 11
    assert "0.3333" in card.text


def test_a_card_shows_a_job_with_its_curve_and_figures(client: Client) -> None:
    job = client.train("iris", hidden=[8], epochs=12, name="first").wait(timeout_s=60)
    shown = Tags(job._repr_html_())
    assert "svg" in shown.tags
    for text in ("succeeded", "first", job.id, "on iris", "epoch 12 of 12", "train loss", "validation loss"):
        assert text in shown.text
    assert f"{job.final_metrics['val_loss']:.5g}" in shown.text
    dataset = Tags(client.dataset("iris")._repr_html_())
    assert "150 rows · 4 features · 3 classes" in dataset.text
    assert "petal width (cm)" in dataset.text


def test_a_card_is_as_the_job_is_now_and_as_it_was_last_where_the_service_is_away(client: Client) -> None:
    job = client.train("iris", epochs=4)
    client.job(job.id).wait(timeout_s=60)
    assert "succeeded" in job._repr_html_()
    with Client("http://127.0.0.1:9", patience_s=30) as nobody:
        away = type(job)(nobody._api, job.record)
        assert "succeeded" in away._repr_html_()


def test_nothing_that_people_write_becomes_markup() -> None:
    record = {"id": RUDE, "name": RUDE, "status": RUDE, "status_reason": RUDE, "dataset": RUDE, "metrics": {RUDE: 1.0}}
    problem = {"code": RUDE, "message": RUDE}
    job = job_from({**record, "error": problem, "progress": {"epoch": 1, "epochs": 2}})
    columns = [{"name": RUDE, "kind": RUDE, "categories": [RUDE]}]
    dataset = dataset_from({**record, "task": RUDE, "columns": columns, "warnings": [RUDE]})
    for html in (job_card(job, {"epoch": [1], "train_loss": [1.0]}), dataset._repr_html_(), upload_card(RUDE, 1, 2)):
        shown = Tags(html)
        assert "script" not in shown.tags
        assert shown.tags.count("b") <= 1  # the title
        assert RUDE in shown.text


def test_a_curve_is_an_image_that_stays_in_its_frame_whatever_its_length() -> None:
    epochs = [float(epoch) for epoch in range(5000)]
    losses: list[float | None] = [1000.0 / (1 + epoch) for epoch in epochs]
    losses[3], losses[4] = None, float("nan")
    image = ET.fromstring(curves([Series("train loss", epochs, losses)], width=300, height=100))
    assert "train loss from 1000 to" in image.attrib["aria-label"]
    (line,) = image.iter("{http://www.w3.org/2000/svg}polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert len(points) == MOST_POINTS
    assert all(0 <= x <= 300 - MARGIN_RIGHT and 0 <= y <= 100 for x, y in points)
    assert points[-1][0] == 300 - MARGIN_RIGHT
    assert [y for _, y in points] == sorted(y for _, y in points)
    assert "log axis" in "".join(image.itertext())


def test_a_curve_of_one_point_is_a_dot_and_of_none_nothing() -> None:
    assert "circle" in curves([Series("train loss", [1.0], [0.5])])
    assert curves([Series("train loss", [], []), Series("validation loss", [1.0], [None])]) == ""


def test_a_script_draws_nothing_and_a_terminal_a_bar(service_url: str) -> None:
    program = (
        "import mlpq; c = mlpq.Client(); j = c.train('digits', hidden=[256], epochs=60);"
        "print(j.wait(progress=True).status, len(list(j.watch())) > 5)"
    )
    environment = {**os.environ, "MLPQ_URL": service_url}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("succeeded True\n", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLPQ_URL", service_url)
        terminal = Terminal("-c", program)
    assert terminal.printed == "succeeded True\n"
    assert re.search(r"\d/60\S* epochs", terminal.seen)


CELLS = [
    "from mlpq import AsyncClient, Client\nclient = Client()\njob = client.train('iris', epochs=8)",
    "job.watch()",
    "job",
    "client.jobs(limit=1)",
    "async with AsyncClient() as other:\n    job = await other.train('iris', epochs=8)\n    await job.watch()",
    "open('t.csv', 'w').write('a,b\\n1,2\\n3,4\\n')\nrecord = client.upload('t.csv', progress=True)",
    "_ = client.train('iris', epochs=3).wait(progress=True)",
]


@pytest.mark.notebook
def test_cells_draw_one_card_each_and_redraw_it(
    service_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("MLPQ_URL", service_url)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(text) for text in CELLS]
    NotebookClient(book, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [[out["data"]["text/html"] for out in cell.outputs if "data" in out] for cell in book.cells]
    assert [len(cards) for cards in shown] == [0, 1, 1, 1, 1, 1, 1]
    for cards in (shown[1], shown[2], shown[4]):
        assert "epoch 8 of 8" in cards[0]
        assert "<polyline" in cards[0]
    assert "t.csv" in shown[5][0]
    assert "epoch 3 of 3" in shown[6][0]
