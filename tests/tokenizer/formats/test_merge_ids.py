"""The ids of merges, and the first merge that cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.formats.merge_ids import MISSING, first_fault, merge_ids
from tokenizer.formats.vocabulary import build_vocab

BYTES = [bytes([byte]) for byte in range(256)]
A, B, C = b"a", b"b", b"c"


def ids_of(tokens: list[bytes]) -> dict[bytes, int]:
    """Number tokens as they come, each once."""
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def test_tokens_in_another_order_are_looked_up() -> None:
    """Left, right and made tokens have the vocabulary's ids, wherever those are."""
    merges = [(A, B), (b"ab", C)]
    usual = ids_of(list(build_vocab(merges, []).values()))
    shuffled = ids_of([b"abc", *BYTES, b"ab"])
    for ids in (usual, shuffled):
        found = merge_ids(ids, merges)
        assert found.left.tolist() == [ids[A], ids[b"ab"]]
        assert found.right.tolist() == [ids[B], ids[C]]
        assert found.merged.tolist() == [ids[b"ab"], ids[b"abc"]]
    assert merge_ids(ids_of(BYTES), merges).merged.tolist() == [MISSING, MISSING]


def slow_fault(ids: dict[bytes, int], merges: list[tuple[bytes, bytes]]) -> int | None:
    """Go through the merges one by one."""
    made, seen = set(BYTES), set()
    for number, pair in enumerate(merges):
        joined = pair[0] + pair[1]
        if pair in seen or not made.issuperset(pair) or joined not in ids:
            return number
        seen.add(pair)
        made.add(joined)
    return None


PARTS = st.sampled_from([A, B, C, b"ab", b"bc", b"abc", b"cc", b""])


@given(merges=st.lists(st.tuples(PARTS, PARTS), max_size=6), left_out=st.sets(PARTS))
def test_the_first_fault_is_that_of_a_slow_search(
    merges: list[tuple[bytes, bytes]], left_out: set[bytes]
) -> None:
    """Unknown tokens, tokens made too late and merges given twice are found where they begin."""
    tokens = [b"abc", *BYTES, b"ab", b"bc", b"cc", b"abab", b"abcc"]
    ids = ids_of([token for token in tokens if len(token) == 1 or token not in left_out])
    found = merge_ids(ids, merges)
    assert first_fault(found, [ids[byte] for byte in BYTES], len(ids)) == slow_fault(ids, merges)


@pytest.mark.parametrize("merges", [[], [(A, B)], [(A, B), (A, A), (b"ab", b"aa")]])
def test_sound_merges_have_no_fault(merges: list[tuple[bytes, bytes]]) -> None:
    """Merges that were learned in this order pass."""
    ids = ids_of(list(build_vocab(merges, []).values()))
    assert first_fault(merge_ids(ids, merges), range(256), len(ids)) is None
