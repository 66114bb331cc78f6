"""The binary versions of CIFAR-10 and CIFAR-100: an archive of batches of records, labels and then pixels by channel.

CIFAR-10 has one label byte and 3 x 32 x 32 pixel bytes in each record.

Any number of classes and of records per batch. `data_batch_*.bin` come in the order of their numbers, then
`test_batch.bin`, and the record says how many rows of each (`parts`); `batches.meta.txt` names the classes, one a line.
`part` selects the training or the test batches.
CIFAR-100 has `train.bin`, `test.bin` and two label bytes: the target is `fine_label`, or `coarse_label` where that is
asked for, and `fine_label_names.txt` or `coarse_label_names.txt` name the classes.
A single batch without an archive is taken too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

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

DOC = (
    "binary archive of CIFAR-10 or CIFAR-100 (tar, may be gzipped): data_batch_*.bin, test_batch.bin, "
    "batches.meta.txt; or train.bin, test.bin, fine_label_names.txt, coarse_label_names.txt"
)

HEIGHT, WIDTH, CHANNELS = 32, 32, 3


@dataclass(frozen=True)
class Layout:
    """What stands before the pixels of a record, and which files name the classes.

    Attributes:
        labels: the label bytes in their order, the usual target last.
        batch: names of batches: group 1 is a number, group 2 there for test batches.
        looked_for: training and test batches, for messages.
        meta: files of class names and the label that they are of.
    """

    labels: tuple[str, ...]
    batch: re.Pattern[str]
    looked_for: Mapping[str, str]
    meta: Mapping[str, str]

    @property
    def record_bytes(self) -> int:
        """Size of a record."""
        return len(self.labels) + CHANNELS * HEIGHT * WIDTH


CIFAR10 = Layout(
    ("label",),
    re.compile(r"(?:data_batch_([0-9]{1,4})|(test_batch))\.bin"),
    {"train": "data_batch_*.bin", "test": "test_batch.bin"},
    {"batches.meta.txt": "label"},
)
CIFAR100 = Layout(
    ("coarse_label", "fine_label"),
    re.compile(r"(?:train()|(test))\.bin"),
    {"train": "train.bin", "test": "test.bin"},
    {"coarse_label_names.txt": "coarse_label", "fine_label_names.txt": "fine_label"},
)
LAYOUTS = (CIFAR10, CIFAR100)

_TEST_PLACE = 10_000
_TEST_FILE = f"batch-{_TEST_PLACE}"
_META_BYTES = 1 << 20
_SHOWN_FILES = 3

Bytes = npt.NDArray[np.uint8]


def read(request: Request) -> dict[str, Any]:
    """Read the batches; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    options = request.options
    found = _unpacked(request)
    target = options.target or found.layout.labels[-1]
    if target not in found.layout.labels:
        offered = " or ".join(map(shown, found.layout.labels))
        raise of_option("target", f"is {shown(target)}; of these images it is {offered}")
    place, size = found.layout.labels.index(target), found.layout.record_bytes
    labels = np.concatenate([block[:, place] for batch in found.batches for block in _records(batch, size)])
    layout = row_layout("images", np.dtype(np.uint8), (len(labels), HEIGHT, WIDTH, CHANNELS))
    pixels = (_pixels(block, size) for batch in found.batches for block in _records(batch, size))
    info = write_images(pixels, layout, _target(target, labels, found, options.task), target, request)
    n_test = sum(path.stat().st_size for path in found.batches if path.name == _TEST_FILE) // size
    return with_parts(info, n_test)


@dataclass(frozen=True)
class _Found:
    """Batches as plain files in the request's folder, in order, and class names by label (names, and their file)."""

    layout: Layout
    batches: Sequence[Path]
    names: Mapping[str, tuple[list[str], str]]


def _target(target: str, labels: Bytes, found: _Found, task: str) -> Target:
    names, file = found.names.get(target, ([], ""))
    if not names or task == "regression":
        return target_of_numbers(target, labels.astype(np.float64), "classification" if task == "auto" else task)
    if labels.max() >= len(names):
        row = int((labels >= len(names)).argmax())
        raise of_file(f"record {row + 1} has the label {labels[row]}; {file} names {len(names)} classes")
    return target_of_codes(target, labels.astype(np.int64), names)


