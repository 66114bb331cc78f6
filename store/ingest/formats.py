"""FORMATS: every format an upload may have, one row each. A new format is a module with a `read` and a row here."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from store.ingest import csv_table, npz
from store.ingest.options import IngestOptions, Request, Source
from store.ingest.problems import of_file, of_option, shown

_HEAD_BYTES = 512
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: the value of the `format` option.
        suffixes: endings of file names, without `.gz`.
        magic: first bytes of such a file; empty where there are none.
        files: how many files make one data set.
        read: reads a request into `x.npy` and `y.npy` and returns the content of `info.json`.
        doc: one line for people.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: bytes
    files: int
    read: Callable[[Request], dict[str, Any]]
    doc: str


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        row.name: row
        for row in (
            Format("csv", (".csv", ".tsv", ".txt", ".data"), b"", 1, csv_table.read, csv_table.DOC),
            Format("npz", (".npz",), b"PK\x03\x04", 1, npz.read, npz.DOC),
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
    found = _asked(options.format) if options.format is not None else _recognised(sources[0])
    if len(sources) != found.files:
        raise of_file(f"came with {len(sources)} files; {found.name} takes {found.files}")
    return found


def _asked(name: str) -> Format:
    if name not in FORMATS:
        raise of_option("format", f"is {shown(name)}; must be one of {', '.join(FORMATS)}")
    return FORMATS[name]


def _recognised(source: Source) -> Format:
    with source.path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(_GZIP):
        head = _inflated(head)
    by_magic = [row for row in FORMATS.values() if row.magic and head.startswith(row.magic)]
    if by_magic:
        return by_magic[0]
    name = source.filename.lower().removesuffix(".gz")
    by_name = [row for row in FORMATS.values() if name.endswith(row.suffixes)]
    if by_name and not by_name[0].magic:
        return by_name[0]
    if by_name:
        raise of_file(f"{shown(source.filename)} does not begin like a file of format {by_name[0].name}")
    if "." not in name and b"\x00" not in head:
        return FORMATS["csv"]
    raise of_file(f"{shown(source.filename)} is of no known format; name one in format: {', '.join(FORMATS)}")


def _inflated(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
    except zlib.error:
        return b""
