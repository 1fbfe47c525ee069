"""The verdict on merges: the same as those that public runs agree on, or not."""

from tokenizer.training.digests import PUBLIC_TOKENIZERS, verdict


def test_verdict_knows_the_public_tokenizers() -> None:
    """Other merges on a public corpus differ; of another corpus or size nothing is known."""
    known = PUBLIC_TOKENIZERS[0]
    wrong = verdict([(b"a", b"b")], corpus_sha256=known.corpus_sha256, vocab_size=10_000)
    assert wrong.status == "mismatch"
    assert known.merges_sha256 in wrong.message
    assert verdict([], corpus_sha256=known.corpus_sha256, vocab_size=500).status == "unknown"
    assert verdict([], corpus_sha256="0" * 64, vocab_size=10_000).status == "unknown"
