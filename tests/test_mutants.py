"""The list of mutants finds its places; whether they are noticed takes minutes and is `make mutants`."""

from __future__ import annotations

import ast

import pytest

from tests.mutants import ROOT, SOURCES, mutants_of


@pytest.mark.parametrize("source", [one for one in SOURCES if not one.compiled], ids=lambda one: one.path)
def test_every_source_has_signs_to_turn_and_stays_python(source):
    found = mutants_of(source)
    assert len(found) >= 2
    right = (ROOT / source.path).read_text("utf-8")
    for mutant in found:
        ast.parse(mutant.text)
        assert mutant.text != right
        assert sum(a != b for a, b in zip(mutant.text.splitlines(), right.splitlines(), strict=True)) == 1
    for tests in source.tests:
        assert (ROOT / tests.split()[0]).is_file()
