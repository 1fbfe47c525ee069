"""What the views show of a run's events."""

from io import StringIO

import pytest
from rich.console import Console

from flows.view import live
from flows.view.board import Board, Compile
from flows.view.lines import PlainView
from flows.view.live import LiveView, live_view
from flows.view.wording import describe_compile
from tasks.watching.events import (
    CompileEnded,
    CompileStarted,
    Event,
    Leaving,
    Measured,
    Noted,
    Preparing,
    Progressed,
    Resumed,
    RunStarted,
    StageEnded,
    StageMissed,
    StageStarted,
)

BEGINNING: list[Event] = [
    RunStarted(title="smoke max_steps=300", stages=("download train", "count", "train_lm")),
    Preparing(what="opening the run"),
    StageStarted(stage="download train"),
    StageEnded(stage="download train", outcome="cached", seconds=0.02),
    StageStarted(stage="count", if_built="pattern: gpt2 -> o200k"),
    StageMissed(),
    CompileStarted(what="kernels", expected_s=8.0),
]
TRAINING: list[Event] = [
    CompileEnded(),
    StageEnded(stage="count", outcome="built", seconds=64.0),
    StageStarted(stage="train_lm"),
    StageMissed(reason="no train_lm artifact is there yet"),
    Resumed(stage="train_lm", step=120, max_steps=300),
    Progressed(work="train", done=120, total=300, unit="steps"),
    Progressed(work="train", done=150, total=300, unit="steps"),
    *(Measured(step=n, metrics={"step": n, "train/loss": 9.0 - n / 20}) for n in range(0, 100, 10)),
    Measured(step=150, metrics={"valid/loss": 4.125, "perf/mfu": 0.31, "train/loss": None}),
]


def drawn(board: Board, width: int = 100) -> str:
    """Return what a terminal of so many columns shows of a board."""
    console = Console(file=StringIO(), width=width)
    console.print(LiveView(board))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def told(*events: Event) -> Board:
    """Return a board that has heard events."""
    board = Board()
    for event in events:
        board.take(event)
    return board


def test_the_table_fills_as_stages_end() -> None:
    """A cached stage, one that compiles with its expected seconds, and one that waits."""
    shown = drawn(told(*BEGINNING))
    assert "smoke max_steps=300" in shown
    assert "cached" in shown
    assert "compiling" in shown
    assert "kernels, 0 s of about 8 s" in shown
    assert "train_lm" in shown
    assert "pattern: gpt2 -> o200k" in drawn(told(*BEGINNING[:-1]))
    assert "opening the run" not in shown


def test_a_long_title_is_cut_between_two_settings() -> None:
    """Never in a number; a value with spaces is one value."""
    settings = ["prompts=def ,The ", *(f"setting_{n}=12345" for n in range(9))]
    title = " ".join(["smoke", *settings])
    first = drawn(told(RunStarted(title=title, stages=("count",)))).splitlines()[0]
    assert first.partition("  0.0 s")[0] == " ".join(["smoke", *settings[:5], "…"])
    assert drawn(told(RunStarted(title=settings[0], stages=()))).startswith(settings[0])


def test_compiling_that_takes_longer_than_usual_says_so() -> None:
    """On a busy machine, say."""
    running = Compile(what="kernels", began=0.0, expected_s=11.0)
    assert describe_compile(running, 6.0) == "kernels, 6 s of about 11 s"
    assert describe_compile(running, 27.0) == "kernels, 27 s instead of about 11 s"


def test_a_training_shows_its_numbers_and_its_curve() -> None:
    """Loss, validation loss, MFU and steps; what could not be measured keeps its last value."""
    shown = drawn(told(*BEGINNING, *TRAINING))
    assert "pattern: gpt2 -> o200k" not in shown  # it is built, so nobody asks why any more
    assert "1:04" in shown
    assert "150/300 steps" in shown
    assert "loss 4.5000  valid 4.1250  MFU 31%" in shown
    assert "  9.000 ⠉" in shown
    assert "resumed: train_lm at step 120 of 300" in shown


def test_a_narrow_terminal_shows_the_numbers_and_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is worth more than its picture; a wide one shows both."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    board = told(*BEGINNING, *TRAINING)
    now[0] = 110.0
    numbers = "150/300 steps, 3.0 steps/s, 50.0 s left"
    assert f" {numbers}" in drawn(board, width=80)
    assert "━" not in drawn(board, width=80)
    assert f"━ {numbers}" in drawn(board, width=100)


def test_the_rate_counts_only_what_this_run_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of an earlier run make neither the rate higher nor the remaining time shorter."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    board = told(*BEGINNING, *TRAINING)
    assert board.row is not None
    assert board.row.work is not None
    assert board.row.work.rate(110.0) == pytest.approx(3.0)
    assert board.row.work.remaining_s(110.0) == pytest.approx(50.0)


def test_plain_lines_are_one_a_stage_and_one_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line for each report of progress, and one for each stage that ends."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    lines: list[str] = []
    view = PlainView(Board(), lines.append)
    for event in [*BEGINNING, *TRAINING]:
        view.take(event)
    assert lines == [
        "smoke max_steps=300",
        "opening the run ...",
        "download train       cached      0.0 s",
        "count: compiling kernels, 0 s of about 8 s",
        "count                built        1:04  (pattern: gpt2 -> o200k)",
        "resumed: train_lm at step 120 of 300",
    ]
    now[0] = 161.0
    view.take(Progressed(work="train", done=240, total=300, unit="steps"))
    view.take(Progressed(work="train", done=241, total=300, unit="steps"))
    assert lines[6:] == [
        "train_lm: 240/300 steps, 2.0 steps/s, 30.5 s left  loss 4.5000  valid 4.1250  MFU 31%"
    ]


def test_a_note_is_shown_and_old_ones_go() -> None:
    """What a person should know stays below the table, the newest lines of it."""
    shown = drawn(told(*BEGINNING, *(Noted(text=f"note {n}") for n in range(9))))
    assert "note 8" in shown
    assert "note 3" not in shown


def test_a_run_that_leaves_at_once_takes_its_table_away() -> None:
    """What it would leave shows a stage at work."""
    console = Console(file=StringIO(), width=100, force_terminal=True)
    assert isinstance(console.file, StringIO)
    with live_view(Board(), console) as observer:
        for event in BEGINNING:
            observer(event)
        observer(Leaving())
        shown = console.file.getvalue()
        observer(StageEnded(stage="count", outcome="stopped", seconds=1.0))
        assert console.file.getvalue() == shown
    *table, erasing = shown.rsplit("train_lm", 1)
    assert table
    assert erasing.count("\x1b[2K") >= 4  # title, three stages


def test_a_closed_terminal_ends_the_view_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error would take the place of what the body raises: that the run was stopped."""
    file = StringIO()
    monkeypatch.setattr(live, "REFRESHES_PER_SECOND", 0.01)  # this thread alone draws

    def refuse(_: str) -> int:
        raise OSError("the other side is closed")

    with live_view(Board(), Console(file=file, force_terminal=True)):
        monkeypatch.setattr(file, "write", refuse)
