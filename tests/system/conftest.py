"""Fixtures of the tests with real workers: one service for those that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from mlpq import Client
from mlpq.embedded import EmbeddedServer
from nets.engines import COMPILED_VARIABLE
from tests.history import History
from tests.processes import Processes, Service, valkey_in
from tests.site import Site, builtin_sets, data_dir_of, own_site, reference
from tests.system.stack_parts import Deployment

__all__ = ["builtin_sets", "layer_by_layer", "own_site", "reference", "site"]


@pytest.fixture(autouse=True)
def layer_by_layer(monkeypatch):
    """Jobs are stopped and killed at chosen places of an epoch: chunks end with epochs only layer by layer."""
    monkeypatch.setenv(COMPILED_VARIABLE, "0")


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of this folder's own: the shared service reaps on it until the session ends, in nobody else's store."""
    with valkey_in(tmp_path_factory.mktemp("system-valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def system_data(tmp_path_factory: pytest.TempPathFactory, builtin_sets: Path) -> Path:
    """The data directory of the shared service, and of every site on the session's server."""
    return data_dir_of(tmp_path_factory.mktemp("system-data"), builtin_sets)


@pytest.fixture(scope="session")
def service(valkey: EmbeddedServer, system_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`python -m service` on the session's server."""
    with Processes(tmp_path_factory.mktemp("system-logs"), valkey.url, system_data) as processes:
        yield processes.service().ready()


@pytest.fixture
def site(redis: Redis, valkey: EmbeddedServer, tmp_path: Path, system_data: Path) -> Iterator[Site]:
    """A site on the session's server, whose store is empty; its processes end with the test."""
    site = Site(valkey, tmp_path, system_data)
    with site.processes:
        yield site
    site.store.redis.close()


@pytest.fixture(scope="session")
def alone() -> dict[tuple[str, str], History]:
    """What jobs were without company, by engine and spec: each is trained so once."""
    return {}


@pytest.fixture
def deployed(site: Site, service: Service, alone: dict[tuple[str, str], History]) -> Iterator[Deployment]:
    with Client(service.url, patience_s=60) as client:
        yield Deployment(site, client, alone)
