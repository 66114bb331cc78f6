"""Fixtures of the tests with real workers."""

from __future__ import annotations

import pytest

from nets.engines import COMPILED_VARIABLE
from tests.site import builtin_sets, own_site, reference, site

__all__ = ["builtin_sets", "layer_by_layer", "own_site", "reference", "site"]


@pytest.fixture(autouse=True)
def layer_by_layer(monkeypatch):
    """Jobs are stopped and killed at chosen places of an epoch: chunks end with epochs only layer by layer."""
    monkeypatch.setenv(COMPILED_VARIABLE, "0")
