"""The socket pair between a worker and its training process: one JSON object per line, both ways.

    worker -> training process   {"do": "run"} · {"do": "stop"}
    training process -> worker   {"event": "ready", "device": …} · {"event": "unusable", "message": …} ·
                                 {"event": "claimed", "jobs": […]} · {"event": "released", "job": …} ·
                                 {"event": "waits", "jobs": […]} · {"event": "begins", "jobs": […]} ·
                                 {"event": "progress", …} · {"event": "idle", "recycle": bool} ·
                                 {"event": "kernels", "state": "compiling" | "ready"}

Jobs that wait for a seat do nothing that could end the process, those that begin (to be prepared, to train) do.
The end of the stream is a message too: the other process is gone.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from typing import Any

Message = dict[str, Any]


class ChannelClosedError(Exception):
    """The other end of the channel is gone."""


class Channel:
    """One end. `send` may be called from any thread, `receive` from one."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._unread = b""
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """The socket's descriptor, to be inherited by the training process."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send one message. Raises: ChannelClosedError."""
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        try:
            with self._sending:
                self._socket.sendall(line)
        except OSError as error:
            raise ChannelClosedError from error

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None when none came in `timeout_s` (None waits for ever). Raises: ChannelClosedError."""
        while b"\n" not in self._unread:
            readable, _, _ = select.select([self._socket], [], [], timeout_s)
            if not readable:
                return None
            try:
                received = self._socket.recv(65536)
            except OSError as error:
                raise ChannelClosedError from error
            if not received:
                raise ChannelClosedError
            self._unread += received
        line, self._unread = self._unread.split(b"\n", 1)
        message: Message = json.loads(line)
        return message

    def close(self) -> None:
        """Close this end; the other one reads the end of the stream."""
        self._socket.close()
