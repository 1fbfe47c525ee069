"""Tables of merges: the merges that were given, and no others."""

import pytest

from tokenizer.encoding.merge_tables import merge_tables
from tokenizer.formats.merge_ids import merge_ids
from tokenizer.formats.vocabulary import build_vocab
from tokenizer.kernels.encoding.ranked_merges import MAX_RANK, MAX_TOKENS, rank_of

IDS = {bytes([byte]): byte for byte in range(256)}


def test_two_bytes_have_the_rank_of_their_merge_and_no_other() -> None:
    """Merges of longer tokens leave no rank behind, not even at the last bytes."""
    merges = [(b"a", b"b"), (b"ab", b"c"), (b"d", b"ab"), (b"\xff", b"\xff"), (b"ab", b"ab")]
    merges.append((b"\0", b"\0"))
    ids = {token: token_id for token_id, token in build_vocab(merges, []).items()}
    ranks = merge_tables(ids, merge_ids(ids, merges)).byte_ranks
    expected = {ord("a") << 8 | ord("b"): 0, 0xFFFF: 3, 0x0000: 5}
    assert {int(at): int(ranks[at]) for at in (ranks != MAX_RANK).nonzero()[0]} == expected
    without_last = merge_tables(ids, merge_ids(ids, merges[:3])).byte_ranks
    assert (without_last != MAX_RANK).nonzero()[0].tolist() == [ord("a") << 8 | ord("b")]


def test_what_the_tables_cannot_hold_is_refused() -> None:
    """The limits are inclusive, and the error names both numbers."""
    merge = (b"a", b"b")
    small, large = IDS | {b"ab": 256}, IDS | {b"ab": MAX_TOKENS}
    many, one = merge_ids(small, [merge] * MAX_RANK), merge_ids(large, [merge])
    with pytest.raises(ValueError, match=f"257 ids and {MAX_RANK} merges is too large"):
        merge_tables(small, many)
    with pytest.raises(ValueError, match=f"{MAX_TOKENS + 1} ids and 1 merges is too large"):
        merge_tables(large, one)


def test_the_largest_id_is_found() -> None:
    """Ids of 21 bits are told apart, in both places of a merge."""
    largest = 2**21 - 1
    ids = IDS | {b"ab": largest, b"abc": 300, b"cab": 301}
    merges = [(b"a", b"b"), (b"ab", b"c"), (b"c", b"ab")]
    tables = merge_tables(ids, merge_ids(ids, merges))
    pairs = [(largest, ord("c")), (ord("c"), largest), (largest - 2**20, ord("c"))]
    ranks = [rank_of(tables.slots, tables.filter_bits, *pair) for pair in pairs]
    assert ranks == [1, 2, MAX_RANK]
