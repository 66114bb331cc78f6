"""Receives the bytes of an upload: counted, hashed and written as they come, never held in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from types import TracebackType
from typing import Self

from kernels.errors import InvalidInput, TooLarge
from store.files import disk_errors, staging_folder
from store.ingest.options import name_problem
from store.ingest.problems import CellError

MAX_FILES = 16
"""Files of one upload."""


@dataclass(frozen=True)
class Upload:
    """One received file: where it lies, what the client called it, sha256 in hex, size in bytes."""

    path: Path
    filename: str
    sha256: str
    bytes: int


class IncomingFile:
    """One file on its way in; a context manager. `Intake.file` makes it.

    Args:
        intake: the upload that it is part of, which owns the byte budget.
        path: the new file.
        filename: the client's name for it.
    """

    def __init__(self, intake: Intake, path: Path, filename: str) -> None:
        self._intake = intake
        self._hash = hashlib.sha256()
        self._file: BufferedWriter = path.open("wb")
        self.path = path
        self.filename = filename
        self.bytes = 0

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take in the next bytes.

        Raises:
            TooLarge: the upload has more bytes than it may; nothing of this chunk was written.
            DiskFull: no space left.
        """
        self._intake.count(len(chunk))
        with disk_errors():
            self._file.write(chunk)
        self._hash.update(chunk)
        self.bytes += len(chunk)

    def close(self) -> None:
        """All bytes are in: flush them. Raises: DiskFull."""
        with disk_errors():
            self._file.close()

    def abandon(self) -> None:
        """Let go of the file as it is; on a full disk its last bytes are lost, which nobody will read."""
        with suppress(OSError):
            self._file.close()

    @property
    def upload(self) -> Upload:
        """The file as received so far."""
        return Upload(self.path, self.filename, self._hash.hexdigest(), self.bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Intake:
    """One upload of one or more files into a temporary folder, with one byte budget for all of them.

    Args:
        folder: where the files go; whoever made it removes it.
        max_bytes: the budget.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.bytes = 0
        self._files: list[IncomingFile] = []

    def file(self, filename: str) -> IncomingFile:
        """Begin the next file. Raises: InvalidInput for a name that misleads, or too many files."""
        problem = name_problem(filename)
        if problem is not None:
            raise InvalidInput(CellError("/file/filename", problem))
        if len(self._files) >= MAX_FILES:
            raise InvalidInput(CellError("/file", f"came more than {MAX_FILES} times"))
        with disk_errors():
            incoming = IncomingFile(self, self.folder / f"upload-{len(self._files)}", filename)
        self._files.append(incoming)
        return incoming

    def count(self, n_bytes: int) -> None:
        """Charge bytes to the budget. Raises: TooLarge."""
        if self.bytes + n_bytes > self.max_bytes:
            raise TooLarge(f"the upload has more than {self.max_bytes} bytes; that is the limit of this service")
        self.bytes += n_bytes

    def abandon(self) -> None:
        """Let go of every file, whole or not."""
        for incoming in self._files:
            incoming.abandon()

    def uploads(self) -> list[Upload]:
        """The files received, in order; each must be closed."""
        return [incoming.upload for incoming in self._files]


@contextmanager
def receive(parent: Path, max_bytes: int) -> Iterator[Intake]:
    """An intake in a temporary folder below `parent`, which is gone when the block ends, or the process dies."""
    with staging_folder(parent) as folder:
        intake = Intake(folder, max_bytes)
        try:
            yield intake
        finally:
            intake.abandon()