def _unpacked(request: Request) -> _Found:
    source, limits = request.sources[0], request.limits
    held = check_inflates(source.path, limits)
    with open_bytes(source.path, limits) as stream:
        if _is_archive(source.path, request):
            return _from_archive(request, stream, held)
        layouts = [one for one in LAYOUTS if one.batch.fullmatch(source.filename.removesuffix(".gz"))] or LAYOUTS
        layout = next((one for one in layouts if held % one.record_bytes == 0), None)
        if layout is None:
            sizes = " or ".join(str(one.record_bytes) for one in layouts)
            raise of_file(f"has {held} bytes; must be a tar archive, or a batch of records of {sizes} bytes")
        path = _write(request.folder / "batch", iter(lambda: stream.read(1 << 18), b""))
        return _Found(layout, [path] if held else _none(request, layout), {})


def _from_archive(request: Request, stream: IO[bytes], held: int) -> _Found:
    names: dict[str, tuple[list[str], str]] = {}
    found: dict[int, Path] = {}
    others: list[str] = []
    layout: Layout | None = None
    room = most_inflated_bytes(request.sources[0].path.stat().st_size, request.limits)
    for member in tar.members(stream):
        room -= member.size
        if room < 0:
            raise TooLarge(f"the archive declares more than the {held} bytes that it inflates to")
        name = PurePosixPath(member.name).name
        label = next((one.meta[name] for one in LAYOUTS if name in one.meta), None)
        own = next((one for one in ([layout] if layout else LAYOUTS) if one.batch.fullmatch(name)), None)
        batch = None if own is None else own.batch.fullmatch(name)
        if label is not None:
            names[label] = (_class_names(member, name), name)
        elif own is None or batch is None:
            others += [member.name] if len(others) < _SHOWN_FILES else []
        else:
            layout = own
            if _is_wanted(request, batch):
                place = _TEST_PLACE if batch[2] else int(batch[1] or 0)
                _check_batch(name, member.size, own, place in found)
                found[place] = _write(request.folder / f"batch-{place}", member.pieces())
    batches = [found[place] for place in sorted(found) if found[place].stat().st_size]
    layout = layout or CIFAR10
    return _Found(layout, batches or _none(request, layout, others), names)


def _check_batch(name: str, size: int, layout: Layout, is_there: bool) -> None:
    if is_there:
        raise of_file(f"holds {shown(name)} twice")
    if size % layout.record_bytes:
        raise of_file(f"{shown(name)} has {size} bytes; must be records of {layout.record_bytes} bytes")


def _is_archive(path: Path, request: Request) -> bool:
    with open_bytes(path, request.limits) as stream:
        head = stream.read(tar.BLOCK_BYTES)
    name = request.sources[0].filename.lower().removesuffix(".gz")
    return tar.begins(head) or name.endswith((".tar", ".tgz"))


def _is_wanted(request: Request, batch: re.Match[str]) -> bool:
    return request.options.part in {None, "test" if batch[2] else "train"}


def _none(request: Request, layout: Layout, others: Sequence[str] = ()) -> list[Path]:
    part = request.options.part
    if any(PurePosixPath(name).name in {"data_batch_1", "batches.meta", "meta"} for name in others):
        raise of_file("is the Python version of CIFAR, of pickles, which are never loaded; send the binary version")
    wanted = layout.looked_for.get(part or "", ", ".join(layout.looked_for.values()))
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


def _class_names(member: tar.Member, file: str) -> list[str]:
    if member.size > _META_BYTES:
        raise of_file(f"{file} has {member.size} bytes; must be 0..{_META_BYTES}")
    try:
        text = b"".join(member.pieces()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise of_file(f"{file} is not UTF-8") from error
    names = [line.strip() for line in text.split("\n")]
    names = [name for name in names if name]
    if len(names) > MAX_CLASSES:
        raise of_file(f"{file} names {len(names)} classes; must be 2..{MAX_CLASSES}")
    for index, name in enumerate(names):
        if (problem := name_problem(name)) is not None or name in names[:index]:
            raise of_file(f"{file}: class {index} " + (problem or f"is {shown(name)} again"))
    return names


def _records(batch: Path, record_bytes: int) -> Iterator[Bytes]:
    step = block_rows(record_bytes)
    with batch.open("rb") as file:
        while data := file.read(step * record_bytes):
            yield np.frombuffer(data, np.uint8).reshape(-1, record_bytes)


def _pixels(block: Bytes, record_bytes: int) -> Bytes:
    """Records (k, 1 or 2 + 3072), channel by channel, as (k, 3072) pixels with the channels last."""
    planes = block[:, record_bytes - CHANNELS * HEIGHT * WIDTH :].reshape(-1, CHANNELS, HEIGHT, WIDTH)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)).reshape(len(block), -1)
