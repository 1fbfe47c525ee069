"""A stream of text, cut into pieces that can be encoded one by one, with the same ids."""

from collections.abc import Iterable, Iterator

from tokenizer.text.cuts import CutRule, last_cut


def iter_safe_pieces(chunks: Iterable[bytes], rule: CutRule) -> Iterator[bytes]:
    """Yield the text of the chunks in pieces that end at safe cuts.

    Only the end waits for the next chunk, because more text could change it: what follows the last
    safe cut, and at least as much as the longest special token. Where only special tokens are safe
    cuts, that is a whole document.

    Args:
        chunks: The text, cut anywhere.
        rule: Where the text may be cut.
    """
    pending: list[bytes] = []
    pending_bytes = wanted_bytes = 0
    for chunk in chunks:
        pending.append(chunk)
        pending_bytes += len(chunk)
        if pending_bytes < wanted_bytes:
            continue
        data = b"".join(pending)
        cut = last_cut(data, 0, len(data) - max(rule.max_special_bytes, 1), rule) or 0
        if cut:
            yield data[:cut]
        pending = [data[cut:]]
        pending_bytes = len(data) - cut
        # The next search waits for twice as much, so that a text without a cut takes linear time.
        wanted_bytes = 2 * pending_bytes
    rest = b"".join(pending)
    if rest:
        yield rest
