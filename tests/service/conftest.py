"""One real API process for the tests that leave it as they found it; others start their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from redis import Redis

from mlpq.embedded import EmbeddedServer
from store.jobs import JobStore
from tests.processes import Processes, Service, http_client, valkey_in
from tests.service.api_parts import twin_of


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of this folder's own: the shared process reaps on it until the session ends, in nobody else's store."""
    with valkey_in(tmp_path_factory.mktemp("service-valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def service_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of the shared process."""
    return tmp_path_factory.mktemp("service-data")


@pytest.fixture(scope="session")
def service(valkey: EmbeddedServer, service_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`python -m service` on the session's server."""
    with Processes(tmp_path_factory.mktemp("service-logs"), valkey.url, service_data) as processes:
        yield processes.service().ready()


@pytest.fixture
def api(service: Service, redis: Redis) -> Iterator[httpx2.Client]:
    """A client of the shared process, whose store is empty."""
    with http_client(service.url) as client:
        yield client


@pytest.fixture
def jobs(redis: Redis) -> JobStore:
    """The store as a worker has it."""
    return JobStore(redis)


@pytest.fixture
def data_dir(tmp_path: Path, service_data: Path, service: Service) -> Path:
    """An empty data directory, which counts as the shared process's: both use one store."""
    return twin_of(service_data, tmp_path / "data")


@pytest.fixture
def processes(tmp_path: Path, valkey: EmbeddedServer, data_dir: Path, redis: Redis) -> Iterator[Processes]:
    """Starts API processes of a test's own, on an empty store."""
    with Processes(tmp_path, valkey.url, data_dir) as started:
        yield started
