"""Every example in the public API's documentation is true, with a running service."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from mlpq import Client, Job, Sweep
from mlpq.both import iteration, operation
from mlpq.client import ClientCalls
from mlpq.job import JobCalls
from mlpq.sweep import SweepCalls

MODULES = ("mlpq", "mlpq.client")

CALLS = {
    f"{of}.{name}": str(made.__doc__)
    for of, kind in (("Client", ClientCalls), ("Job", JobCalls), ("Sweep", SweepCalls))
    for part in kind.__mro__
    for name, made in vars(part).items()
    if isinstance(made, operation | iteration)
}


@pytest.fixture(scope="module")
def job(service_url: str) -> Job:
    with Client(service_url) as client:
        return client.train("iris", hidden=[8], epochs=5, batch_size=5, tags=["docs"]).wait(timeout_s=60)


@pytest.fixture(scope="module")
def sweep(service_url: str) -> Sweep:
    base = {"net": {"hidden": [8]}, "training": {"epochs": 3}}
    with Client(service_url) as client:
        return client.sweep("iris", grid={"training.seed": [1, 2]}, base=base).wait(timeout_s=60)


def hold(examples: list[doctest.Example], name: str, names: dict[str, object]) -> None:
    """Fails with doctest's own report."""
    said: list[str] = []
    test = doctest.DocTest(examples, names, name, None, None, None)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(optionflags=flags, verbose=False).run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("name", CALLS)
def test_every_call_has_an_example_that_holds(
    name: str, client: Client, job: Job, sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLPQ_URL", client.url)
    examples = doctest.DocTestParser().get_examples(CALLS[name])
    assert examples, "no example"
    names = {"client": client, "job": client.job(job.id), "sweep": client.sweep_of(sweep.id), "Client": Client}
    hold(examples, name, names)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_modules_and_classes_hold(
    module: str, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLPQ_URL", client.url)
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))
    tests = [test for test in found if test.examples]
    assert tests, "no example"
    for test in tests:
        hold(test.examples, test.name, {})
