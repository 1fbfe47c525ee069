"""Own counting the pretokens of a text, on several threads, in bounded memory."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tokenizer.counts import PretokenCounts, merge
from tokenizer.cuts import CutRule, cut_rule
from tokenizer.pretokenize import iter_pretokens
from tokenizer.ranges import cut_range
from tokenizer.windows import ByteSource, iter_windows, open_source

_TASKS_PER_THREAD = 4
_MIN_TASK_BYTES = 2**22


def count_pretokens(
    path: str | Path,
    *,
    start: int = 0,
    stop: int | None = None,
    pattern: str = "gpt2",
    special_tokens: Sequence[str] = (),
    num_threads: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> PretokenCounts:
    """Count the pretokens of bytes [start, stop) of a text; special tokens are no pretokens.

    The counts are the same for any number of threads. A file divided by `byte_ranges` and added
    up gives the counts of the whole file.

    Args:
        path: a local path or an fsspec URL.
        start: first byte; a safe cut, as `byte_ranges` returns them.
        stop: one after the last byte, None for the end of the text.
        pattern: a name in `PATTERNS` or a regex.
        special_tokens: texts that no pretoken crosses.
        num_threads: threads that count at the same time.
        on_progress: called with (bytes done, bytes in all), from one thread at a time.

    Raises:
        ValueError: the range lies outside the text, or `num_threads` is not positive.
    """
    if num_threads < 1:
        raise ValueError(f"num_threads ({num_threads}) must be at least 1")
    rule = cut_rule(special_tokens=special_tokens, pattern=pattern)
    with open_source(path) as source:
        end = source.size_bytes if stop is None else stop
        if not 0 <= start <= end <= source.size_bytes:
            raise ValueError(
                f"bytes {start} to {end} do not lie in {path}, which has {source.size_bytes} bytes"
            )
        task_bytes = max(_MIN_TASK_BYTES, (end - start) // (num_threads * _TASKS_PER_THREAD))
        spans = cut_range(source, start, end, task_bytes, rule)
        report = _progress(on_progress, end - start)

        def count_span(span: tuple[int, int]) -> PretokenCounts:
            return _count_span(source, span, rule, pattern, special_tokens, report)

        with ThreadPoolExecutor(num_threads) as pool:
            return merge([PretokenCounts.from_dict({}), *pool.map(count_span, spans)])


def _count_span(
    source: ByteSource,
    span: tuple[int, int],
    rule: CutRule,
    pattern: str,
    special_tokens: Sequence[str],
    report: Callable[[int], None],
) -> PretokenCounts:
    totals: Counter[bytes] = Counter()
    for buffer, _, length in iter_windows(source, *span, rule):
        text = bytes(buffer[:length])
        totals.update(iter_pretokens(text, pattern=pattern, special_tokens=special_tokens))
        report(length)
    return PretokenCounts.from_dict(totals)


def _progress(on_progress: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    """Return a function that adds up sizes from several threads and calls `on_progress`."""
    lock = threading.Lock()
    done = 0

    def report(size: int) -> None:
        nonlocal done
        if on_progress is not None:
            with lock:
                done += size
                on_progress(done, total)

    return report
