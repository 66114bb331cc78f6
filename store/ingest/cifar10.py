"""CIFAR-10's binary version: an archive of batches, each record a label byte and 3 x 32 x 32 pixel bytes by channel.

Any number of classes and of records per batch. `data_batch_*.bin` come in the order of their numbers, then
`test_batch.bin`, and the record says how many rows of each (`parts`); `batches.meta.txt` names the classes, one a line.
`part` selects the training or the test batches.
A single batch without an archive is taken too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.errors import TooLarge
from store.ingest import tar
from store.ingest.arrays import block_rows
from store.ingest.images import row_layout, write_images
from store.ingest.inflate import check_inflates, most_inflated_bytes, open_bytes
from store.ingest.limits import MAX_CLASSES
from store.ingest.options import Request, name_problem
from store.ingest.parts import with_parts
from store.ingest.problems import of_file, of_option, shown
from store.ingest.targets import Target, target_of_codes, target_of_numbers

DOC = "CIFAR-10's binary archive (tar, may be gzipped): data_batch_*.bin, test_batch.bin, batches.meta.txt"

TARGET_NAME = "label"
"""What the labels are called."""

HEIGHT, WIDTH, CHANNELS = 32, 32, 3
RECORD_BYTES = 1 + CHANNELS * HEIGHT * WIDTH

_BATCH = re.compile(r"(?:data_batch_([0-9]{1,4})|(test_batch))\.bin")
_TEST_PLACE = 10_000
_TEST_FILE = f"batch-{_TEST_PLACE}"
_META = "batches.meta.txt"
_META_BYTES = 1 << 20
_SHOWN_FILES = 3

Bytes = npt.NDArray[np.uint8]


def read(request: Request) -> dict[str, Any]:
    """Read the batches; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    options = request.options
    if options.target not in {None, TARGET_NAME}:
        raise of_option("target", f"is {shown(options.target)}; of these images it is {shown(TARGET_NAME)}")
    names, batches = _unpacked(request)
    labels = np.concatenate([block[:, 0] for batch in batches for block in _records(batch)])
    layout = row_layout("images", np.dtype(np.uint8), (len(labels), HEIGHT, WIDTH, CHANNELS))
    pixels = (_pixels(block) for batch in batches for block in _records(batch))
    info = write_images(pixels, layout, _target(labels, names, options.task), TARGET_NAME, request)
    n_test = sum(path.stat().st_size for path in batches if path.name == _TEST_FILE) // RECORD_BYTES
    return with_parts(info, n_test)


def _target(labels: Bytes, names: list[str], task: str) -> Target:
    if not names or task == "regression":
        return target_of_numbers(TARGET_NAME, labels.astype(np.float64), "classification" if task == "auto" else task)
    if labels.max() >= len(names):
        row = int((labels >= len(names)).argmax())
        raise of_file(f"record {row + 1} has the label {labels[row]}; {_META} names {len(names)} classes")
    return target_of_codes(TARGET_NAME, labels.astype(np.int64), names)


def _unpacked(request: Request) -> tuple[list[str], list[Path]]:
    """The class names, and the batches as plain files in the request's folder, in order."""
    source, limits = request.sources[0], request.limits
    held = check_inflates(source.path, limits)
    names: list[str] = []
    found: dict[int, Path] = {}
    others: list[str] = []
    with open_bytes(source.path, limits) as stream:
        if not _is_archive(source.path, request):
            if held % RECORD_BYTES:
                raise of_file(f"has {held} bytes; must be a tar archive, or a batch of records of {RECORD_BYTES} bytes")
            found[0] = _write(request.folder / "batch", iter(lambda: stream.read(1 << 18), b""))
            return names, [found[0]] if held else _none(request)
        room = most_inflated_bytes(source.path.stat().st_size, limits)
        for member in tar.members(stream):
            room -= member.size
            if room < 0:
                raise TooLarge(f"the archive declares more than the {held} bytes that it inflates to")
            name = PurePosixPath(member.name).name
            batch = _BATCH.fullmatch(name)
            if name == _META:
                names = _class_names(member)
            elif batch is None:
                others += [member.name] if len(others) < _SHOWN_FILES else []
            elif _is_wanted(request, batch):
                place = _TEST_PLACE if batch[2] else int(batch[1])
                if place in found or member.size % RECORD_BYTES:
                    raise of_file(
                        f"holds {shown(name)} twice"
                        if place in found
                        else f"{shown(name)} has {member.size} bytes; must be records of {RECORD_BYTES} bytes"
                    )
                found[place] = _write(request.folder / f"batch-{place}", member.pieces())
    batches = [found[place] for place in sorted(found) if found[place].stat().st_size]
    return names, batches or _none(request, others)


def _is_archive(path: Path, request: Request) -> bool:
    with open_bytes(path, request.limits) as stream:
        head = stream.read(tar.BLOCK_BYTES)
    name = request.sources[0].filename.lower().removesuffix(".gz")
    return tar.begins(head) or name.endswith((".tar", ".tgz"))


def _is_wanted(request: Request, batch: re.Match[str]) -> bool:
    return request.options.part in {None, "test" if batch[2] else "train"}


def _none(request: Request, others: Sequence[str] = ()) -> list[Path]:
    part = request.options.part
    if any(PurePosixPath(name).name in {"data_batch_1", "batches.meta"} for name in others):
        raise of_file("is the Python version of CIFAR-10, of pickles, which are never loaded; send the binary version")
    wanted = {"train": "data_batch_*.bin", "test": "test_batch.bin"}.get(part or "", "data_batch_*.bin, test_batch.bin")
    if others:
        raise of_file(
            f"holds {', '.join(map(shown, others))}, and no records: looked for {wanted}; send pictures as one NPZ "
            f"with X (rows, height, width[, channels]) and y (rows,)"
        )
    raise of_file(f"has no records; looked for {wanted}")


def _write(path: Path, pieces: Iterator[bytes]) -> Path:
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    return path


def _class_names(member: tar.Member) -> list[str]:
    if member.size > _META_BYTES:
        raise of_file(f"{_META} has {member.size} bytes; must be 0..{_META_BYTES}")
    try:
        text = b"".join(member.pieces()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise of_file(f"{_META} is not UTF-8") from error
    names = [line.strip() for line in text.split("\n")]
    names = [name for name in names if name]
    for index, name in enumerate(names):
        if (problem := name_problem(name)) is not None or name in names[:index]:
            raise of_file(f"{_META}: class {index} " + (problem or f"is {shown(name)} again"))
    if len(names) > MAX_CLASSES:
        raise of_file(f"{_META} names {len(names)} classes; must be 2..{MAX_CLASSES}")
    return names


def _records(batch: Path) -> Iterator[Bytes]:
    step = block_rows(RECORD_BYTES)
    with batch.open("rb") as file:
        while data := file.read(step * RECORD_BYTES):
            yield np.frombuffer(data, np.uint8).reshape(-1, RECORD_BYTES)


def _pixels(block: Bytes) -> Bytes:
    """Records (k, 1 + 3072), channel by channel, as (k, 3072) pixels with the channels last."""
    planes = block[:, 1:].reshape(-1, CHANNELS, HEIGHT, WIDTH)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)).reshape(len(block), -1)
