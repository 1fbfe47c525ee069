"""The verdict on merges: the same as those that public runs agree on, or not."""

import pytest

from tokenizer.formats.gpt2 import merges_digest
from tokenizer.training import digests
from tokenizer.training.digests import PUBLIC_TOKENIZERS, PublicTokenizer, verdict


def test_verdict_knows_the_public_tokenizers() -> None:
    """Other merges on a public corpus differ; of another corpus or size nothing is known."""
    known = PUBLIC_TOKENIZERS[0]
    wrong = verdict([(b"a", b"b")], corpus_sha256=known.corpus_sha256, vocab_size=10_000)
    assert wrong.status == "mismatch"
    assert known.merges_sha256 in wrong.message
    assert verdict([], corpus_sha256=known.corpus_sha256, vocab_size=500).status == "unknown"
    assert verdict([], corpus_sha256="0" * 64, vocab_size=10_000).status == "unknown"


def test_the_public_sizes_are_the_course_s() -> None:
    """10,000 ids for TinyStories and 32,000 for OpenWebText, as CS336 asks for."""
    assert [known.vocab_size for known in PUBLIC_TOKENIZERS] == [10_000, 32_000]


def test_the_same_merges_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merges whose hash is the public one are a match, and the message names the tokenizer."""
    merges = [(b"a", b"b"), (b"ab", b"c")]
    known = PublicTokenizer(
        name="Small", corpus_sha256="c" * 64, vocab_size=259, merges_sha256=merges_digest(merges)
    )
    monkeypatch.setattr(digests, "PUBLIC_TOKENIZERS", (*PUBLIC_TOKENIZERS, known))
    found = verdict(merges, corpus_sha256=known.corpus_sha256, vocab_size=259)
    assert found.status == "match"
    assert "Small" in found.message
    other = verdict(merges[:1], corpus_sha256=known.corpus_sha256, vocab_size=259)
    assert other.status == "mismatch"
