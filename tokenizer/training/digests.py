"""The verdict on a tokenizer trained on a public corpus: are its merges those that others get?

Known mistakes that change them: ties broken the other way, `<` and `>` lost with the special
tokens, special tokens counted as text, U+FFFD in the saved file, tokens with line ends written over
two lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tokenizer.formats.gpt2 import merges_digest


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicTokenizer:
    """A tokenizer on whose merges independent public runs agree."""

    name: str
    """What people call it."""

    corpus_sha256: str
    """Hash of the unpacked training text."""

    vocab_size: int
    """With the GPT-2 pattern, one special token, and the lexicographic rule for ties."""

    merges_sha256: str
    """Hash of `merges.txt` as `tokenizer.formats.gpt2.format_merges` writes it."""


PUBLIC_TOKENIZERS = (
    PublicTokenizer(
        name="TinyStories 10K",
        corpus_sha256="6418d412de72888f52b5142c761ac21a582f7d1166f0bfbdb5f03ccfdec90443",
        vocab_size=10_000,
        merges_sha256="b6c0ce3ddfcc48b8b2d5b67fe5a911de42e3b0e58010dcdc3ef67b83ad766c26",
    ),
    PublicTokenizer(
        name="OpenWebText 32K",
        corpus_sha256="bbeb7f291a981ecfd5cf44b84d0f654b9e96c53dff99f2556b7d2cccaf8c1918",
        vocab_size=32_000,
        merges_sha256="ded641d1b41ee5bf42ef7693715e7544e48111193bcbcdccfb1de558059e1210",
    ),
)
"""Four independent public runs agree on the merges of the first, two on those of the second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How trained merges compare with those that are public for the corpus."""

    status: Literal["match", "mismatch", "unknown"]
    """Where it is "unknown", nobody published merges for this corpus and size."""

    message: str
    """One line for people."""


def verdict(
    merges: Sequence[tuple[bytes, bytes]], *, corpus_sha256: str, vocab_size: int
) -> Verdict:
    """Compare merges with the public ones for the corpus, if there are any.

    Ask only about the GPT-2 pattern, `<|endoftext|>` alone, and the lexicographic rule for ties.
    """
    digest = merges_digest(merges)
    for known in PUBLIC_TOKENIZERS:
        if (known.corpus_sha256, known.vocab_size) == (corpus_sha256, vocab_size):
            if digest == known.merges_sha256:
                message = f"merges are those of {known.name} that public runs agree on ({digest})"
                return Verdict(status="match", message=message)
            message = (
                f"merges differ from those of {known.name} that public runs agree on: "
                f"sha256 {digest}, expected {known.merges_sha256}"
            )
            return Verdict(status="mismatch", message=message)
    message = f"no public merges are known for this corpus and vocabulary size ({digest})"
    return Verdict(status="unknown", message=message)
