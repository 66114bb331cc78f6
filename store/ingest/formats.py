"""FORMATS: every format an upload may have, one row each. A new format is a module with a `read` and a row here."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from store.ingest import cifar10, csv_table, feather, idx, json_table, npy, npz, parquet, tar
from store.ingest.options import IngestOptions, Request, Source
from store.ingest.problems import of_file, of_option, shown
from store.ingest.source_arrays import NPY_MAGIC

_HEAD_BYTES = 512
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: the value of the `format` option.
        suffixes: endings of file names, without `.gz`, of files that `begins` knows.
        bare_suffixes: endings of files that nothing else tells apart.
        begins: whether the first bytes of a file are this format's; None where nothing marks it.
        files: how many files may make one data set.
        read: reads a request into `x.npy` and `y.npy` and returns the content of `info.json`.
        doc: one line for people.
    """

    name: str
    suffixes: tuple[str, ...]
    bare_suffixes: tuple[str, ...]
    begins: Callable[[bytes], bool] | None
    files: tuple[int, ...]
    read: Callable[[Request], dict[str, Any]]
    doc: str


def _magic(first: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(first)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        row.name: row
        for row in (
            Format("csv", (), (".csv", ".tsv", ".txt", ".data"), None, (1,), csv_table.read, csv_table.DOC),
            Format("npz", (".npz",), (), _magic(b"PK\x03\x04"), (1,), npz.read, npz.DOC),
            Format("npy", (".npy",), (), _magic(NPY_MAGIC), (1, 2), npy.read, npy.DOC),
            Format("parquet", (".parquet", ".pq"), (), _magic(b"PAR1\x15"), (1,), parquet.read, parquet.DOC),
            Format("feather", (".feather", ".arrow"), (), _magic(feather.MAGIC), (1,), feather.read, feather.DOC),
            Format("json", (), (".json", ".jsonl", ".ndjson"), None, (1,), json_table.read, json_table.DOC),
            Format("idx", (".idx", "-ubyte"), (), idx.begins, (2,), idx.read, idx.DOC),
            Format("cifar10", (".tar", ".tgz"), (".bin",), tar.begins, (1,), cifar10.read, cifar10.DOC),
        )
    }
)


def detect(sources: Sequence[Source], options: IngestOptions) -> Format:
    """The format of an upload: the one asked for, else by its first bytes, else by its name.

    Raises:
        InvalidInput: an unknown format; a file that is none of them; another number of files than the format has.
    """
    if not sources:
        raise of_file("is missing; send one part named file")
    asked = _asked(options)
    found = _recognised(sources[0]) if asked is None else asked
    if len(sources) not in found.files:
        came = "1 file" if len(sources) == 1 else f"{len(sources)} files"
        raise of_file(f"came with {came}; {found.name} takes {' or '.join(map(str, found.files))}")
    _check_part(options, found)
    return found


def check_options(data: Mapping[str, Any]) -> None:
    """Raise InvalidInput for whatever is wrong with the options of an upload whose files have not come yet."""
    options = IngestOptions.from_json(data)
    asked = _asked(options)
    if asked is not None:
        _check_part(options, asked)


def _asked(options: IngestOptions) -> Format | None:
    """The format that was named, if one was."""
    if options.format is None:
        return None
    if options.format not in FORMATS:
        raise of_option("format", f"is {shown(options.format)}; must be one of {', '.join(FORMATS)}")
    return FORMATS[options.format]


def _check_part(options: IngestOptions, found: Format) -> None:
    if options.part is not None and found.name not in {"cifar10", "npz"}:
        raise of_option("part", f"selects rows of the formats cifar10 and npz; this is {found.name}")


def _recognised(source: Source) -> Format:
    with source.path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(_GZIP):
        head = _inflated(head)
    by_magic = [row for row in FORMATS.values() if row.begins is not None and row.begins(head)]
    if by_magic:
        return by_magic[0]
    name = source.filename.lower().removesuffix(".gz")
    for row in FORMATS.values():
        if name.endswith(row.bare_suffixes):
            return row
        if name.endswith(row.suffixes):
            raise of_file(f"{shown(source.filename)} does not begin like a file of format {row.name}")
    if "." not in name and (b"\x00" not in head or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))):
        return FORMATS["csv"]
    raise of_file(f"{shown(source.filename)} is of no known format; name one in format: {', '.join(FORMATS)}")


def _inflated(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
    except zlib.error:
        return b""
