"""How factors of products are rounded: on the host, in kernels, and in the tests' stand-in for tensor cores."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.precisions import PRECISIONS, needs_gpu, wanted_device
from kernels.rounding import bfloat16_bits, dtype_of
from kernels.step_source import NARROW_SYMBOL, narrow_source
from tests.kernels.block_support import HostCompiler
from tests.kernels.recorder_support import rounded_to_bfloat16, rounded_to_tf32


def every_kind_of_number() -> np.ndarray:
    """float32 numbers of random bits, NaN whose payload lies in the lower half, ties, and the ends of the range."""
    bits = np.random.default_rng(0).integers(0, 1 << 32, 40_000, dtype=np.uint32)
    ties = (bits[:4000] & np.uint32(0xFFFF0000)) | np.uint32(0x8000)
    special = np.array([0x7F800001, 0xFF800001, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0, 0x80000000, 1], np.uint32)
    return np.concatenate([bits, ties, special]).view(np.float32)


def test_bfloat16_is_the_nearest_and_even_between_two() -> None:
    numbers = every_kind_of_number()
    numbers = numbers[np.isfinite(numbers) & (np.abs(numbers) < 3.3e38)]
    below = (numbers.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)
    above = ((numbers.view(np.uint32) & np.uint32(0xFFFF0000)) + np.uint32(0x10000)).view(np.float32).astype(np.float64)
    found, exact = rounded_to_bfloat16(numbers).astype(np.float64), numbers.astype(np.float64)
    to_below, to_above = np.abs(exact - below), np.abs(above - exact)
    assert np.array_equal(found[to_below < to_above], below[to_below < to_above])
    assert np.array_equal(found[to_above < to_below], above[to_above < to_below])
    ties = to_above == to_below
    assert ties.sum() > 1000
    assert (bfloat16_bits(numbers)[ties] % 2 == 0).all()


def test_kernels_round_to_the_same_bits_and_keep_what_is_not_a_number() -> None:
    numbers = every_kind_of_number()
    out = np.zeros(numbers.size, np.uint16)
    HostCompiler().compile(narrow_source("bfloat16"), NARROW_SYMBOL, 0)(3, 32, (np.int64(numbers.size), numbers, out))
    assert np.array_equal(out, bfloat16_bits(numbers))
    assert np.array_equal(np.isnan(rounded_to_bfloat16(numbers)), np.isnan(numbers))
    assert rounded_to_bfloat16(np.array([3.4e38, -np.inf], np.float32)).tolist() == [np.inf, -np.inf]


def test_tf32_keeps_10_bits_of_mantissa() -> None:
    numbers = np.random.default_rng(1).normal(size=10_000).astype(np.float32)
    found = rounded_to_tf32(numbers)
    assert not (found.view(np.uint32) & np.uint32(0x1FFF)).any()
    assert float(np.max(np.abs(found - numbers) / np.abs(numbers))) <= 2.0**-11
    assert np.isnan(rounded_to_tf32(np.array([np.nan], np.float32))).all()


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_precision_that_rounds_keeps_float32_and_asks_for_a_gpu(name: str) -> None:
    assert dtype_of(name) == (name if name.startswith("float") else "float32")
    assert needs_gpu(name) == (name in {"tf32", "bfloat16"})
    assert wanted_device("auto", name) == ("cuda" if needs_gpu(name) else "auto")
    assert wanted_device("cuda:1", name) == "cuda:1"
