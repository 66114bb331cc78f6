"""`mlpq top`: queue, workers and live curves; one picture in a pipe; a terminal that is left as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlpq import Client, Job
from tests.mlpq.command import Mlpq

LEAVE_SCREEN, SHOW_CURSOR = b"\x1b[?1049l", b"\x1b[?25h"


@pytest.fixture
def running(client: Client) -> Iterator[Job]:
    """A job that runs for as long as the test, with points on its curve."""
    job = client.train("digits", hidden=[64], epochs=1_000_000, name="long [b]one[/b]")
    for event in job.events():
        if event.type == "metric" and event.data["epoch"] > 3:
            break
    yield job
    job.cancel()
    job.wait(timeout_s=30, check=False)


def test_one_picture_is_plain_text_with_everything(mlpq: Mlpq, running: Job) -> None:
    for words in (["--once"], []):
        shown = mlpq("top", *words)
        assert "\x1b" not in shown
        for text in ("1 running", "worker-", "GiB", running.id, "running", "digits", "long [b]one[/b]", "train loss"):
            assert text in shown
    told = mlpq.json("top", "--once")
    assert [job["id"] for job in told["jobs"]] == [running.id]
    assert told["queue"]["jobs"]["running"] == 1
    assert len(told["workers"]) == 1


def test_an_idle_service_says_so(mlpq: Mlpq) -> None:
    shown = mlpq("top", "--once")
    assert "0 running" in shown
    assert "no job is running or waiting" in shown


class Screen:
    """`mlpq top` in a terminal of its own."""

    def __init__(self, url: str) -> None:
        self.ours, theirs = pty.openpty()
        self.theirs = os.dup(theirs)
        self.before = termios.tcgetattr(theirs)
        environment = {**os.environ, "MLPQ_URL": url, "TERM": "xterm-256color", "PYTHONUTF8": "1"}
        environment |= {"COLUMNS": "110", "LINES": "40"}
        command = [sys.executable, "-m", "mlpq", "top", "--every", "0.3"]
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        own = {"start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)}
        self.process = subprocess.Popen(command, **streams, **own, env=environment)
        os.close(theirs)
        self.seen = b""

    def until(self, wanted: Callable[[bytes], bool]) -> None:
        deadline = time.monotonic() + 60
        while not wanted(self.seen):
            assert time.monotonic() < deadline, self.seen[-3000:]
            if select.select([self.ours], [], [], 0.2)[0]:
                self.seen += os.read(self.ours, 65536)

    def press(self, key: bytes) -> None:
        os.write(self.ours, key)

    def close(self) -> int:
        """The exit status; the terminal must be as it was."""
        self.until(lambda seen: LEAVE_SCREEN in seen and seen.rindex(SHOW_CURSOR) > 0)
        status = self.process.wait(30)
        assert termios.tcgetattr(self.theirs) == self.before
        for handle in (self.ours, self.theirs):
            os.close(handle)
        return status


def test_a_curve_grows_until_q(service_url: str, running: Job) -> None:
    screen = Screen(service_url)
    braille = [chr(code).encode() for code in range(0x2801, 0x2900)]
    screen.until(lambda seen: running.id.encode() in seen and any(dot in seen for dot in braille))
    first = len(screen.seen)
    screen.until(lambda seen: seen.count(b"train loss", first) >= 2)
    screen.press(b"x")
    screen.press(b"\x1a")  # Ctrl-Z does not suspend it
    screen.until(lambda seen: seen.count(b"train loss", first) >= 4)
    assert screen.process.poll() is None
    screen.press(b"q")
    assert screen.close() == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 129)])
def test_a_signal_leaves_the_terminal_as_it_was(service_url: str, number: int, status: int) -> None:
    screen = Screen(service_url)
    screen.until(lambda seen: b"no job" in seen)
    screen.process.send_signal(number)
    assert screen.close() == status


def test_ctrl_c_leaves_the_terminal_as_it_was(service_url: str) -> None:
    screen = Screen(service_url)
    screen.until(lambda seen: b"no job" in seen)
    screen.press(b"\x03")
    assert screen.close() == 130


def test_a_service_that_goes_away_is_said_and_found_again(tmp_path: Path) -> None:
    from mlpq.up.launch import deployment

    with deployment(tmp_path / "data", "--port", "0", "--workers", "0") as (url, _):
        port = url.rpartition(":")[2]
        screen = Screen(url)
        screen.until(lambda seen: b"no worker is running" in seen)
    screen.until(lambda seen: b"trying again" in seen)
    with deployment(tmp_path / "data", "--port", port, "--workers", "0"):
        after = len(screen.seen)
        screen.until(
            lambda seen: b"no worker is running" in seen[after:] and b"trying again" not in seen[after:][-2000:]
        )
        screen.press(b"q")
        assert screen.close() == 0
