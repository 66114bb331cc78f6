"""One real deployment for all tests that only use it; tests that break one start their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlpq import Client
from mlpq.estimators.training import TAG
from mlpq.up.launch import deployment
from tests.mlpq.command import Mlpq
from tests.mlpq.up_parts import Up


@pytest.fixture(scope="session")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running `mlpq up` with one CPU worker."""
    data_dir = tmp_path_factory.mktemp("up") / "data"
    with deployment(data_dir, "--port", "0", "--device", "cpu") as (url, ours):
        assert ours
        yield url


@pytest.fixture(scope="session", autouse=True)
def no_config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever runs the tests may have a config file of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.delenv("MLPQ_PROFILE", raising=False)
        yield


@pytest.fixture
def client(service_url: str) -> Iterator[Client]:
    """A client of it."""
    with Client(service_url) as connected:
        yield connected


@pytest.fixture(scope="module")
def everywhere(service_url: str) -> Iterator[None]:
    """Whatever looks for a service in this module, also in other processes, finds it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLPQ_URL", service_url)
        yield


@pytest.fixture
def tidy(client: Client) -> None:
    """No job that an earlier fit of an estimator left on the service."""
    for job in list(client.jobs(tag=TAG, limit=None)):
        job.delete()


@pytest.fixture
def mlpq(service_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mlpq:
    monkeypatch.setenv("MLPQ_URL", service_url)
    return Mlpq(tmp_path, monkeypatch)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Deployments that end with the test."""
    started: list[Up] = []

    def start(*options: str, **environment: str) -> Up:
        arguments = ("--port", "0", "--device", "cpu", *options)
        started.append(Up(tmp_path / f"data{len(started)}", *arguments, **environment))
        return started[-1]

    yield start
    for one in started:
        one.kill()
