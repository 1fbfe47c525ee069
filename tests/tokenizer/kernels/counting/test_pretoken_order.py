"""Sorting pretokens: by their bytes, as Python sorts byte strings."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.kernels.counting.pretoken_order import first_words, gather, sort_ties

# Zero bytes and common beginnings are what sorting by the first words could mix up.
pretokens = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.text("ab\0", min_size=1, max_size=18).map(str.encode),
    st.integers(1, 40).map(lambda size: b"x" * size),
)


@given(parts=st.lists(pretokens, max_size=60, unique=True))
def test_sorting_is_by_bytes(parts: list[bytes]) -> None:
    """Pretokens are sorted as byte strings are, whatever they share at their beginning."""
    data = np.frombuffer(b"".join(parts), np.uint8)
    offsets = np.cumsum([0, *map(len, parts)]).astype(np.int64)
    words = np.empty(len(parts), np.uint64)
    first_words(data, offsets, words)
    order = np.argsort(words)
    sort_ties(order, words, data, offsets)
    out, places = np.empty_like(data), np.zeros_like(offsets)
    gather(order, data, offsets, out, places)
    found = [out[places[i] : places[i + 1]].tobytes() for i in range(len(parts))]
    assert found == sorted(parts)
