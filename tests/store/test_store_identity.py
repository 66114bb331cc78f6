"""A Redis database and a data directory belong together: found out at every start, and after a loss."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from kernels.errors import ForeignStore
from mlpq.embedded import EmbeddedServer
from store.files import TEMPORARY_PREFIX
from store.identity import FILE, Ownership, identity_of


def test_the_identity_of_a_directory_is_made_once(data_dir: Path) -> None:
    made = identity_of(data_dir)
    assert re.fullmatch("dir_[0-9a-f]{20}", made)
    assert identity_of(data_dir) == made
    assert not list(data_dir.glob(f"{TEMPORARY_PREFIX}*"))


def test_many_first_starts_at_once_get_one_identity(data_dir: Path) -> None:
    code = "import sys, pathlib; from store.identity import identity_of; print(identity_of(pathlib.Path(sys.argv[1])))"
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(subprocess.check_output, [sys.executable, "-c", code, str(data_dir)]) for _ in range(8)]
    assert len({run.result() for run in runs}) == 1


def test_threads_that_make_an_identity_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        for round_ in range(30):
            folder = tmp_path / str(round_)
            assert len(set(pool.map(lambda _, folder=folder: identity_of(folder), range(16)))) == 1


def test_an_empty_database_is_adopted_and_then_refuses_others(redis: Redis, tmp_path: Path) -> None:
    first, second = Ownership(redis, tmp_path / "a"), Ownership(redis, tmp_path / "b")
    first.check()
    with pytest.raises(ForeignStore) as refused:
        second.check()
    text = str(refused.value)
    for word in (tmp_path / "a", tmp_path / "b", identity_of(tmp_path / "a"), identity_of(tmp_path / "b")):
        assert str(word) in text
    assert "--redis-url" in text
    assert "--data-dir" in text
    assert "\n" not in text
    first.check()


def test_a_database_that_lost_everything_is_adopted_again(redis: Redis, tmp_path: Path) -> None:
    first, second = Ownership(redis, tmp_path / "a"), Ownership(redis, tmp_path / "b")
    first.check()
    redis.flushdb()
    first.check()
    with pytest.raises(ForeignStore):
        second.check()


def test_one_directory_seen_by_several_hosts_is_one(redis: Redis, tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "mounted")
    Ownership(redis, tmp_path / "mounted").check()
    Ownership(redis, tmp_path / "elsewhere").check()


def test_another_database_number_of_the_same_server_is_another_store(valkey: EmbeddedServer, tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        with Redis.from_url(valkey.url, db=number) as database:
            database.flushdb()
            Ownership(database, tmp_path / name).check()


def test_a_directory_whose_identity_was_lost_is_refused(redis: Redis, data_dir: Path) -> None:
    Ownership(redis, data_dir).check()
    (data_dir / FILE).unlink()
    with pytest.raises(ForeignStore):
        Ownership(redis, data_dir).check()


def test_the_command_says_it_in_one_line(redis: Redis, valkey: EmbeddedServer, tmp_path: Path) -> None:
    def asked(name: str, url: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"REDIS_URL": url, "MLPQ_DATA_DIR": str(tmp_path / name)}
        command = [sys.executable, "-m", "store.identity"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert asked("a", valkey.url).returncode == 0
    other = asked("b", valkey.url)
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert str(tmp_path / "a") in other.stderr
    assert asked("b", "redis://127.0.0.1:9/0").returncode == 0
