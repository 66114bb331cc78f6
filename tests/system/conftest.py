"""Fixtures of the tests with real workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlpq import Client
from nets.engines import COMPILED_VARIABLE
from tests.site import Site, builtin_sets, own_site, reference, site
from tests.system.stack_parts import Deployment

__all__ = ["builtin_sets", "layer_by_layer", "own_site", "reference", "site"]


@pytest.fixture(autouse=True)
def layer_by_layer(monkeypatch):
    """Jobs are stopped and killed at chosen places of an epoch: chunks end with epochs only layer by layer."""
    monkeypatch.setenv(COMPILED_VARIABLE, "0")


@pytest.fixture
def deployed(site: Site) -> Iterator[Deployment]:
    with Client(site.processes.service().ready().url, patience_s=60) as client:
        yield Deployment(site, client)
