"""One real deployment for all tests that only use it; tests that break one start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlpq import Client
from mlpq.up.launch import deployment


@pytest.fixture(scope="session")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running `mlpq up` with one CPU worker."""
    data_dir = tmp_path_factory.mktemp("up") / "data"
    with deployment(data_dir, "--port", "0", "--device", "cpu") as (url, ours):
        assert ours
        yield url


@pytest.fixture
def client(service_url: str) -> Iterator[Client]:
    """A client of it."""
    with Client(service_url) as connected:
        yield connected
