"""Files that are either whole or absent: atomic writes, staging folders, artifacts with a sha256.

A file is written under a temporary name in its own folder, flushed to the disk, renamed, and the folder is
flushed too: after a crash at any point the old content or the new content is there, never a part. Whoever
writes holds an advisory lock on the temporary file or folder, so `sweep` can tell what a dead process left behind
from what a living one is writing, without clocks or process ids.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO, Protocol

from kernels.errors import Corrupted, DiskFull, NotFound

TEMPORARY_PREFIX = ".tmp-"
"""Names of everything unfinished start with this; a reader never looks at such a name."""

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}){0,3}")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}

FileWriter = Callable[[BinaryIO], object]
"""Writes the content into an open, seekable binary file."""


@dataclass(frozen=True)
class StoredFile:
    """What was written: its key below the artifacts folder (or its path), sha256 in hex and size in bytes."""

    key: str
    sha256: str
    bytes: int


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn "no space left" and "quota exceeded" of the block into `DiskFull`; other errors pass unchanged."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFull(f"no space left on the data volume: {error.filename or 'write failed'}") from error
        raise


def sync_directory(directory: Path) -> None:
    """Flush the entries of a folder (created, renamed, removed names) to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SharedFlush:
    """Flushes the entries of one folder for whoever asks; who asks while it is being flushed shares the next time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._asking, self._flushing = threading.Lock(), threading.Lock()
        self._asked = self._flushed = 0

    def flush(self) -> None:
        """Return when every entry that was there at the call is on the disk."""
        with self._asking:
            self._asked += 1
            mine = self._asked
        with self._flushing:
            if self._flushed >= mine:
                return
            with self._asking:
                all_so_far = self._asked
            sync_directory(self._directory)
            self._flushed = all_so_far


def sha256_of(path: Path) -> str:
    """The sha256 of a file in hex, read in blocks."""
    with path.open("rb") as file:
        return sha256_of_open(file)


def sha256_of_open(file: BinaryIO) -> str:
    """The same of an open file, from where it stands."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def atomic_write(path: Path, content: bytes | FileWriter) -> StoredFile:
    """Write `path` so that it is whole or absent: temporary file, fsync, rename, fsync of the folder.

    Args:
        path: the final place; its folder is made when missing. An existing file is replaced.
        content: the bytes, or a function that writes them into an open file.

    Returns:
        The path, the sha256 of the content, and its size.

    Raises:
        DiskFull: no space left; the old file, if any, is untouched and the temporary one is gone.
    """
    with disk_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, file = _locked_temporary(path.parent)
        try:
            with file:
                digest, size = _written(file, content)
                temporary.rename(path)
            sync_directory(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return StoredFile(str(path), digest, size)


def _written(file: BufferedRandom, content: bytes | FileWriter) -> tuple[str, int]:
    """Fill the file and flush it to the disk; sha256 and size of what it holds."""
    if isinstance(content, bytes):
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        return hashlib.sha256(content).hexdigest(), len(content)
    content(file)
    file.flush()
    os.fsync(file.fileno())
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest(), size


def hidden_file(folder: Path, write: Callable[[Path], object]) -> BinaryIO:
    """A file that `write` fills and nobody else sees; its place on the disk is free again when it is closed.

    Raises:
        DiskFull: no space left.
    """
    with disk_errors():
        folder.mkdir(parents=True, exist_ok=True)
        temporary, lock = _locked_temporary(folder)
        with lock:
            try:
                write(temporary)
                return temporary.open("rb")
            finally:
                temporary.unlink(missing_ok=True)


def _locked_temporary(folder: Path) -> tuple[Path, BufferedRandom]:
    """A new temporary file, open for reading and writing, locked before anyone could sweep it."""
    while True:
        temporary = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        file = temporary.open("x+b")
        fcntl.flock(file, fcntl.LOCK_EX)
        if temporary.exists():  # else a sweep came between creating and locking
            return temporary, file
        file.close()


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """A locked temporary folder below `parent`; what `publish_folder` does not take is removed at the end."""
    with disk_errors():
        parent.mkdir(parents=True, exist_ok=True)
        folder, lock = _locked_folder(parent)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    while True:
        folder = parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        folder.mkdir()
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def publish_folder(staging: Path, target: Path) -> bool:
    """Flush every file of a staging folder and rename it to `target` in one step.

    Returns:
        Whether this call made `target`; False if it was already there (content-addressed folders are equal).
    """
    with disk_errors():
        for path in staging.rglob("*"):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(staging)
        try:
            staging.rename(target)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                return False
            raise
        sync_directory(target.parent)
    return True


def sweep(root: Path) -> int:
    """Remove what writers left unfinished below `root` when they died; what a living process writes stays.

    Returns:
        The number of temporary files and folders removed.
    """
    if not root.is_dir():
        return 0
    leftovers = list(root.rglob(f"{TEMPORARY_PREFIX}*"))
    return sum(_sweep_one(path) for path in leftovers)


def _sweep_one(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


class ArtifactStore(Protocol):
    """Immutable files by key (`<job>/<fence>-<name>`): a local folder, or any object store."""

    def put(self, key: str, content: bytes | FileWriter) -> StoredFile:
        """Store a file whole or not at all. Raises: DiskFull."""
        ...

    def open(self, key: str) -> BinaryIO:
        """Open for reading from the start, seekable. Raises: NotFound."""
        ...

    def stat(self, key: str) -> int:
        """The size in bytes. Raises: NotFound."""
        ...

    def verify(self, stored: StoredFile) -> None:
        """Read the file back and compare. Raises: NotFound, Corrupted."""
        ...

    def delete(self, key: str) -> None:
        """Remove one file; one that is absent is no error."""
        ...

    def delete_folder(self, key: str) -> None:
        """Remove every file below `key/`; an absent one is no error."""
        ...


class LocalArtifacts:
    """Artifacts in `<data_dir>/artifacts`, one folder per job."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "artifacts"
        self._folders = SharedFlush(self.root)

    def path(self, key: str) -> Path:
        """Where `key` lies on this disk (it may not exist).

        Raises:
            NotFound: the key is not one that this store makes (`../`, absolute, hidden, odd characters).
        """
        if _KEY.fullmatch(key) is None:
            raise NotFound(f"no artifact named {key[:200]!r}")
        return self.root / key

    def put(self, key: str, content: bytes | FileWriter) -> StoredFile:
        """Store a file whole or not at all; it is on the disk when this returns. Raises: DiskFull."""
        path = self.path(key)
        first = not path.parent.is_dir()
        written = atomic_write(path, content)
        if first:
            with disk_errors():
                self._folders.flush()
        return StoredFile(key, written.sha256, written.bytes)

    def open(self, key: str) -> BinaryIO:
        """Open for reading. Raises: NotFound."""
        try:
            return self.path(key).open("rb")
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFound(f"no artifact named {key!r}") from error

    def stat(self, key: str) -> int:
        """The size in bytes. Raises: NotFound."""
        try:
            return self.path(key).stat().st_size
        except FileNotFoundError as error:
            raise NotFound(f"no artifact named {key!r}") from error

    def verify(self, stored: StoredFile) -> None:
        """Read the file back and compare size and sha256. Raises: NotFound, Corrupted."""
        try:
            digest = sha256_of(self.path(stored.key))
        except FileNotFoundError as error:
            raise NotFound(f"no artifact named {stored.key!r}") from error
        if digest != stored.sha256:
            raise Corrupted(f"{stored.key} has sha256 {digest}; {stored.sha256} was written")

    def delete(self, key: str) -> None:
        """Remove one file; one that is absent is no error."""
        self.path(key).unlink(missing_ok=True)

    def delete_folder(self, key: str) -> None:
        """Remove every file below `key/`; an absent one is no error."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.path(key))

    def sweep(self) -> int:
        """Remove what dead writers left unfinished; returns how many."""
        return sweep(self.root)
