"""Draws are the published generator's, follow the documented layout, and depend on nothing but their key."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.errors import InvalidInput
from kernels.random import MAX_SEED, Stream, bits, normal, permutation, uniform

MASK = 2**64 - 1


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> list[int]:
    """Philox4x64-10 as published (Salmon et al. 2011, section 4.3), in Python integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (right >> 64) ^ c1 ^ k0, right & MASK, (left >> 64) ^ c3 ^ k1, left & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [c0, c1, c2, c3]


# Random123's kat_vectors, philox4x64 with 10 rounds: counter, key, result.
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
    ((MASK,) * 4, (MASK, MASK), "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0"),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), PUBLISHED)
def test_generator_gives_the_published_numbers(counter: tuple[int, ...], key: tuple[int, int], expected: str) -> None:
    words = [int(word, 16) for word in expected.split()]
    assert philox(counter, key) == words
    before = sum(word << (64 * place) for place, word in enumerate(counter)) - 1
    raw = np.random.Philox(key=key[0] | key[1] << 64, counter=before % 2**256).random_raw(4)
    assert [int(word) for word in raw] == words


def test_words_follow_the_documented_layout() -> None:
    drawn = bits(42, Stream.DROPOUT, 11, step=7, lane=3)
    words = [word for block in (1, 2, 3) for word in philox((block, 0, 7, 3), (42, Stream.DROPOUT))]
    assert [int(word) for word in drawn] == words[:11]


def test_permutation_follows_the_documented_layout() -> None:
    n = 21
    words = [int(word) for word in bits(5, Stream.SHUFFLE, 11, step=2)]
    halves = [half for word in words for half in (word & 0xFFFFFFFF, word >> 32)][:n]
    assert permutation(5, 2, n).tolist() == sorted(range(n), key=lambda i: (halves[i], i))


def test_draws_never_change_from_release_to_release() -> None:
    assert permutation(0, 0, 10).tolist() == [4, 2, 7, 5, 9, 3, 1, 8, 6, 0]
    assert [hex(int(word)) for word in bits(0, Stream.INITIAL, 2)] == ["0xd07eb80c9ffc0c00", "0x708eebd5fe6d0226"]
    assert {stream.name: stream.value for stream in Stream} == {
        "SHUFFLE": 1, "INITIAL": 2, "SPLIT": 3, "DROPOUT": 4, "SEARCH": 5, "DATA": 6, "PATCHES": 7, "EXPLAIN": 8,
    }  # fmt: skip


@settings(database=None)
@given(st.integers(0, MAX_SEED), st.integers(0, 2**40), st.integers(1, 500))
def test_permutation_holds_every_row_once(seed: int, epoch: int, n: int) -> None:
    order = permutation(seed, epoch, n)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(n))


def test_permutation_is_uniform() -> None:
    n, draws = 5, 6000
    counts = np.zeros((n, n))
    for epoch in range(draws):
        counts[permutation(1, epoch, n), np.arange(n)] += 1
    chi_square = float(((counts - draws / n) ** 2 / (draws / n)).sum())
    assert chi_square < 39.3, "16 degrees of freedom, p = 0.001"


def test_large_permutation_has_no_trend() -> None:
    order = permutation(0, 0, 60_000)
    assert abs(np.corrcoef(order, np.arange(60_000))[0, 1]) < 0.02


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"epoch": 1}, {"stream": Stream.SPLIT}, {"lane": 1}], ids=lambda o: next(iter(o))
)
def test_every_part_of_the_key_changes_the_draw(other: dict[str, int]) -> None:
    base = {"seed": 0, "epoch": 0, "n": 100}
    assert np.array_equal(permutation(**base), permutation(**base))
    assert not np.array_equal(permutation(**base), permutation(**{**base, **other}))


def test_a_shorter_draw_is_the_beginning_of_a_longer_one() -> None:
    assert np.array_equal(bits(3, Stream.DATA, 5), bits(3, Stream.DATA, 50)[:5])
    assert np.array_equal(normal(3, Stream.DATA, (7,)), normal(3, Stream.DATA, (50,))[:7])
    assert np.array_equal(uniform(3, Stream.DATA, (2, 3)).ravel(), uniform(3, Stream.DATA, (6,)))


def test_uniform_numbers_fill_the_unit_interval() -> None:
    u = uniform(0, Stream.INITIAL, (100_000,))
    assert u.dtype == np.float64
    assert 0.0 <= u.min() < 1e-4
    assert 1.0 - 1e-4 < u.max() < 1.0
    counts = np.histogram(u, 100, (0.0, 1.0))[0]
    assert ((counts - 1000.0) ** 2 / 1000.0).sum() < 148.2, "99 degrees of freedom, p = 0.001"


def test_normal_numbers_are_normal_and_uncorrelated() -> None:
    from scipy import stats

    z = normal(0, Stream.INITIAL, (300, 333))
    assert z.shape == (300, 333)
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.001
    assert abs(np.corrcoef(z.ravel()[0::2][:-1], z.ravel()[1::2][:49_949])[0, 1]) < 0.02
    assert np.isfinite(z).all()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 1)])
def test_every_shape_is_drawn(shape: tuple[int, ...]) -> None:
    assert normal(0, Stream.INITIAL, shape).shape == uniform(0, Stream.INITIAL, shape).shape == shape


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InvalidInput, match="/training/seed"):
        permutation(seed, 0, 5)
