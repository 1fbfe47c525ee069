"""How the numbers of a run are written, in the table and in the lines alike."""

import re

from flows.view.board import Compile, Training, Work
from tasks.watching.progress import format_bytes

METRICS = (
    ("train/loss", "loss {:.4f}"),
    ("valid/loss", "valid {:.4f}"),
    ("train/learning_rate", "rate {:.2e}"),
    ("perf/tokens_per_second", "{:,.0f} tokens/s"),
    ("perf/mfu", "MFU {:.0%}"),
)
"""What is shown of a training, by the names of its metrics."""

SETTING = re.compile(r" (?=\w+=)")
"""The space before a setting of a title; a value may hold others."""


def cut_title(title: str, width: int) -> str:
    """Return a title with as many whole settings as the width has room for.

    >>> cut_title("smoke max_steps=60 d_model=512", 24)
    'smoke max_steps=60 …'
    """
    if len(title) <= width:
        return title
    kept, *settings = SETTING.split(title)
    for setting in settings:
        if len(f"{kept} {setting} …") > width:
            break
        kept = f"{kept} {setting}"
    return f"{kept} …"


def format_seconds(seconds: float) -> str:
    """Write a duration as a person says it.

    >>> format_seconds(3.21), format_seconds(95), format_seconds(7384)
    ('3.2 s', '1:35', '2:03:04')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe_work(work: Work, now: float) -> str:
    """Return how far a piece of work is, how fast it is, and how long it will take."""
    parts = [_amounts(work)]
    if rate := work.rate(now):
        parts.append(f"{_amount(rate, work.unit)}/s" if rate >= 1 else f"{1 / rate:.1f} s each")
    if (remaining_s := work.remaining_s(now)) is not None:
        parts.append(f"{format_seconds(remaining_s)} left")
    return ", ".join(parts)


def describe_compile(running: Compile, now: float) -> str:
    """Return what is being compiled, for how long already, and how long it usually takes."""
    seconds, usual = now - running.began, running.expected_s
    if not usual:
        return f"{running.what}, {seconds:.0f} s"
    joint = "of about" if seconds < usual else "instead of about"
    return f"{running.what}, {seconds:.0f} s {joint} {usual:.0f} s"


def describe_training(training: Training) -> str:
    """Return the last numbers of a training in one line."""
    known = training.metrics
    return "  ".join(text.format(known[name]) for name, text in METRICS if name in known)


def _amounts(work: Work) -> str:
    if work.unit == "bytes":
        done, total = format_bytes(work.done), format_bytes(work.total)
        return f"{done} of {total}" if work.total else done
    total = f"/{work.total:,}" if work.total else ""
    return f"{work.done:,}{total} {work.unit}"


def _amount(amount: float, unit: str) -> str:
    if unit == "bytes":
        return format_bytes(amount)
    return f"{amount:,.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
