"""Checkpoints come back bit for bit; a damaged one is passed over, and said so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from redis import Redis

from kernels.errors import Corrupted, DiskFull
from store.checkpoints import Checkpoints
from store.files import LocalArtifacts
from store.jobs import JobStore
from store.records import Claim
from tests.store.store_parts import new_job

ARRAYS = {
    "parameters": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "velocity": np.array([np.nan, np.inf, -0.0, 5e-324]),
    "step": np.int64(2**53 + 1),
    "active": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float16),
}


@pytest.fixture
def checkpoints(data_dir: Path) -> Checkpoints:
    return Checkpoints(LocalArtifacts(data_dir))


@pytest.fixture
def claim(redis: Redis) -> Claim:
    store = JobStore(redis)
    store.create(new_job())
    taken = store.claim("w")
    assert taken is not None
    return taken


def test_a_checkpoint_comes_back_bit_for_bit(checkpoints: Checkpoints) -> None:
    manifest = checkpoints.put("job_1", 2, 300, 4, ARRAYS)
    assert (manifest["step"], manifest["epoch"], manifest["fence"]) == (300, 4, 2)
    loaded = checkpoints.load(manifest)
    assert list(loaded) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == np.asarray(array).dtype
        assert loaded[name].shape == np.asarray(array).shape
        assert loaded[name].tobytes() == np.asarray(array).tobytes(), name


def test_equal_states_give_equal_files(checkpoints: Checkpoints) -> None:
    first, second = (checkpoints.put("job_1", fence, 1, 0, ARRAYS) for fence in (1, 2))
    assert first["sha256"] == second["sha256"]


@pytest.mark.parametrize("bad", [np.array([object()]), np.array(["text"]), np.array([1 + 2j])])
def test_only_numbers_are_stored(checkpoints: Checkpoints, bad: np.ndarray) -> None:
    with pytest.raises(TypeError, match="'bad' has dtype"):
        checkpoints.put("job_1", 1, 1, 0, {"bad": bad})
    assert not checkpoints.artifacts.root.exists()


def test_the_newest_is_loaded(checkpoints: Checkpoints, redis: Redis, claim: Claim) -> None:
    store = JobStore(redis)
    for step in (10, 20, 30):
        manifest = checkpoints.put(claim.job_id, claim.fence, step, 1, {"step": np.int64(step)})
        store.write(claim, checkpoint=manifest)
    restored = checkpoints.load_latest(store.get(claim.job_id))
    assert restored.arrays is not None
    assert restored.arrays["step"] == 30
    assert restored.problems == ()


def test_a_second_checkpoint_of_a_step_leaves_the_first_as_the_record_knows_it(
    checkpoints: Checkpoints, redis: Redis, claim: Claim
) -> None:
    """A stack that broke goes on from its last checkpoint under the same claim, and folds outlast their own model."""
    store, manifests = JobStore(redis), []
    for elapsed in (1.0, 2.0, 3.0):
        manifests.append(checkpoints.put(claim.job_id, claim.fence, 30, 3, {"elapsed_s": np.array(elapsed)}))
        restored = checkpoints.load_latest(store.get(claim.job_id))
        assert restored.problems == (), "a crash here, before the record names the new one, loses nothing"
        store.write(claim, checkpoint=manifests[-1])
    assert checkpoints.prune(claim.job_id, claim.fence, tuple(manifests[1:])) == 1
    assert [checkpoints.load(manifest)["elapsed_s"] for manifest in manifests[1:]] == [2.0, 3.0]


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_checkpoint_is_passed_over_and_said_so(
    checkpoints: Checkpoints, redis: Redis, claim: Claim, damage: str
) -> None:
    store = JobStore(redis)
    manifests = [checkpoints.put(claim.job_id, claim.fence, n, 1, {"n": np.int64(n)}) for n in (1, 2)]
    for manifest in manifests:
        store.write(claim, checkpoint=manifest)
    paths = [checkpoints.artifacts.path(manifest["key"]) for manifest in manifests]

    def break_file(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content) if damage == "flipped" else bytes(content[:-10]))
        if damage == "gone":
            path.unlink()

    break_file(paths[1])
    restored = checkpoints.load_latest(store.get(claim.job_id))
    assert restored.manifest == manifests[0]
    assert len(restored.problems) == 1
    assert "checkpoint of step 2 passed over" in restored.problems[0]
    break_file(paths[0])
    nothing = checkpoints.load_latest(store.get(claim.job_id))
    assert (nothing.arrays, nothing.manifest, len(nothing.problems)) == (None, None, 2)


def test_a_job_without_checkpoints_starts_anew(checkpoints: Checkpoints, claim: Claim) -> None:
    assert checkpoints.load_latest(claim.job) == type(checkpoints.load_latest(claim.job))(None, None, ())


def test_a_file_that_is_no_archive_is_corrupt(checkpoints: Checkpoints) -> None:
    stored = checkpoints.artifacts.put("job_1/1-checkpoint-1.npz", b"PK nonsense")
    with pytest.raises(Corrupted, match="is no checkpoint"):
        checkpoints.load({"key": stored.key, "sha256": stored.sha256, "bytes": stored.bytes, "step": 1})


def test_pruning_keeps_what_the_record_names_and_every_later_claims_files(checkpoints: Checkpoints) -> None:
    mine = [checkpoints.put("job_1", 2, step, 0, {"n": np.int64(step)}) for step in (1, 2, 3)]
    before = checkpoints.put("job_1", 1, 9, 0, {"n": np.int64(0)})
    later = checkpoints.put("job_1", 3, 1, 0, {"n": np.int64(0)})
    other = checkpoints.put("job_2", 1, 1, 0, {"n": np.int64(0)})
    weights = checkpoints.artifacts.put("job_1/1-weights.npz", b"x")
    assert checkpoints.prune("job_1", 2, (mine[2], mine[1])) == 2
    for manifest in (mine[1], mine[2], later, other):
        checkpoints.load(manifest)
    checkpoints.artifacts.verify(weights)
    for manifest in (mine[0], before):
        assert not checkpoints.artifacts.path(manifest["key"]).exists()


def test_a_full_disk_leaves_the_earlier_checkpoint(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own ENOSPC, from `/dev/full`, in the middle of writing an archive."""
    earlier = checkpoints.put("job_1", 1, 1, 0, ARRAYS)

    class Fills:
        dtype = np.dtype(np.float64)

        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            with Path("/dev/full").open("wb", buffering=0) as full:
                full.write(b"x")
            raise AssertionError("a full disk took a byte")

    with pytest.raises(DiskFull):
        checkpoints.artifacts.put("job_1/1-checkpoint-2.npz", lambda file: np.savez(file, a=np.asarray(Fills())))
    checkpoints.load(earlier)
    assert [path.name for path in checkpoints.artifacts.path("job_1").iterdir()] == ["1-checkpoint-1.npz"]
