"""Uploads, from the connection to the disk: multipart forms and raw bodies, in constant memory, beside the event loop.

A client may send gigabytes. Chunks are gathered to about a megabyte, then one thread parses and writes them; nothing
is spooled twice, and nothing is kept of a body that turns out too long or broken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol

from anyio.to_thread import run_sync
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from kernels.errors import InvalidInput, MalformedInput, TooLarge
from service.strict_json import parse
from service.text import echo
from store.ingest.formats import check_options
from store.ingest.intake import IncomingFile, Intake
from store.ingest.options import IngestOptions

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

BATCH_BYTES = 1 << 20
"""Gathered before a thread is asked to write."""

OPTIONS_BYTES = 1 << 20
"""Of the form field `options`: names of many columns fit."""

OPTIONS = frozenset(option.name for option in fields(IngestOptions))
"""What that field may say."""

HEADER_BYTES = 8 * 1024
"""Of all headers of one part."""

PARTS = 64
"""Of one form, empty ones counted too."""


class Receiver(Protocol):
    """Takes the bytes of a body; `options` is the JSON text beside the files, `chosen` what it says."""

    options: bytes | None
    chosen: Mapping[str, Any]

    def feed(self, data: bytes) -> None:
        """The next bytes."""

    def finish(self) -> None:
        """The body has ended."""


async def pour(chunks: AsyncIterator[bytes], receiver: Receiver) -> None:
    """Everything that comes, into `receiver`, in a thread and about a megabyte at a time."""
    gathered: list[bytes] = []
    size = 0
    async for chunk in chunks:
        gathered.append(chunk)
        size += len(chunk)
        if size >= BATCH_BYTES:
            await run_sync(receiver.feed, b"".join(gathered))
            gathered, size = [], 0
    await run_sync(_end, receiver, b"".join(gathered))


def _end(receiver: Receiver, rest: bytes) -> None:
    receiver.feed(rest)
    receiver.finish()


def read_options(text: bytes | None) -> dict[str, Any]:
    """The options that `text` says, checked as far as they can be without the files.

    Raises: MalformedInput, InvalidInput.
    """
    value = parse(text, "the field options") if text is not None and text.strip() else {}
    if not isinstance(value, dict):
        raise InvalidInput.at("/options", f"is {echo(value)}; must be a JSON object")
    check_options(value)
    return value


class RawBody:
    """The body is the file. Raises MalformedInput or InvalidInput for bad options, or a file name that misleads."""

    def __init__(self, intake: Intake, filename: str, options: str | None) -> None:
        self._file = intake.file(filename)
        self.options = None if options is None else options.encode("utf-8", "surrogatepass")
        self.chosen: Mapping[str, Any] = read_options(self.options)

    def feed(self, data: bytes) -> None:
        """The next bytes of the file."""
        self._file.write(data)

    def finish(self) -> None:
        """The file is complete. Raises InvalidInput if it is empty."""
        self._file.close()
        if self._file.bytes == 0:
            raise InvalidInput.at("/file", "is empty")


class MultipartBody:
    """A form: parts `file` (repeatable), at most one field `options`.

    Args:
        intake: takes the files.
        content_type: the request's Content-Type, with the boundary.

    Raises:
        MalformedInput: no boundary, or (from `feed`, `finish`) no multipart body, options that are not JSON.
        InvalidInput: an unknown field, no file, a file name that misleads, bad options as soon as they have come.
    """

    def __init__(self, intake: Intake, content_type: str) -> None:
        self.options: bytes | None = None
        self.chosen: Mapping[str, Any] = {}
        self._intake = intake
        self._file: IncomingFile | None = None
        self._field: bytearray | None = None
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._parts = self._files = 0
        self._complete = False
        _, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:
            raise MalformedInput("multipart/form-data needs a boundary of 1..70 characters")
        self._parser = MultipartParser(boundary, self._callbacks())

    def feed(self, data: bytes) -> None:
        """The next bytes of the form."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise MalformedInput(f"the multipart body is broken: {error}") from None

    def finish(self) -> None:
        """The form is complete."""
        if not self._complete:
            raise MalformedInput("the multipart body ends before its last boundary")
        if self._files == 0:
            raise InvalidInput.at("/file", "is required: a part named file with the data")

    def _callbacks(self) -> MultipartCallbacks:
        def data_of(take: Callable[[bytes], None]) -> Callable[[bytes, int, int], None]:
            return lambda data, start, end: take(data[start:end])

        return {
            "on_part_begin": self._begin,
            "on_header_begin": self._header_begin,
            "on_header_field": data_of(self._header_name),
            "on_header_value": data_of(self._header_value),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": data_of(self._data),
            "on_part_end": self._part_end,
            "on_end": self._all_end,
        }

    def _begin(self) -> None:
        self._headers, self._file, self._field = {}, None, None
        self._parts += 1
        if self._parts > PARTS:
            raise TooLarge(f"the form has more than {PARTS} parts")

    def _header_begin(self) -> None:
        self._name = self._value = b""

    def _header_name(self, data: bytes) -> None:
        self._name += data
        self._check_headers()

    def _header_value(self, data: bytes) -> None:
        self._value += data
        self._check_headers()

    def _check_headers(self) -> None:
        if len(self._name) + len(self._value) > HEADER_BYTES or len(self._headers) > 16:
            raise MalformedInput("a part of the form has headers that are too long")

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value

    def _headers_end(self) -> None:
        kind, parameters = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = parameters.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or name not in {"file", "options"}:
            raise InvalidInput.at(f"/{name[:50]}", _unknown_part(name))
        if name == "file":
            filename = parameters.get(b"filename", b"upload").decode("utf-8", "replace")
            self._file = self._intake.file(filename)
            self._files += 1
        elif self.options is not None:
            raise InvalidInput.at("/options", "is given twice")
        else:
            self._field = bytearray()

    def _data(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)
        elif self._field is not None:
            self._field += data
            if len(self._field) > OPTIONS_BYTES:
                raise TooLarge(f"the field options has more than {OPTIONS_BYTES} bytes")

    def _part_end(self) -> None:
        if self._file is not None:
            self._file.close()
        elif self._field is not None:
            self.options = bytes(self._field)
            self.chosen = read_options(self.options)

    def _all_end(self) -> None:
        self._complete = True


def _unknown_part(name: str) -> str:
    """What is wrong with a part of a form; that of an option is told where options go."""
    if name in OPTIONS:
        return f'is an option; they are one part: options={{"{name}": …}}'
    return f"is {echo(name)}; parts are named file or options"
