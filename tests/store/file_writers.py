"""Files of every format as programs write them, and some that no honest program would."""

from __future__ import annotations

import functools
import gzip
import io
import struct
import tarfile
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from store.ingest.arrays import npy_header


def npz_bomb(declared: int) -> bytes:
    """A quarter of a gibibyte of zeros in a megabyte, or a header that claims even more."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("X.npy", "w", force_zip64=True) as member:
            member.write(npy_header(np.dtype(np.uint8), (declared, 1)))
            block = bytes(1 << 20)
            for _ in range(min(declared, 1 << 28) >> 20):
                member.write(block)
        archive.writestr("y.npy", npy_header(np.dtype(np.uint8), (0,)))
    return buffer.getvalue()


def gzipped(data: bytes) -> bytes:
    """Compressed as quickly as can be: level 9 takes seconds for a bomb."""
    return gzip.compress(data, 1)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def idx(array: np.ndarray, code: int = 0x08) -> bytes:
    head = bytes([0, 0, code, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def tar(**files: bytes) -> bytes:
    return tar_of(*(("cifar-10-batches-bin/" + name.replace("__", "."), data) for name, data in files.items()))


def tar_of(*files: tuple[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def tar_header(name: str, size: int) -> bytes:
    """The header of a file that is not there."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


def batch(images: np.ndarray, labels: np.ndarray) -> bytes:
    """Images (n, 32, 32, 3) as CIFAR-10 lays them out."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([labels[:, None].astype(np.uint8), planes], axis=1).tobytes()


def parquet(**columns: Any) -> bytes:
    return written(pa.table(columns))


def written(table: pa.Table, **how: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **how)
    return buffer.getvalue()


def varint(value: int) -> bytes:
    """A number as Thrift's compact protocol writes it."""
    value, out = value << 1, bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def small(value: int, length: int) -> bytes:
    """A small number in `length` bytes: the same protocol, with leading zeros."""
    return bytes([value << 1 | 0x80] + [0x80] * (length - 2) + [0])


ROWS = 50_000_000


@functools.cache
def _zeros_in_parquet() -> bytes:
    """400 MB of zeros in one page of each column."""
    column = pa.array(np.zeros(ROWS))
    how = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
    pages = {"row_group_size": ROWS, "data_page_size": 1 << 30, "max_rows_per_page": ROWS}
    return written(pa.table({"a": column, "y": column}), **how, **pages)


def bomb(*, lies: bool) -> bytes:
    """A few kilobytes that declare 800 MB of zeros; a footer that lies says that there are ten rows."""
    data = _zeros_in_parquet()
    if not lies:
        return data
    metadata = pq.read_metadata(io.BytesIO(data))
    group = metadata.row_group(0)
    footer_at = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = data[footer_at:]
    for told in {ROWS, group.total_byte_size, group.column(0).total_uncompressed_size}:
        true = varint(told)
        assert true in footer
        footer = footer.replace(true, small(10, len(true)))
    return data[:footer_at] + footer
