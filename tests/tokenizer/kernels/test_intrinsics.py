"""Each machine operation does what plain Python does, and kernels that use one are cached."""

# Numba compiles the small functions here, and its types say nothing of them.
# mypy: disable-error-code="no-any-return, untyped-decorator"

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from numpy.typing import NDArray

from tokenizer.kernels.intrinsics import (
    BLOCK_BYTES,
    borrowed,
    classify_block,
    equal_mask,
    load_item,
    load_word,
    prefetch,
    store_item,
    store_word,
    trailing_zeros,
)
from tokenizer.kernels.untyped import Untyped

compiled: Untyped = njit
words = st.integers(0, 2**64 - 1)
# A block with room on both sides, so that unaligned places are tried too.
blocks = st.binary(min_size=BLOCK_BYTES + 16, max_size=BLOCK_BYTES + 16)


@compiled
def _classify(data: NDArray[np.uint8], at: int, masks: NDArray[np.uint64]) -> None:
    prefetch(data, at)
    words = classify_block(data, at)
    for i in range(6):
        masks[i] = words[i]


@compiled
def _equal(data: NDArray[np.uint8], at: int, byte: int) -> int:
    return equal_mask(data, at, np.uint8(byte))


class _Arrays(NamedTuple):
    """Two arrays, as kernels take them."""

    first: NDArray[np.int64]
    second: NDArray[np.uint16]


@compiled
def _copy_item(arrays: _Arrays, place: int) -> None:
    inner = borrowed(arrays)
    store_item(inner.second, place, load_item(inner.first, place) + 1)


@compiled
def _load(data: NDArray[np.uint8], at: int) -> int:
    return load_word(data, at)


@compiled
def _store(data: NDArray[np.uint16], at: int, word: np.uint64) -> None:
    store_word(data, at, word)


@compiled
def _zeros(word: np.uint64) -> int:
    return trailing_zeros(word)


def _bits(truths: list[bool]) -> int:
    return sum(1 << place for place, truth in enumerate(truths) if truth)


@given(st.lists(st.integers(0, 2**15), min_size=1, max_size=9), st.data())
def test_items_are_read_and_written_through_borrowed_arrays(
    values: list[int], data: st.DataObject
) -> None:
    """Every place, each array by its own type; and no reference is lost or left over."""
    place = data.draw(st.integers(0, len(values) - 1))
    arrays = _Arrays(np.array(values, np.int64), np.zeros(len(values), np.uint16))
    before = [sys.getrefcount(array) for array in arrays]
    _copy_item(arrays, place)
    assert [sys.getrefcount(array) for array in arrays] == before
    assert arrays.second.tolist() == [
        value + 1 if i == place else 0 for i, value in enumerate(values)
    ]


@given(block=blocks, at=st.integers(0, 16))
def test_block_masks_are_what_each_byte_says(block: bytes, at: int) -> None:
    """The six masks equal six questions asked of every byte."""
    masks = np.zeros(6, np.uint64)
    _classify(np.frombuffer(block, np.uint8), at, masks)
    part = block[at : at + BLOCK_BYTES]
    questions = [
        [chr(byte).isalpha() and byte < 128 for byte in part],
        [chr(byte).isdigit() and byte < 128 for byte in part],
        [byte in b" \t\n\v\f\r" for byte in part],
        [byte == 32 for byte in part],
        [byte == 39 for byte in part],
        [byte >= 128 for byte in part],
    ]
    assert masks.tolist() == [_bits(truths) for truths in questions]


@given(block=blocks, at=st.integers(0, 16), byte=st.integers(0, 255))
def test_equal_mask_marks_the_byte(block: bytes, at: int, byte: int) -> None:
    """The mask has a bit for each place of the byte."""
    part = block[at : at + BLOCK_BYTES]
    expected = _bits([value == byte for value in part])
    assert _equal(np.frombuffer(block, np.uint8), at, byte) == expected


@given(block=blocks, at=st.integers(0, 16))
def test_words_are_read_at_any_place(block: bytes, at: int) -> None:
    """A word is eight bytes, the first one lowest."""
    assert _load(np.frombuffer(block, np.uint8), at) == int.from_bytes(block[at : at + 8], "little")


@given(word=words, at=st.integers(0, 4))
def test_words_are_written_at_any_item(word: int, at: int) -> None:
    """A word fills four items of two bytes from a place on, and nothing else."""
    items = np.zeros(8, np.uint16)
    _store(items, at, np.uint64(word))
    assert items.tobytes() == bytes(2 * at) + word.to_bytes(8, "little") + bytes(8 - 2 * at)


@given(word=words)
def test_trailing_zeros_is_the_lowest_set_bit(word: int) -> None:
    """The count equals the place of the lowest set bit, 64 for zero."""
    expected = (word & -word).bit_length() - 1 if word else 64
    assert _zeros(np.uint64(word)) == expected


def test_kernels_with_intrinsics_come_from_the_cache(tmp_path: Path) -> None:
    """A second process loads the compiled kernel, which compiling again would take longer."""
    script = (
        "import numpy as np\n"
        "from tokenizer.kernels.classify.boundaries import find_special, special_arrays\n"
        "find_special(np.zeros(65, np.uint8), 0, 1, special_arrays([b'x']))\n"
        "print(sum(find_special.stats.cache_hits.values()))\n"
    )
    root = Path(__file__).resolve().parents[3]
    hits = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=root,
            env={"NUMBA_CACHE_DIR": str(tmp_path), "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        hits.append(int(done.stdout))
    assert hits == [0, 1]
