"""A way to a Redis server on which answers are lost: the request arrives, and its answer does not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit


class LossyWay:
    """Forwards every connection to `url`; the answers to the first `losses` requests that hold `mark` are swallowed."""

    def __init__(self, url: str, mark: bytes, losses: int) -> None:
        self._to, self._mark = urlsplit(url).path, mark
        self.left = losses
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._to)
                losing = threading.Event()
                for ends in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._forward, args=(*ends, losing), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, asks: bool, losing: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if asks and self.left and self._mark in data:
                    self.left -= 1
                    losing.set()
                if asks or not losing.is_set():
                    sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def lossy_way(url: str, mark: bytes, losses: int) -> Iterator[LossyWay]:
    """Such a way, until the end of the block."""
    assert Path(urlsplit(url).path).is_socket()
    way = LossyWay(url, mark, losses)
    yield way
    way.close()
