"""Which data directory a Redis database serves. Records without their files are worth nothing, so each names the other.

The directory holds its identity in a small file, made on first use; the first process that comes to an empty database
writes the identity there, and everyone compares. `python -m store.identity` asks for those who import no store.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import cast

import orjson
from redis import Redis

from kernels.errors import DiskFull, ForeignStore, StoreUnavailable
from store import keys
from store.connection import connect, redis_errors
from store.files import TEMPORARY_PREFIX
from store.records import encode

FILE = "identity"
"""Its name in the data directory."""

EXIT_FOREIGN = 2


def identity_of(data_dir: Path) -> str:
    """The identity of a data directory, which is made when missing. Any number of processes and hosts get the same.

    Raises:
        OSError: the directory cannot be read or written.
    """
    path = data_dir / FILE
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        _make(path)
    return path.read_text(encoding="ascii").strip()


def _make(path: Path) -> None:
    """Write a new identity unless another process is quicker: the file appears whole, and never changes."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    with temporary.open("x", encoding="ascii") as file:
        file.write(f"dir_{secrets.token_hex(10)}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
    except OSError:  # a file system without hard links; then only two first starts at the same moment can differ
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Ownership:
    """The bond of one data directory and one Redis database.

    Raises:
        OSError: the directory cannot be read or written.
    """

    def __init__(self, redis: Redis, data_dir: Path) -> None:
        self._redis = redis
        self._path = data_dir.absolute()
        self._id = identity_of(data_dir)

    def check(self) -> None:
        """Make the database ours if it is nobody's, as after it has lost everything.

        Raises:
            ForeignStore: it belongs to another data directory.
            StoreUnavailable: it cannot be asked.
        """
        mine = {"id": self._id, "directory": str(self._path), "host": socket.gethostname()}
        with redis_errors():
            found = cast("bytes | None", self._redis.set(keys.DATA_DIR, encode(mine), nx=True, get=True))
        owner = mine if found is None else orjson.loads(found)
        if owner["id"] != self._id:
            raise ForeignStore(
                f"this Redis database serves the data directory {owner['directory']} of {owner['host']} ({owner['id']})"
                f" and not {self._path} ({self._id}): use another database number in --redis-url,"
                " or that directory as --data-dir"
            )


def main() -> int:
    """Check what `REDIS_URL` and `MLPQ_DATA_DIR` name; a database that is away is nobody's for now."""
    try:
        Ownership(connect(os.environ["REDIS_URL"]), Path(os.environ["MLPQ_DATA_DIR"])).check()
    except (StoreUnavailable, DiskFull):
        return 0
    except (ForeignStore, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FOREIGN
    return 0


if __name__ == "__main__":
    sys.exit(main())
