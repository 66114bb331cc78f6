"""IDX, the format of MNIST: a file of images or feature vectors and a file of labels, in any order, gzipped or not.

Four bytes (0, 0, type, number of dimensions), a big-endian 32-bit length per dimension, then the values. The product
of the lengths is held against the file's size before a value is read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from store.ingest.inflate import check_inflates, open_bytes
from store.ingest.options import Request, Source
from store.ingest.pairs import read_pair
from store.ingest.problems import of_file, of_option, shown
from store.ingest.source_arrays import SourceArray

DOC = "two files, images and labels (MNIST and its kind), in any order; may be gzipped"

TARGET_NAME = "label"
"""What the labels are called."""

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_DIMENSIONS = 4


def begins(head: bytes) -> bool:
    """Whether a file begins like this format."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in _TYPES and 1 <= head[3] <= _MAX_DIMENSIONS


def read(request: Request) -> dict[str, Any]:
    """Read images and labels; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    if request.options.target not in {None, TARGET_NAME}:
        raise of_option("target", f"is {shown(request.options.target)}; of an IDX pair it is {shown(TARGET_NAME)}")
    arrays = [_array(source, request) for source in request.sources]
    labels = [array for array in arrays if len(array.shape) == 1]
    if len(labels) != 1:
        shapes = " and ".join(f"{shown(array.name)} {array.shape}" for array in arrays)
        raise of_file(f"must be one file of labels (1 dimension) and one of images or features; got {shapes}")
    [features] = [array for array in arrays if array is not labels[0]]
    target = SourceArray(TARGET_NAME, labels[0].dtype, labels[0].shape, False, labels[0].open)
    return read_pair(features, target, request)


def _array(source: Source, request: Request) -> SourceArray:
    held = check_inflates(source.path, request.limits)
    with open_bytes(source.path, request.limits) as stream:
        head = stream.read(4)
        if not begins(head):
            raise of_file(f"{shown(source.filename)} does not begin like a file of format idx")
        size = 4 + 4 * head[3]
        lengths = stream.read(4 * head[3])
    if len(lengths) != 4 * head[3]:
        raise of_file(f"{shown(source.filename)} ends within its header")
    shape = struct.unpack(f">{head[3]}I", lengths)

    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with open_bytes(source.path, request.limits) as stream:
            stream.read(size)
            yield stream

    array = SourceArray(source.filename, np.dtype(_TYPES[head[2]]), shape, False, opened)
    if array.data_bytes != held - size:
        raise of_file(
            f"{shown(source.filename)} declares the shape {shape}, {array.data_bytes} bytes, and holds {held - size}"
        )
    return array
