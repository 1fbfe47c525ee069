"""`ranks.tiktoken`: for each token that is not special a line, its base64 and its id.

Source: openai/tiktoken tiktoken/load.py, `dump_tiktoken_bpe`. tiktoken merges the pair whose joint
token has the lowest id, so the ids have to rise in the order of the merges.
"""

import base64
from collections.abc import Mapping, Sequence
from itertools import pairwise


def format_ranks(
    vocab: Mapping[int, bytes],
    merges: Sequence[tuple[bytes, bytes]],
    special_tokens: Sequence[str],
) -> str:
    """Return the file's text; `ValueError` when the ids do not rise with the merges."""
    ids = {token: token_id for token_id, token in vocab.items()}
    merged_ids = [ids[left + right] for left, right in merges]
    for earlier, later in pairwise(merged_ids):
        if earlier >= later:
            raise ValueError(
                f"token {vocab[later]!r} (id {later}) is merged after {vocab[earlier]!r} "
                f"(id {earlier}); tiktoken can express only ids that rise with the merges"
            )
    special = {token.encode("utf-8") for token in special_tokens}
    return "".join(
        f"{base64.b64encode(vocab[token_id]).decode('ascii')} {token_id}\n"
        for token_id in sorted(vocab)
        if vocab[token_id] not in special
    )
