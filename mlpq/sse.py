"""Server-sent events, parsed as they arrive: bytes in, events out, no I/O.

Source: WHATWG HTML, section 9.2.6 "Interpreting an event stream". Lines end with CR, LF or CRLF; a chunk may end
anywhere, also inside a CRLF or inside a UTF-8 sequence; an event that was not closed by an empty line is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class ServerEvent:
    """One dispatched event.

    Attributes:
        type: the `event` field, `message` when there was none.
        data: the `data` lines, joined by newlines.
        id: the last id seen on the stream, `""` before the first.
    """

    type: str
    data: str
    id: str


class EventParser:
    """Turns a byte stream into events; one parser per connection.

    Attributes:
        last_event_id: what a reconnecting client sends as `Last-Event-ID`.
        retry_ms: the server's wish for the reconnection delay, or None.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._rest = bytearray()
        self._searched = 0
        self._after_cr = False
        self._at_start = True
        self._type = ""
        self._data: list[str] = []
        self._id = last_event_id

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Take the next bytes; return the events that they complete, possibly none."""
        self._rest += chunk
        if self._at_start and not self._skip_byte_order_mark():
            return []
        events = []
        while (line := self._next_line()) is not None:
            event = self._take(line)
            if event is not None:
                events.append(event)
        return events

    def _skip_byte_order_mark(self) -> bool:
        """Whether the beginning is known; a prefix of the mark must wait for more bytes."""
        if len(self._rest) < len(_BOM) and _BOM.startswith(self._rest):
            return False
        if self._rest.startswith(_BOM):
            del self._rest[: len(_BOM)]
        self._at_start = False
        return True

    def _next_line(self) -> str | None:
        """The next complete line without its end, or None; each byte is looked at once."""
        if self._after_cr and self._rest:
            if self._rest[0] == 0x0A:
                del self._rest[0]
            self._after_cr = False
        newline = self._rest.find(b"\n", self._searched)
        end = newline if newline >= 0 else len(self._rest)
        carriage = self._rest.find(b"\r", self._searched, end)
        if carriage >= 0:
            end, self._after_cr = carriage, True
        elif newline < 0:
            self._searched = len(self._rest)
            return None
        line = self._rest[:end].decode(errors="replace")
        del self._rest[: end + 1]
        self._searched = 0
        return line

    def _take(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> ServerEvent | None:
        self.last_event_id = self._id
        event = ServerEvent(self._type or "message", "\n".join(self._data), self._id) if self._data else None
        self._type, self._data = "", []
        return event
