"""Training: the reference's merges under both rules for ties, and an exact resume."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenizer.samples import as_dict
from tokenizer import reference
from tokenizer.config import TieBreak
from tokenizer.training.counts import PretokenCounts
from tokenizer.training.train import train_bpe, train_merges

TIE_BREAKS: tuple[TieBreak, ...] = ("lexicographic", "huggingface")
# Few letters make overlapping pairs and ties; huge counts do not fit the pool's 32 bits.
words = st.one_of(
    st.text("ab", min_size=1, max_size=30).map(str.encode),
    st.text("abcd ", min_size=1, max_size=12).map(str.encode),
    st.binary(min_size=1, max_size=12),
)
many_words = st.dictionaries(
    words, st.one_of(st.integers(1, 4), st.integers(2**32 - 2, 2**33)), max_size=20
)


@given(counts=many_words, num_merges=st.integers(0, 60), tie_break=st.sampled_from(TIE_BREAKS))
def test_merges_are_the_reference_s(
    counts: dict[bytes, int], num_merges: int, tie_break: TieBreak
) -> None:
    """Fast and slow training agree on every merge, ties and overlaps included."""
    result = train_merges(PretokenCounts.from_dict(counts), num_merges, tie_break=tie_break)
    expected = reference.train_merges(counts, num_merges, tie_break=tie_break)
    assert result.merges == expected
    assert result.is_exhausted == (len(expected) < num_merges)


def test_vocabulary_is_bytes_merges_specials(tmp_path: Path) -> None:
    """Token ids are the bytes, the merges in order, then the special tokens as given."""
    path = tmp_path / "text"
    data = b"low lower lowest<|endoftext|>low low <pad> lowest" * 3
    path.write_bytes(data)
    special_tokens = ["<|endoftext|>", "<pad>"]
    vocab, merges = train_bpe(path, 264, special_tokens)
    assert (vocab, merges) == reference.train_bpe(data, 264, special_tokens)
    assert list(vocab) == list(range(264))
    assert vocab[263] == b"<pad>"


def test_a_small_text_stops_early(tmp_path: Path) -> None:
    """A text with too few pairs gives what it can, and says so."""
    path = tmp_path / "text"
    path.write_bytes(b"ab ab")
    vocab, merges = train_bpe(path, 1000, [])
    assert merges == [(b"a", b"b"), (b" ", b"ab")]
    assert len(vocab) == 258


def test_too_small_a_vocabulary_is_refused(tmp_path: Path) -> None:
    """The error says what the size must be at least."""
    with pytest.raises(ValueError, match=r"vocab_size \(256\) must be at least 257"):
        train_bpe(tmp_path / "text", 256, ["<|endoftext|>"])
    with pytest.raises(ValueError, match="tie_break"):
        train_merges(PretokenCounts.from_dict({}), 1, tie_break="first")  # type: ignore[arg-type] # on purpose


def random_words(num_words: int, *, seed: int, count: int = 1) -> PretokenCounts:
    """Make random words, all equally frequent: nearly every merge is a tie."""
    source = random.Random(seed)
    letters = "etaoinshrdlu"
    drawn = {
        "".join(source.choices(letters, k=source.randint(3, 12))).encode() for _ in range(num_words)
    }
    return PretokenCounts.from_dict(dict.fromkeys(drawn, count))


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
def test_ties_by_the_hundred_are_broken_by_rule(tie_break: TieBreak) -> None:
    """A corpus in which nearly all merges are ties gives the reference's merges."""
    counts = random_words(60, seed=1)
    merges = train_merges(counts, 300, tie_break=tie_break).merges
    assert merges == reference.train_merges(as_dict(counts), 300, tie_break=tie_break)


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        ((b"abcdefghx", b"abcdefghiy"), [(b"abcdefghi", b"y"), (b"abcdefgh", b"x")]),
        ((b"Zabcdefgh", b"Zabcdefghi"), [(b"Z", b"abcdefghi"), (b"Z", b"abcdefgh")]),
        ((b"abcdefghx", b"abcdefgix"), [(b"abcdefgi", b"x"), (b"abcdefgh", b"x")]),
        ((b"Zabcdefgh", b"Zabcdefgi"), [(b"Z", b"abcdefgi"), (b"Z", b"abcdefgh")]),
    ],
)
def test_ties_of_long_tokens_are_broken_by_all_their_bytes(
    words: tuple[bytes, bytes], pairs: list[tuple[bytes, bytes]]
) -> None:
    """Tokens alike in their first seven bytes differ later; of a token and its start it is less."""
    long_tokens = {b"abcdefgh": 40, b"abcdefghi": 20, b"abcdefgi": 10}
    counts = long_tokens | dict.fromkeys(words, 3)
    merges = train_merges(PretokenCounts.from_dict(counts), 11).merges
    assert merges == reference.train_merges(counts, 11)
    assert merges[-2:] == pairs


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
def test_a_killed_training_resumes_to_the_same_merges(tmp_path: Path, tie_break: TieBreak) -> None:
    """A training that stops at any checkpoint and is resumed gives the merges of one run."""
    counts = random_words(300, seed=2)
    whole = train_merges(counts, 400, tie_break=tie_break)
    checkpoint = tmp_path / "merges.npz"

    def stop_at(done: int, _total: int) -> None:
        if done >= 256:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_merges(
            counts, 400, tie_break=tie_break, checkpoint_path=checkpoint, on_progress=stop_at
        )
    train_merges(counts, 150, tie_break=tie_break, checkpoint_path=checkpoint)
    resumed = train_merges(counts, 400, tie_break=tie_break, checkpoint_path=checkpoint)
    assert resumed.resumed_merges == 150
    assert resumed.merges == whole.merges
    assert resumed.merge_counts == whole.merge_counts


