"""An .npz put together in memory is the file that `zipfile` writes."""

from __future__ import annotations

import io

import numpy as np
import pytest

from nets.export import load_npz, to_npz, write_npz
from nets.npz_bytes import npz_bytes

ARRAYS = {
    "W1": np.arange(12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(35.0).reshape(5, 7)),
    "strided": np.arange(48).reshape(6, 8)[::2, ::2],
    "big_endian": np.arange(3, dtype=">i4"),
    "empty": np.zeros((0, 3), np.float32),
    "flags": np.array([True, False]),
    "scalar": np.array(2.5),
    "meta": np.array("text, ü too"),
}


def test_bytes_are_those_of_zipfile() -> None:
    out = io.BytesIO()
    write_npz(ARRAYS, out)
    assert npz_bytes(ARRAYS) == out.getvalue()
    assert npz_bytes({}) == b"PK\5\6" + bytes(18)
    back = load_npz(to_npz(ARRAYS))
    assert back.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert np.array_equal(back[name], array), name


def test_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="objects"):
        npz_bytes({"evil": np.array([{}], dtype=object)})
