"""Real parts for every test: one Valkey server per session, emptied between the tests that ask for it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings
from redis import Redis

from mlpq.embedded import EmbeddedServer
from tests.processes import valkey_in

ROOMS = ("system", "mlpq", "docs", "worker", "service", "store", "lecture", "kernels", "nets")
"""The order of the tests: files that wait for processes, and take minutes, come first; short ones fill what is left."""


def pytest_configure() -> None:
    """A run in the background (`.ci/run &`, nohup) begins with Ctrl-C ignored, and every process would inherit that.

    How long an example takes says nothing where other tests keep the processors busy: Hypothesis sets no deadline.
    OpenBLAS's threads, which idle from the import of numpy on, would keep a processor busy until they sleep.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # 2^4 cycles
    os.environ.setdefault("MLPQ_NICE", "0")  # other tests keep the processors busy, and this one waits for its jobs


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is made while tests are found stays: Python would search it for garbage again and again, and in vain."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Every process finds the same tests: packed bytes hold the moment of their packing and name none."""
    return argname if isinstance(val, bytes) and not val.isascii() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """GPU, compose and browser tests run only when asked for by `-m`; those that compare with PyTorch or run a notebook
    where these are installed.

    What does not run is deselected and counted, not skipped silently; asked for without them it fails.
    """
    asked = config.getoption("-m")
    needed = {"gpu": None, "compose": None, "browser": None, "torch": "torch", "notebook": "nbclient"}
    for marker, module in needed.items():
        if marker in asked or (module is not None and find_spec(module) is not None):
            continue
        left_out = [item for item in items if item.get_closest_marker(marker)]
        items[:] = [item for item in items if not item.get_closest_marker(marker)]
        config.hook.pytest_deselected(items=left_out)
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    room = item.path.parent.name
    return ROOMS.index(room) if room in ROOMS else len(ROOMS)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compile before the first test: it takes half a minute on a fresh machine, and tests have time limits."""
    rooms = {item.path.parent.name for item in session.items}
    if rooms & {"nets", "lecture", "worker", "system"} and not session.config.option.collectonly:
        subprocess.run([sys.executable, "-m", "nets.warm"], check=True)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A running Valkey server shared by the session. Tests that kill a server start their own."""
    with valkey_in(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def redis(valkey: EmbeddedServer) -> Iterator[Redis]:
    """A client of the session's server, which is empty when the test starts."""
    client = Redis.from_url(valkey.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An empty data directory."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder
