"""An uncompressed .npz put together in memory: the bytes that `zipfile` writes, without its work for each piece.

Layout (APPNOTE.TXT 4.3): every member's local header, name and .npy; then the central directory; then its end.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST_BYTES: Final = 1 << 30
"""Of all arrays together; beyond 4 GiB sizes and places need other fields."""

_MEMBER: Final = struct.Struct("<HHHHHIIIHH")
"""Version, flags, method, time, date, CRC, size twice, lengths of the name and of further fields."""
_PLACE: Final = struct.Struct("<HHHII")
"""Length of a comment, disk, attributes twice, where the local header begins."""
_END: Final = struct.Struct("<4s4H2LH")
_VERSION, _UNIX, _JANUARY_1980 = 20, 3, 0x21
_READABLE: Final = 0o600 << 16


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The file; `arrays` have ASCII names and hold at most `MOST_BYTES`."""
    parts, directory, place = list[bytes](), list[bytes](), 0
    for key, array in arrays.items():
        name, content = f"{key}.npy".encode("ascii"), _npy(np.asarray(array))
        numbers = (0, 0, 0, _JANUARY_1980, zlib.crc32(content), len(content), len(content), len(name), 0)
        member = _MEMBER.pack(_VERSION, *numbers)
        parts += (b"PK\3\4", member, name, content)
        directory += (b"PK\1\2", bytes((_VERSION, _UNIX)), member, _PLACE.pack(0, 0, 0, _READABLE, place), name)
        place += 4 + _MEMBER.size + len(name) + len(content)
    listed = b"".join(directory)
    end = _END.pack(b"PK\5\6", 0, 0, len(arrays), len(arrays), len(listed), place, 0)
    return b"".join((*parts, listed, end))


def _npy(array: NDArray[Any]) -> bytes:
    fortran_order = array.flags.f_contiguous and not array.flags.c_contiguous
    return _header(array.dtype, array.shape, fortran_order) + array.tobytes("A")


@lru_cache(maxsize=512)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...], fortran_order: bool) -> bytes:
    if dtype.hasobject:
        raise ValueError("arrays of objects are not written")
    out = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": fortran_order, "shape": shape}
    np.lib.format.write_array_header_1_0(out, described)
    return out.getvalue()
