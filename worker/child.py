"""`python -m worker.child`: the warm training process. Started by a worker, of no use alone.

It imports numerics and opens the device before the first job, keeps prepared data and compiled kernels between jobs,
and ends with its worker: by the kernel's parent-death signal, and by the end of their channel.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import os
import queue
import signal
import socket
import sys
import threading
from pathlib import Path

from kernels.backend import Backend, select
from kernels.errors import MlpqError, StoreUnavailable
from store.clocks import LEASE_S
from store.connection import connect
from store.datasets import DatasetStore
from store.jobs import JobStore
from store.records import Claim
from worker import failpoints, log
from worker.asking import answered
from worker.channel import Channel, ChannelClosedError, Message
from worker.compiler import Compiler
from worker.data import DataCache
from worker.memory import total_bytes
from worker.outage import Outage
from worker.publish import Files
from worker.runner import Runner
from worker.settings import DATA_CACHE_BYTES, EXIT_UNUSABLE, SWITCH_S

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill us when our worker ends, however it ends; leave at once if it already has."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class Inbox:
    """What the worker says, read by a thread: "run" waits its turn, "stop" and the end of the worker do not."""

    def __init__(self, channel: Channel) -> None:
        self.stopping = threading.Event()
        self._channel = channel
        self._runs: queue.SimpleQueue[bool] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="inbox", daemon=True).start()

    def next_run(self) -> bool:
        """Wait until there is something to run (True), or nothing ever will be (False)."""
        return self._runs.get() and not self.stopping.is_set()

    def stop(self) -> None:
        """End after what is running was given back."""
        self.stopping.set()
        self._runs.put(False)

    def _listen(self) -> None:
        while True:
            try:
                message = self._channel.receive()
            except ChannelClosedError:
                os._exit(1)  # an orphan must not train on: the job is about to be given to someone else
            if message is not None and message["do"] == "run":
                self._runs.put(True)
            else:
                self.stop()


class Child:
    """The loop of the training process: claim what is next, run it, say that we are idle."""

    def __init__(self, arguments: argparse.Namespace, channel: Channel, inbox: Inbox, backend: Backend) -> None:
        connection = connect(os.environ["REDIS_URL"], "fail_fast")
        data_dir = Path(arguments.data_dir)
        self._worker_id = arguments.worker_id
        self._channel = channel
        self._inbox = inbox
        self._device = backend.device
        self._jobs = JobStore(connection)
        self._outage = Outage("claim")
        self._compiler = Compiler(arguments.nice, self._tell)
        data = DataCache(DatasetStore(connection, data_dir), DATA_CACHE_BYTES)
        self._runner = Runner(
            self._jobs, data, Files(data_dir), backend, inbox.stopping, self._tell, self._leave, self._compiles
        )

    def serve(self) -> None:
        """Act on each "run" until told to stop; a job that comes before code is loaded or compiled waits for it."""
        self._compiler.start()
        while self._inbox.next_run():
            claims = self._claim()
            recycle = self._runner.run(claims) if claims else False
            self._tell({"event": "idle", "recycle": recycle or self._inbox.stopping.is_set()})

    def _claim(self) -> list[Claim]:
        """What to train now: the best queued job, or nothing when another worker was quicker."""
        failpoints.reach("before_claim")
        try:
            claim = answered(
                lambda token: self._jobs.claim(self._worker_id, LEASE_S, self._device, token),
                self._inbox.stopping,
                self._outage,
            )
        except StoreUnavailable as error:
            log.warning("claim_failed", detail=str(error))  # the reaper sees to it that the job is found again
            return []
        if claim is None:
            return []
        failpoints.reach("after_claim")
        return [claim]

    def _compiles(self) -> bool:
        """Whether runs wait for code that is being compiled."""
        return self._compiler.compiles and self._device == "cpu"

    def _leave(self) -> None:
        """End at once, whatever the main thread is busy with; the worker starts another process."""
        self._tell({"event": "idle", "recycle": True})
        os._exit(0)

    def _tell(self, message: Message) -> None:
        try:
            self._channel.send(message)
        except ChannelClosedError:
            os._exit(1)


def _memory(backend: Backend) -> dict[str, int | None]:
    """For the worker registry; how much a GPU has in total is not asked."""
    total = total_bytes() if backend.device == "cpu" else None
    return {"memory_free_bytes": backend.free_bytes(), "memory_total_bytes": total}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.child", description=__doc__)
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    for option in ("--data-dir", "--device", "--name", "--worker-id"):
        parser.add_argument(option, required=True)
    parser.add_argument("--nice", type=int, required=True)
    return parser.parse_args()


def main() -> int:
    """Run until the worker says stop, or is gone."""
    arguments = _parse()
    die_with_parent(arguments.parent)
    faulthandler.enable()
    sys.setswitchinterval(SWITCH_S)
    log.setup(arguments.name, "trainer")
    channel = Channel(socket.socket(fileno=arguments.channel))
    inbox = Inbox(channel)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: inbox.stop())
    try:
        backend = select(arguments.device)
    except MlpqError as error:
        channel.send({"event": "unusable", "message": str(error)})
        return EXIT_UNUSABLE
    child = Child(arguments, channel, inbox, backend)
    channel.send({"event": "ready", "device": backend.device, "backend": backend.name, **_memory(backend)})
    child.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
