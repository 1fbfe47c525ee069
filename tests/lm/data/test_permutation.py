"""Tests of `lm/data/permutation.py`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.data.permutation import derive_key, hash_indices, permute


@given(size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
def test_permute_is_one_to_one(size: int, key: int) -> None:
    """Every index is hit exactly once, for any size and key."""
    permuted = permute(np.arange(size), size=size, key=key)
    assert np.array_equal(np.sort(permuted), np.arange(size))


@given(size=st.integers(2, 2**40), index=st.integers(0, 2**40), key=st.integers(0, 2**64 - 1))
def test_permute_of_one_index_needs_no_others(size: int, index: int, key: int) -> None:
    """An index maps to the same place alone as in company."""
    indices = np.array([index % size, 0, size - 1])
    alone = permute(indices[:1], size=size, key=key)
    assert alone[0] == permute(indices, size=size, key=key)[0]


def test_permute_spreads_an_index_evenly_over_keys() -> None:
    """Over many keys each place is about equally likely: chi-square within 5 sigma."""
    size, num_keys = 50, 5000
    places = [int(permute(np.array([7]), size=size, key=key)[0]) for key in range(num_keys)]
    expected = num_keys / size
    statistic = float(((np.bincount(places, minlength=size) - expected) ** 2 / expected).sum())
    assert abs(statistic - (size - 1)) < 5 * np.sqrt(2 * (size - 1))


def test_permute_breaks_up_neighbours() -> None:
    """Neighbouring indices land far apart: hardly any stay neighbours."""
    permuted = permute(np.arange(100_000), size=100_000, key=1)
    assert int((np.abs(np.diff(permuted)) == 1).sum()) < 20


def test_permute_refuses_an_index_outside() -> None:
    """An index beyond the size is the caller's mistake."""
    with pytest.raises(ValueError, match=r"must lie in 0\.\.9"):
        permute(np.array([10]), size=10, key=0)
    with pytest.raises(ValueError, match=r"found -1 to 3"):
        permute(np.array([3, -1]), size=10, key=0)


def test_permute_keeps_its_order() -> None:
    """The order is part of what a seed means: these values may never change."""
    assert permute(np.arange(10), size=10, key=42).tolist() == [3, 8, 9, 1, 5, 2, 4, 0, 7, 6]
    million = permute(np.arange(5), size=1_000_003, key=derive_key(7, 1))
    assert million.tolist() == [628379, 558021, 517724, 968305, 403462]
    large = permute(np.array([0, 2**39]), size=2**40 + 1, key=2**64 - 1)
    assert large.tolist() == [695427548778, 928433465310]
    assert hash_indices(np.arange(2), key=42).tolist() == [
        13679457532755275413,
        2949826092126892291,
    ]


def test_derived_keys_depend_on_order_and_value() -> None:
    """Keys for (1, 2), (2, 1) and (1,) differ."""
    assert len({derive_key(1, 2), derive_key(2, 1), derive_key(1), derive_key(1, 0)}) == 4


def test_hashed_indices_are_uniform() -> None:
    """Remainders of hashed indices fill their classes evenly: chi-square within 5 sigma."""
    classes, count = 97, 97_000
    draws = hash_indices(np.arange(count), key=derive_key(3)) % np.uint64(classes)
    expected = count / classes
    statistic = float(((np.bincount(draws, minlength=classes) - expected) ** 2 / expected).sum())
    assert abs(statistic - (classes - 1)) < 5 * np.sqrt(2 * (classes - 1))
