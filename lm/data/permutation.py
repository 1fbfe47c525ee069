"""A keyed permutation of 0..size-1 that needs no memory: the order in which windows are read.

A balanced Feistel network over the smallest even number of bits that holds `size`, with cycle
walking for the values beyond it (Black and Rogaway 2002, "Ciphers with Arbitrary Finite
Domains", sections 3 and 4). It scatters training windows and protects no secret, so its round
function is a plain 64-bit mixer: the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
"""

import numpy as np
from numpy.typing import NDArray

NUM_ROUNDS = 6
"""Four rounds make a strong pseudo-random permutation (Luby and Rackoff 1988); two more because
the halves are only a few bits wide for a small corpus."""

_GOLDEN = 0x9E3779B97F4A7C15
"""Increment of SplitMix64: 2^64 over the golden ratio, odd."""

_MASK = (1 << 64) - 1


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit values one by one (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def derive_key(*parts: int) -> int:
    """Hash whole numbers (a seed, an epoch, a purpose) into one 64-bit key; order matters."""
    key = 0
    for part in parts:
        key = int(mix(np.array([(key + part + _GOLDEN) & _MASK], dtype=np.uint64))[0])
    return key


def hash_indices(indices: NDArray[np.int64], *, key: int) -> NDArray[np.uint64]:
    """Give each index its own pseudo-random 64-bit number: output `index` of SplitMix64(key)."""
    steps = (indices.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
    return mix(steps + np.uint64(key))


def permute(indices: NDArray[np.int64], *, size: int, key: int) -> NDArray[np.int64]:
    """Map indices below `size` one to one onto indices below `size`, differently for each key.

    Takes O(1) memory and, on average, fewer than four passes per index.

    Raises:
        ValueError: An index is not in 0..size-1.
    """
    if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < size):
        raise ValueError(
            f"indices must lie in 0..{size - 1}, found {indices.min()} to {indices.max()}"
        )
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    keys = [derive_key(key, round_number) for round_number in range(NUM_ROUNDS)]
    values = _encrypt(indices.astype(np.uint64), keys, half_bits)
    while True:
        outside = np.flatnonzero(values >= np.uint64(size))
        if not outside.size:
            return values.astype(np.int64)
        values[outside] = _encrypt(values[outside], keys, half_bits)  # the next step of its cycle


def _encrypt(values: NDArray[np.uint64], keys: list[int], half_bits: int) -> NDArray[np.uint64]:
    shift, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (mix(right ^ np.uint64(key)) & mask)
    return (left << shift) | right
