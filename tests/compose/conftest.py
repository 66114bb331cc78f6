"""One prepared podman, one image and one running stack for every compose test; taken down whatever happens."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.compose.stack import Podman, Stack


@pytest.fixture(scope="session")
def podman() -> Podman:
    """podman with a Debian base image, installed if need be."""
    return Podman()


@pytest.fixture(scope="session")
def image(podman: Podman) -> Iterator[str]:
    """The image built from the Dockerfile of this checkout; removed at the end, its layers stay cached for a week."""
    tag = f"localhost/mlpq-test:{secrets.token_hex(4)}"
    podman.build(tag)
    yield tag
    podman("rmi", "--force", tag)
    podman("image", "prune", "--force", "--filter", "until=168h")


@pytest.fixture(scope="session")
def stack(podman: Podman, image: str) -> Iterator[Stack]:
    """redis, api and worker of docker-compose.yml, ready to be asked."""
    stack = Stack(podman, image)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
    left = {kind: stack.left(kind) for kind in ("container", "volume", "network")}
    assert not any(left.values()), left


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows what the containers said."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(stack, Stack):
        report.sections.append(("containers", stack.logs()))
    return report
