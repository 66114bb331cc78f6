"""Fixtures of the tests with real workers."""

from __future__ import annotations

from tests.site import builtin_sets, own_site, reference, site

__all__ = ["builtin_sets", "own_site", "reference", "site"]
