"""Counting the pretokens of a text, on several threads; memory does not grow with the text."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenizer.kernels.classify.boundaries import STARTS_SLACK, mark_window, special_arrays
from tokenizer.kernels.classify.classes import class_table
from tokenizer.kernels.counting.count_table import CountTable, count_window
from tokenizer.kernels.first_use import announce_compile
from tokenizer.patterns import is_gpt2_pattern
from tokenizer.pretokenize import iter_pretokens
from tokenizer.text.cuts import CutRule, cut_rule
from tokenizer.text.ranges import cut_range
from tokenizer.text.windows import ByteSource, iter_windows, open_source, range_end
from tokenizer.training.count_tables import add_flat, added_up, empty_table, enlarged, to_counts
from tokenizer.training.counts import PretokenCounts

_TASKS_PER_THREAD = 4
_MIN_TASK_BYTES = 2**22
"""Each thread gets four spans of the text, but no span smaller than this."""


@dataclass(frozen=True)
class _Job:
    """What all threads that count a range need."""

    source: ByteSource
    rule: CutRule
    pattern: str
    special_tokens: Sequence[str]
    report: Callable[[int], None]


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

    The counts are the same for any number of threads. The counts of all `byte_ranges` of a file add
    up to those of the whole file. Memory grows with the distinct pretokens, not the text.

    Args:
        path: A local path or an fsspec URL.
        start: First byte; a safe cut, as `byte_ranges` returns them.
        stop: One after the last byte, None for the end of the text.
        pattern: A name in `PATTERNS` or a regex; "gpt2" has its own fast kernels.
        special_tokens: Texts that no pretoken overlaps.
        num_threads: Threads that count at the same time.
        on_progress: Called with (bytes done, bytes in all), from one thread at a time.

    Raises:
        ValueError: The range lies outside the text, or `num_threads` is not positive.
    """
    if num_threads < 1:
        raise ValueError(f"num_threads ({num_threads}) must be at least 1")
    with open_source(path) as source:
        end = range_end(source, start, stop)
        job = _Job(
            source=source,
            rule=cut_rule(special_tokens=special_tokens, pattern=pattern),
            pattern=pattern,
            special_tokens=special_tokens,
            report=_progress(on_progress, end - start),
        )
        return _count_on_threads(job, start, end, num_threads)


def _count_on_threads(job: _Job, start: int, stop: int, num_threads: int) -> PretokenCounts:
    """Let each thread take the next span when it has done one; add up their tables."""
    count_spans = _count_spans_by_regex
    if is_gpt2_pattern(job.pattern):
        announce_compile(count_window, "counting pretokens")
        count_spans = _count_spans_fast
    task_bytes = max(_MIN_TASK_BYTES, (stop - start) // (num_threads * _TASKS_PER_THREAD))
    spans = iter(cut_range(job.source, start, stop, task_bytes, job.rule))
    with ThreadPoolExecutor(num_threads) as pool:
        running = [pool.submit(count_spans, job, spans) for _ in range(num_threads)]
        tables = [future.result() for future in running]
    return to_counts(added_up(tables))


def _count_spans_fast(job: _Job, spans: Iterator[tuple[int, int]]) -> CountTable:
    """Count spans until none is left, with the kernels of GPT-2's pattern."""
    specials = special_arrays(sorted(job.rule.special_tokens, key=len, reverse=True))
    table = empty_table()
    starts = np.empty(0, np.uint32)
    for span in spans:
        for data, length in iter_windows(job.source, *span, job.rule):
            if len(starts) < length + STARTS_SLACK:
                starts = np.empty(len(data) + STARTS_SLACK, np.uint32)
            count = mark_window(data, length, class_table(), specials, starts)
            done = count_window(table, data, starts, 0, count)
            while done < count:
                table = enlarged(table, length)
                done = count_window(table, data, starts, done, count)
            job.report(length)
    return table


def _count_spans_by_regex(job: _Job, spans: Iterator[tuple[int, int]]) -> CountTable:
    """Count spans until none is left, with the `regex` module."""
    table = empty_table()
    for span in spans:
        for data, length in iter_windows(job.source, *span, job.rule):
            text = data[:length].tobytes()
            counts = Counter(
                iter_pretokens(text, pattern=job.pattern, special_tokens=job.special_tokens)
            )
            table = add_flat(table, PretokenCounts.from_dict(counts))
            job.report(length)
    return table


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
