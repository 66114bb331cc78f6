"""Model cards: all that is known of a job, as JSON and as Markdown in which the text of users is only text."""

from __future__ import annotations

import hashlib
import platform
import re
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from markdown_it import MarkdownIt

from store.jobs import JobStore
from tests.service.api_parts import assert_problem, submitted
from tests.service.test_service_training import trained, uploaded

RUDE = "[x](javascript:1) <img src=x> `a` | **b** # c http://evil.test ![p](q) \\ & &lt;"


def card_of(api: httpx2.Client, job: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = api.get(f"/v1/jobs/{job['id']}/card", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def test_a_card_tells_data_spec_figures_environment_and_files(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    rows = ["w,size,part,label"] + [f"1,{n % 7},{'test' if n % 4 == 0 else 'train'},{'ab'[n % 2]}" for n in range(80)]
    dataset = uploaded(api, "\n".join(rows).encode(), "things.csv")
    asked = {"epochs": 5, "seed": 3, "sample_weight": "w", "split": {"column": "part", "test": ["test"]}, "folds": 2}
    job = trained(api, jobs, service_data, dataset=dataset, net={"hidden": [4]}, training=asked, name="one")
    card = card_of(api, job)
    data = card["dataset"]
    assert (data["name"], data["n_rows"], data["task"], data["classes"]) == ("things", 80, "classification", ["a", "b"])
    assert data["sha256"] == hashlib.sha256("\n".join(rows).encode()).hexdigest()
    assert {c["name"]: c["role"] for c in data["columns"]} == {"w": "weight", "size": "input", "part": "split"}
    assert card["asked"] == {"net": {"hidden": [4]}, "training": asked}
    assert card["spec"] == job["spec"]
    assert card["seed"] == 3
    assert card["parameters"] == 1 * 4 + 4 + 4 * 2 + 2
    assert card["rows"] == {"train": 48, "validation": 12, "test": 20}
    assert {"train", "validation", "test", "cross_validation", "fold1", "fold2"} == card["metrics"].keys()
    assert card["metrics"]["test"]["accuracy"] == job["metrics"]["test_accuracy"]
    environment = card["environment"]
    assert environment["numpy"] == np.__version__
    assert environment["python"].endswith(platform.python_version())
    assert environment["mlpq"] == "0.1.0"
    assert environment["engine"] in ("layered", "compiled")
    assert {"numba", "platform", "cpus", "memory_bytes", "device_name", "blas"} <= environment.keys()
    assert (card["device"], card["backend"]) == ("cpu", "numpy")
    assert card["duration_s"] > 0
    for one in card["artifacts"]:
        content = api.get(one["href"]).content
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (one["sha256"], one["bytes"]), one
    assert [one["format"] for one in card["artifacts"]] == ["npz", "safetensors", "onnx", "torch", "predict.py"]
    assert job["links"]["card"] == f"/v1/jobs/{job['id']}/card"


def test_a_card_of_a_job_that_waits_tells_what_is_known(api: httpx2.Client) -> None:
    card = card_of(api, submitted(api))
    assert (card["status"], card["metrics"], card["artifacts"], card["loading"]) == ("queued", {}, [], {})
    assert (card["rows"], card["parameters"], card["environment"], card["duration_s"]) == (None, None, {}, None)
    assert card["dataset"]["name"]
    text = api.get(f"/v1/jobs/{card['job']}/card?format=md").text
    assert "None yet." in text
    assert_problem(api.get("/v1/jobs/job_nothing/card"), 404)
    assert_problem(api.get(f"/v1/jobs/{card['job']}/card?format=pdf"), 422)


def test_a_card_outlives_its_data_set(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    rows = ["size,label"] + [f"{n % 7},{'ab'[n % 2]}" for n in range(40)]
    dataset = uploaded(api, "\n".join(rows).encode(), "gone.csv")
    job = trained(api, jobs, service_data, dataset=dataset, training={"epochs": 2})
    assert api.delete(f"/v1/datasets/{dataset}").status_code == 204
    data = card_of(api, job)["dataset"]
    assert (data["id"], data["deleted"], data["n_rows"]) == (dataset, True, 40)
    assert [c["name"] for c in data["columns"]] == ["size"]
    text = api.get(f"/v1/jobs/{job['id']}/card?format=md").text
    assert "deleted: since then" in text
    facts = [line.partition(":")[0] for line in text.partition("## Environment")[2].partition("##")[0].splitlines()]
    assert {"- device", "- backend"} < set(facts)
    assert facts.count("- device") == facts.count("- backend") == 1


@pytest.mark.parametrize(
    ("accept", "markdown"),
    [
        ("text/markdown", True),
        ("text/markdown;q=0.5, application/json;q=0.1", True),
        ("text/markdown;q=0.5, application/json", False),
        ("*/*", False),
        ("text/html, text/markdown;q=x", False),
        ("", False),
    ],
)
def test_markdown_is_for_those_who_rank_it_higher(api: httpx2.Client, accept: str, markdown: bool) -> None:
    answer = api.get(f"/v1/jobs/{submitted(api)['id']}/card", headers={"Accept": accept})
    assert answer.headers["content-type"] == ("text/markdown; charset=utf-8" if markdown else "application/json")
    assert answer.headers["vary"] == "Accept"


def test_no_text_of_a_user_is_markup(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    """As a reader of Markdown with tables and links of bare addresses sees it."""
    quoted = '"' + RUDE.replace('"', '""') + '"'
    rows = [f"size,{quoted},label"] + [f"{n % 7},{n % 3},{'a' if n % 2 else quoted}" for n in range(40)]
    file = ("rude.csv", "\n".join(rows).encode())
    answer = api.post("/v1/datasets", files={"file": file}, data={"options": '{"delimiter": ","}'})
    dataset = answer.json()["id"]
    spec: dict[str, Any] = {"dataset": dataset, "training": {"epochs": 2}, "name": RUDE, "tags": [RUDE[:60]]}
    job = trained(api, jobs, service_data, **spec, metadata={"```": "```\n# no", RUDE: 1})
    text = api.get(f"/v1/jobs/{job['id']}/card?format=md").text
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    assert {token.type for token in inline} <= {"text", "text_special", "code_inline", "softbreak"}
    assert not {"html_block", "code_block", "blockquote_open"} & {token.type for token in tokens}
    shown = ["".join(child.content for child in token.children or ()) for token in tokens if token.type == "inline"]
    titles = [shown[n] for n, token in enumerate(t for t in tokens if t.type in ("inline",)) if token.level == 1]
    assert f"Model card: {RUDE}" in titles
    assert RUDE in shown  # the column, alone in its cell
    assert f"classes: a, {RUDE}" in shown or f"classes: {RUDE}, a" in shown
    headings = [tokens[n + 1].content for n, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[1:] == ["Data", "Results", "Training", "Environment", "Files", "How to load it"]
    assert len([token for token in tokens if token.type == "fence"]) == 5
    for line in text.splitlines():
        assert not re.search(r"(?<!\\)https?://", line) or line.startswith((" ", '"', "{")), line
