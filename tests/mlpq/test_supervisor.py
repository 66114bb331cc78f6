"""The supervisor, with processes of every kind of bad behaviour."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlpq.errors import DeploymentError
from mlpq.up import program as program_module
from mlpq.up.lock import DataDirectoryLock, running_deployment
from mlpq.up.program import Backoff, ManagedProcess, Program
from mlpq.up.supervisor import Signals, Supervisor

ENDS = "import signal, subprocess, sys, time; signal.signal(15, lambda *_: sys.exit(0))"
STAYS = "import signal, time; signal.signal(15, signal.SIG_IGN)"
WELL_BEHAVED = f"{ENDS}; print('up', flush=True); time.sleep(60)"
STUBBORN = f"{STAYS}; print('up', flush=True); time.sleep(60)"
WITH_CHILD = f"""{ENDS}
child = subprocess.Popen([sys.executable, "-c", "{STAYS}; time.sleep(60)"])
print("up", child.pid, flush=True); time.sleep(60)"""


def managed(folder: Path, code: str, *, name: str = "one", stage: int = 0, grace_s: float = 5.0) -> ManagedProcess:
    command = [sys.executable, "-c", code]
    return ManagedProcess(Program(name, command, dict(os.environ), folder / f"{name}.log", stage, grace_s))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as entered:
        yield entered


@pytest.fixture
def supervise(signals: Signals) -> Iterator[Callable[..., Supervisor]]:
    """Supervisors whose processes end with the test."""
    made: list[Supervisor] = []

    def make(*processes: ManagedProcess) -> Supervisor:
        made.append(Supervisor(processes, signals, said.append))
        return made[-1]

    said: list[str] = []
    yield make
    for supervisor in made:
        for process in supervisor.processes:
            process.kill()
        supervisor.stop()


def turn_until(supervisor: Supervisor, reached: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not reached():
        assert time.monotonic() < deadline, "not reached in time"
        supervisor.turn(0.02)


def said_up(process: ManagedProcess) -> Callable[[], bool]:
    return lambda: process.program.log.exists() and "up" in process.program.log.read_text()


def test_what_dies_is_started_again(tmp_path: Path, supervise: Callable[..., Supervisor]) -> None:
    process = managed(tmp_path, WELL_BEHAVED)
    supervisor = supervise(process)
    turn_until(supervisor, said_up(process))
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    turn_until(supervisor, lambda: process.pid not in (None, first))
    assert process.restarts == 1


def test_delays_double_and_a_steady_run_forgives() -> None:
    backoff = Backoff()
    assert [backoff.after(0.1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff.after(program_module.STEADY_AFTER_S) == 0.5


def test_stages_end_in_order_and_gracefully(tmp_path: Path, supervise: Callable[..., Supervisor]) -> None:
    code = "import signal,time,sys,pathlib\ndef end(*_):\n  pathlib.Path({0!r}).open('a').write({1!r}); sys.exit(0)\n"
    code += "signal.signal(15, end); print('up', flush=True); time.sleep(60)"
    order = tmp_path / "order"
    processes = [
        managed(tmp_path, code.format(str(order), name), name=name, stage=stage)
        for name, stage in (("c", 2), ("a", 0), ("b", 1))
    ]
    supervisor = supervise(*processes)
    turn_until(supervisor, lambda: all(said_up(process)() for process in processes))
    assert supervisor.stop()
    assert order.read_text() == "abc"


def test_what_does_not_end_is_killed_after_its_grace(tmp_path: Path, supervise: Callable[..., Supervisor]) -> None:
    process = managed(tmp_path, STUBBORN, grace_s=0.5)
    supervisor = supervise(process)
    turn_until(supervisor, said_up(process))
    started = time.monotonic()
    assert not supervisor.stop()
    assert 0.4 < time.monotonic() - started < 15


def test_a_second_wish_to_stop_hurries(tmp_path: Path, supervise: Callable[..., Supervisor], signals: Signals) -> None:
    process = managed(tmp_path, STUBBORN, grace_s=60)
    supervisor = supervise(process)
    turn_until(supervisor, said_up(process))
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    supervisor.run()
    assert signals.stop_requests == 2
    started = time.monotonic()
    assert not supervisor.stop()
    assert time.monotonic() - started < 15


def test_nothing_of_a_session_outlives_its_process(tmp_path: Path, supervise: Callable[..., Supervisor]) -> None:
    process = managed(tmp_path, WITH_CHILD)
    supervisor = supervise(process)
    turn_until(supervisor, said_up(process))
    grandchild = int(process.program.log.read_text().split()[1])
    assert supervisor.stop()
    deadline = time.monotonic() + 30
    while is_alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(grandchild)


def test_logs_are_bounded_and_nothing_is_lost_of_the_last_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_module, "LOG_BYTES", 1000)
    process = managed(tmp_path, WELL_BEHAVED)
    log = process.program.log
    with log.open("ab") as writer:
        for number in range(6):
            writer.write(b"%d" % number * 1200)
            writer.flush()
            process.bound_log()
            assert log.stat().st_size == 0
        writer.write(b"end")
    assert log.read_bytes() == b"end"
    assert (tmp_path / "one.log.1").read_bytes() == b"5" * 1200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.log", *(f"one.log.{n}" for n in (1, 2, 3))]


def test_a_data_directory_has_one_deployment(data_dir: Path) -> None:
    lock = DataDirectoryLock(data_dir)
    lock.acquire()
    lock.describe({"url": "http://127.0.0.1:1"})
    assert running_deployment(data_dir) == {"pid": os.getpid(), "url": "http://127.0.0.1:1"}
    with pytest.raises(DeploymentError, match=rf"in use by `mlpq up` \(pid {os.getpid()}\) at http://127.0.0.1:1"):
        DataDirectoryLock(data_dir).acquire()
    lock.release()
    assert running_deployment(data_dir) is None
    again = DataDirectoryLock(data_dir)
    again.acquire()
    again.release()


def test_a_killed_supervisor_keeps_its_directory_until_its_processes_are_gone(data_dir: Path) -> None:
    code = (
        "import subprocess, sys; from pathlib import Path; from mlpq.up.lock import DataDirectoryLock\n"
        f"lock = DataDirectoryLock(Path({str(data_dir)!r})); lock.acquire()\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3)'], pass_fds=(lock.handle,))\n"
        "print('held', flush=True); import time; time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
    lock = DataDirectoryLock(data_dir)
    started = time.monotonic()
    lock.acquire()
    assert time.monotonic() - started > 0.5
    lock.release()


def test_a_file_in_the_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeploymentError, match="cannot be used"):
        DataDirectoryLock(tmp_path / "file" / "data").acquire()
