"""The menus of data sets: each lists all of them, whatever their number, and one that is uploaded at once."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from bench.deployment import Deployment
from tests.page.conftest import expect_focused

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

MENUS = ("dataset", "test_dataset", "validation_dataset")
BUILTINS = 10
FIRST = 2
"""Data sets of a page in these tests."""


def table(size: int) -> bytes:
    return ("size,kind\n" + "".join(f"{n % 7},{'ab'[n % 2]}\n" for n in range(size))).encode()


def uploaded(client: httpx2.Client, name: str, size: int) -> str:
    answer = client.post(f"/v1/datasets?filename={name}.csv", content=table(size))
    return str(answer.raise_for_status().json()["id"])


@pytest.fixture(scope="module")
def sets(running: Deployment) -> dict[str, str]:
    """Names and ids of uploaded data sets, the newest first: a page of them, and two that are older."""
    with httpx2.Client(base_url=running.url, timeout=30) as client:
        made = {f"own{n}": uploaded(client, f"own{n}", 30 + n) for n in range(FIRST + 2)}
    return dict(reversed(made.items()))


@pytest.fixture
def small(page: Page) -> Iterator[Page]:
    """A page that is answered so few data sets at a time that there are several pages of them."""

    def fewer(url: str) -> str:
        return url.replace("limit=100", f"limit={FIRST}")

    page.route("**/v1/datasets?limit=100*", lambda route: route.continue_(url=fewer(route.request.url)))
    yield page
    page.unroute_all(behavior="wait")


def options(page: Page, menu: str) -> Locator:
    return page.locator(f"[name={menu}] option")


def names(page: Page, menu: str) -> list[str]:
    return [text.partition(" (")[0] for text in options(page, menu).all_text_contents()]


def test_older_data_sets_are_read_into_every_menu(small: Page, running: Deployment, sets: dict[str, str]) -> None:
    small.goto(f"{running.url}/#/new")
    expect(small.locator("[name=dataset]")).to_have_value("digits")
    assert names(small, "dataset") == [*list(sets)[:FIRST], "digits"]
    small.locator("[name=test_dataset]").select_option(index=1, force=True)
    older = small.get_by_role("button", name="Older data sets")
    older.press("Enter")
    expect(older).to_be_hidden()
    expect_focused(small.locator("[name=dataset]"))
    expect(small.locator("[name=dataset]")).to_have_value("digits")
    for menu in MENUS:
        found = [name for name in names(small, menu) if name != "none"]
        assert found[: len(sets) + 1] == [*sets, "digits"], menu
        assert len(found) == len(sets) + BUILTINS, menu
    assert small.locator("[name=test_dataset]").evaluate("menu => menu.selectedIndex") == 1


def test_reading_older_data_sets_goes_on_where_it_was_cut_off(
    small: Page, running: Deployment, sets: dict[str, str]
) -> None:
    small.goto(f"{running.url}/#/new")
    older = small.get_by_role("button", name="Older data sets")
    expect(older).to_be_visible()
    small.context.set_offline(True)
    older.click()
    expect(small.get_by_text("the service cannot be reached")).to_be_visible()
    small.context.set_offline(False)
    older.click()
    expect(options(small, "dataset")).to_have_count(len(sets) + BUILTINS)


def test_a_form_has_the_old_data_sets_of_the_job_that_it_starts_with(
    small: Page, running: Deployment, client: httpx2.Client, sets: dict[str, str]
) -> None:
    *_, second, first = sets
    body = {"dataset": sets[first], "training": {"epochs": 1, "test_dataset": sets[second]}}
    job = client.post("/v1/jobs", json=body).raise_for_status().json()
    small.goto(f"{running.url}/#/new/{job['id']}")
    expect(small.get_by_role("region", name=f"About {first}")).to_be_visible()
    expect(small.locator("[name=dataset]")).to_have_value(sets[first])
    expect(small.locator("[name=test_dataset]")).to_have_value(sets[second])
    expect(small.locator("[name=rest]")).to_have_value("")


def test_few_data_sets_are_all_there_and_nothing_asks_for_more(
    page: Page, running: Deployment, sets: dict[str, str]
) -> None:
    page.goto(f"{running.url}/#/new")
    expect(options(page, "dataset")).to_have_count(len(sets) + BUILTINS)
    expect(page.get_by_role("button", name="Older data sets")).to_be_hidden()


def test_an_uploaded_data_set_is_in_every_menu_at_once(page: Page, running: Deployment, client: httpx2.Client) -> None:
    page.goto(f"{running.url}/#/new")
    for name, size in (("train", 40), ("held", 20)):
        file = {"name": f"{name}.csv", "mimeType": "text/csv", "buffer": table(size)}
        page.locator("[name=file]").set_input_files(file)
        expect(page.get_by_role("region", name=f"About {name}")).to_be_visible()
    page.locator("[name=dataset]").select_option("train (40 rows)")
    page.locator("details:has([name=test_dataset]) > summary").click()
    page.locator("[name=test_dataset]").select_option("held (20 rows)")
    page.locator("[name=epochs]").fill("1")
    page.get_by_role("button", name="Train").click()
    expect(page).to_have_url(re.compile(r"#/jobs/job_"))
    job = client.get(f"/v1/jobs/{page.url.rpartition('/')[2]}").raise_for_status().json()
    held = client.get(f"/v1/datasets/{job['spec']['training']['test_dataset']}").raise_for_status().json()
    assert (job["dataset_name"], held["name"]) == ("train", "held")
