"""Fixtures of the tests with real workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from nets.engines import COMPILED_VARIABLE
from tests.site import Site, builtin_sets, own_site, reference, site
from tests.worker.runner_parts import Bench

__all__ = ["builtin_sets", "layer_by_layer", "own_site", "reference", "site"]


@pytest.fixture(autouse=True)
def layer_by_layer(monkeypatch):
    """Jobs are stopped and killed at chosen places of an epoch: chunks end with epochs only layer by layer."""
    monkeypatch.setenv(COMPILED_VARIABLE, "0")


@pytest.fixture
def bench(site: Site) -> Iterator[Bench]:
    bench = Bench(site)
    yield bench
    bench.stopping.set()


@pytest.fixture
def release(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """No run ends by itself until this is called: runs are held."""
    monkeypatch.setenv("MLPQ_FAILPOINTS", "1")
    monkeypatch.setenv("HOLD_WHILE", bench.site.hold())
    return bench.site.release
