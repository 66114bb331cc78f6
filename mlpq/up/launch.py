"""A deployment for the length of a `with` block: the running one of a data directory, or one of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mlpq.embedded import die_with_parent
from mlpq.errors import DeploymentError
from mlpq.up.lock import running_deployment

STOP_TIMEOUT_S = 60.0


@contextmanager
def deployment(
    data_dir: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[str, bool]]:
    """Yield (url, ours): of the `mlpq up` that uses `data_dir`, else of one that ends with the block.

    Args:
        data_dir: the data directory.
        options: further arguments of `mlpq up`, for one that is started here.
        environment: default this process's.

    Raises:
        DeploymentError: it does not come up; the message is its own.
    """
    running = running_deployment(data_dir)
    if running is not None and running.get("url"):
        yield str(running["url"]), False
        return
    with tempfile.TemporaryFile() as said:
        command = [sys.executable, "-m", "mlpq", "up", "--json", "--data-dir", str(data_dir), *options]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            env=None if environment is None else dict(environment),
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid()),
        )
        try:
            yield _url_of(process, said), True
        finally:
            _stop(process)


def _url_of(process: subprocess.Popen[bytes], said: IO[bytes]) -> str:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    line = process.stdout.readline()
    if line:
        return str(json.loads(line)["url"])
    process.wait()
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    raise DeploymentError("the service did not start:\n" + "\n".join(lines[-20:]))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
