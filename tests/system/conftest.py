"""Fixtures of the tests with real workers."""

from __future__ import annotations

import pytest

from nets.engines import COMPILED_VARIABLE
from tests.site import builtin_sets, own_site, reference, site

__all__ = ["builtin_sets", "layer_by_layer", "own_site", "reference", "site"]


@pytest.fixture(autouse=True, scope="package")
def layer_by_layer():
    """Jobs are stopped and killed at chosen places of an epoch: chunks end with epochs only layer by layer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(COMPILED_VARIABLE, "0")
        yield