def test_a_checkpoint_of_other_counts_is_not_used(tmp_path: Path) -> None:
    """A checkpoint of another text is replaced, not resumed."""
    checkpoint = tmp_path / "merges.npz"
    train_merges(random_words(50, seed=3), 50, checkpoint_path=checkpoint)
    other = random_words(50, seed=4)
    result = train_merges(other, 60, checkpoint_path=checkpoint)
    assert result.resumed_merges == 0
    assert result.merges == train_merges(other, 60).merges


def test_a_training_without_pairs_left_is_saved_too(tmp_path: Path) -> None:
    """Called again, it finds all its merges, and again that there are no more."""
    counts, checkpoint = random_words(5, seed=6), tmp_path / "merges.npz"
    first = train_merges(counts, 10_000, checkpoint_path=checkpoint)
    second = train_merges(counts, 10_000, checkpoint_path=checkpoint)
    assert second.resumed_merges == len(first.merges)
    assert second.merges == first.merges
    assert first.is_exhausted
    assert second.is_exhausted


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
def test_a_training_of_long_tokens_is_resumed(tmp_path: Path, tie_break: TieBreak) -> None:
    """Tokens of half a million bytes come back from a checkpoint."""
    counts, checkpoint = PretokenCounts.from_dict({b"a" * 2**20: 1}), tmp_path / "merges.npz"
    train_merges(counts, 18, tie_break=tie_break, checkpoint_path=checkpoint)
    resumed = train_merges(counts, 19, tie_break=tie_break, checkpoint_path=checkpoint)
    assert resumed.resumed_merges == 18
    assert resumed.longest_tokens == [b"a" * 2**19]


class RunsCode:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        """Name the function that pickle calls to load it, and the argument."""
        return Path.mkdir, (self.folder,)


def test_a_checkpoint_is_not_unpickled(tmp_path: Path) -> None:
    """A file with Python objects in it, which could run code, is not used."""
    checkpoint = tmp_path / "merges.npz"
    np.savez(checkpoint, identity=np.array(RunsCode(tmp_path / "ran"), dtype=object))
    words = random_words(5, seed=7)
    assert train_merges(words, 3, checkpoint_path=checkpoint).merges == (
        train_merges(words, 3).merges
    )
    assert not (tmp_path / "ran").exists()


def test_statistics_follow_from_the_merges() -> None:
    """Tokens, bytes per token and the longest tokens with all ties are what encoding gives."""
    counts = PretokenCounts.from_dict({b"abab": 3, b"cdcd": 3, b"x": 5})
    result = train_merges(counts, 4)
    assert result.longest_tokens == [b"abab", b"cdcd"]
    assert result.num_bytes == 29
    assert result.num_tokens == 3 + 3 + 5
    assert result.bytes_per_token == pytest.approx(29 / 11)
    assert set(result.seconds) == {"build", "merge"}
    assert 2**24 < result.peak_rss_bytes["build"] <= result.peak_rss_bytes["merge"] < 2**40
    assert train_merges(PretokenCounts.from_dict({}), 4).bytes_per_token == 0.0


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
def test_many_ties_are_no_cliff(tie_break: TieBreak) -> None:
    """Ten times the words, nearly all merges ties, take far less than 100 times as long."""
    small, large = random_words(800, seed=5), random_words(8000, seed=5)
    train_merges(small, 10, tie_break=tie_break)
    started = time.thread_time()
    train_merges(small, 2000, tie_break=tie_break)
    middle = time.thread_time()
    result = train_merges(large, 20_000, tie_break=tie_break)
    assert len(result.merges) > 15_000
    assert time.thread_time() - middle < 40 * max(middle - started, 0.005)


def test_long_pretokens_of_one_letter_take_linear_time() -> None:
    """A pretoken of a million letters, most of it overlapping pairs, is merged in linear time."""
    started = time.thread_time()
    result = train_merges(PretokenCounts.from_dict({b"a" * 1_000_000: 3, b"ab" * 1000: 1}), 30)
    assert time.thread_time() - started < 5
    assert result.merges[:3] == [(b"a", b"a"), (b"aa", b"aa"), (b"aaaa", b"aaaa")]
