"""Whether a validation text is large enough for its loss to say something."""

from artifacts.identity import Reference
from artifacts.store import Store, record_of

MIN_DOCUMENTS = 10
"""Below this one odd document moves the mean of all by a tenth and more."""

MIN_TOKENS = 10_000
"""The standard error of smoke's loss on 172,000 tokens is 0.03 nats, so some 0.1 on so few."""


def remark_on_validation(store: Store, shards: Reference) -> str:
    """Return what a person should know of a small validation text; "" for one that will do."""
    facts = record_of(store, shards).statistics
    return describe_small(int(facts["num_documents"]), int(facts["num_tokens"]))


def describe_small(num_documents: int, num_tokens: int) -> str:
    """Return a warning of a small validation text with its size and the way out; "": it is fine.

    >>> describe_small(400, 90_000)
    ''
    """
    if num_documents >= MIN_DOCUMENTS and num_tokens >= MIN_TOKENS:
        return ""
    documents = "1 document" if num_documents == 1 else f"{num_documents:,} documents"
    return (
        f"the validation text is only {documents} with {num_tokens:,} tokens, so its loss says "
        "little about other text; add documents, or name more text with --set corpus.valid=PATH"
    )
