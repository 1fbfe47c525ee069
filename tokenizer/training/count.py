"""Own counting the pretokens of a text, on several threads, in bounded memory."""

import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenizer.kernels.boundaries import STARTS_SLACK, mark_window, special_arrays
from tokenizer.kernels.classes import class_table
from tokenizer.kernels.count_table import CountTable, count_window
from tokenizer.kernels.first_use import announce_compile
from tokenizer.pretokenize import iter_pretokens
from tokenizer.text.cuts import CutRule, cut_rule
from tokenizer.text.ranges import cut_range
from tokenizer.text.windows import ByteSource, iter_windows, open_source
from tokenizer.training.count_tables import (
    add_flat,
    added_up,
    empty_table,
    enlarged,
    merge,
    read_counts,
    table_bytes,
    to_counts,
)
from tokenizer.training.counts import PretokenCounts, write_counts

_TASKS_PER_THREAD = 4
_MIN_TASK_BYTES = 2**22


@dataclass(frozen=True)
class _Job:
    """What every counting thread is given."""

    rule: CutRule
    pattern: str
    report: Callable[[int], None]
    spill_folder: Path | None
    table_limit_bytes: int


def count_pretokens(
    path: str | Path,
    *,
    start: int = 0,
    stop: int | None = None,
    pattern: str = "gpt2",
    special_tokens: Sequence[str] = (),
    num_threads: int = 1,
    memory_limit_bytes: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> PretokenCounts:
    """Count the pretokens of bytes [start, stop) of a text; special tokens are no pretokens.

    The counts are the same for any number of threads. A file divided by `byte_ranges` and added
    up gives the counts of the whole file. Memory grows with the distinct pretokens, not the text.

    Args:
        path: a local path or an fsspec URL.
        start: first byte; a safe cut, as `byte_ranges` returns them.
        stop: one after the last byte, None for the end of the text.
        pattern: a name in `PATTERNS` or a regex; "gpt2" has its own fast kernels.
        special_tokens: texts that no pretoken crosses.
        num_threads: threads that count at the same time.
        memory_limit_bytes: when the threads' tables would take more than this, they are written to
            sorted Parquet parts in a temporary folder and added up at the end; 0 for no limit. The
            result itself is not limited by it.
        on_progress: called with (bytes done, bytes in all), from one thread at a time.

    Raises:
        ValueError: the range lies outside the text, or `num_threads` is not positive.
    """
    if num_threads < 1:
        raise ValueError(f"num_threads ({num_threads}) must be at least 1")
    rule = cut_rule(special_tokens=special_tokens, pattern=pattern)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(path))
        end = source.size_bytes if stop is None else stop
        if not 0 <= start <= end <= source.size_bytes:
            raise ValueError(
                f"bytes {start} to {end} do not lie in {path}, which has {source.size_bytes} bytes"
            )
        folder = None
        if memory_limit_bytes > 0:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="counts-")))
        job = _Job(
            rule=rule,
            pattern=pattern,
            report=_progress(on_progress, end - start),
            spill_folder=folder,
            table_limit_bytes=memory_limit_bytes // num_threads,
        )
        counts = _count_on_threads(source, start, end, job, num_threads)
        spilled = sorted(folder.iterdir()) if folder is not None else []
        return merge([counts, read_counts(spilled)]) if spilled else counts


def _count_on_threads(
    source: ByteSource, start: int, stop: int, job: _Job, num_threads: int
) -> PretokenCounts:
    """Let each thread take the next span when it has done one; add up their tables."""
    task_bytes = max(_MIN_TASK_BYTES, (stop - start) // (num_threads * _TASKS_PER_THREAD))
    if job.rule.at_whitespace:
        announce_compile(count_window, "counting pretokens")
    spans = iter(cut_range(source, start, stop, task_bytes, job.rule))
    count_spans = _count_spans_fast if job.rule.at_whitespace else _count_spans_by_regex
    with ThreadPoolExecutor(num_threads) as pool:
        running = [pool.submit(count_spans, source, spans, job) for _ in range(num_threads)]
        tables = [future.result() for future in running]
    return to_counts(added_up(tables))


def _count_spans_fast(
    source: ByteSource, spans: Iterator[tuple[int, int]], job: _Job
) -> CountTable:
    """Count the spans that this thread gets hold of, with the kernels of GPT-2's pattern."""
    specials = special_arrays(sorted(job.rule.special_tokens, key=len, reverse=True))
    table = empty_table()
    starts = np.empty(0, np.uint32)
    for span in spans:
        for _, data, length in iter_windows(source, *span, job.rule):
            if len(starts) < length + STARTS_SLACK:
                starts = np.empty(len(data) + STARTS_SLACK, np.uint32)
            count = mark_window(data, length, class_table(), specials, starts)
            done = count_window(table, data, starts, 0, count)
            while done < count:
                table = _with_more_room(table, length, job)
                done = count_window(table, data, starts, done, count)
            job.report(length)
    return table


def _with_more_room(table: CountTable, next_bytes: int, job: _Job) -> CountTable:
    """Return the table enlarged, or an empty one after writing it out, where memory is short."""
    # While a table is enlarged, the old one and one of twice the size exist.
    if job.spill_folder is None or 3 * table_bytes(table) < job.table_limit_bytes:
        return enlarged(table, next_bytes)
    path = job.spill_folder / f"spilled-{uuid.uuid4().hex}.parquet"
    write_counts(to_counts(table), path)
    return enlarged(empty_table(), next_bytes)


def _count_spans_by_regex(
    source: ByteSource, spans: Iterator[tuple[int, int]], job: _Job
) -> CountTable:
    """Count the spans that this thread gets hold of, with the `regex` module."""
    table = empty_table()
    special_tokens = [token.decode("utf-8") for token in job.rule.special_tokens]
    for span in spans:
        for buffer, _, length in iter_windows(source, *span, job.rule):
            text = bytes(buffer[:length])
            counts = Counter(
                iter_pretokens(text, pattern=job.pattern, special_tokens=special_tokens)
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
