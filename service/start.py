"""Puts an API process together and runs it under uvicorn; it stops within seconds even with open streams."""

from __future__ import annotations

import gc
import logging
import resource
import signal
import socket
import sys
from contextlib import suppress

import uvicorn

from kernels.errors import DiskFull, ForeignStore, StoreUnavailable
from service.app import create_app
from service.context import Services
from service.settings import EXIT_REFUSED, Settings

BACKLOG = 2048

COLLECT_AFTER = 50_000
"""Objects after which Python looks for cycles: an answer from the store makes as many at once, and none of them."""


class Server(uvicorn.Server):
    """Uvicorn, with streams told to end, and whoever waits for an end answered, before it waits for open requests."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let streams and waiting end, then stop as usual."""
        self._services.feed.drain()
        self._services.ends.drain()
        await super().shutdown(sockets)


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; the exit status is 0 after a stop, 2 when it refused to start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        app = create_app(settings)
        _check_ownership(app.state.services)
    except (ForeignStore, OSError) as refusal:
        sys.stderr.write(f"mlpq: {refusal}\n")
        return EXIT_REFUSED
    _allow_many_connections()
    _collect_less()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=settings.shutdown_s,
    )
    server = Server(config, app.state.services)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Uvicorn raises the signal again after a graceful stop; then it has done its work.
        signal.signal(number, lambda *_: None)
    server.run()
    return 0 if server.started else 1


def _check_ownership(services: Services) -> None:
    """Refuse a store that belongs to another data directory; one that is away is looked at again later.

    Raises:
        ForeignStore: naming both directories.
    """
    with suppress(StoreUnavailable, DiskFull):
        services.check_ownership()


def _allow_many_connections() -> None:
    """Thousands of streams need as many descriptors; the soft limit is often 1 024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _collect_less() -> None:
    """What was imported stays; cycles are rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
