"""`owt account` prints what the accounting counts, for every way to name a model."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.main import app


def printed(*arguments: str) -> str:
    """Run the command and return what it printed."""
    done = CliRunner().invoke(app, ["account", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def document(*arguments: str) -> dict[str, Any]:
    """Run the command with `--json` and parse it."""
    found: dict[str, Any] = json.loads(printed(*arguments, "--json"))
    return found


def test_the_tables_of_gpt2_xl() -> None:
    """Every number that the 2025 hand-out asks for is on the page."""
    text = printed("gpt2-xl")
    for number in (
        "2,127,057,600 parameters, 8,508,230,400 bytes",
        "4,513,336,524,800",
        "349,630,365,696",
        "1,033,109,504,000",
        "2,257,754,521,600",
        "149,522,795,724,800",
        "33.13 times",
        "15,311,904,768 B + 34,032,921,600",
        "Largest batch in 80 GB (NVIDIA A100 SXM 80 GB): 3",
        "29,778,806,400 FLOPs",
        "6,583.6 days",
    ):
        assert number in text
    assert "4,850.1 hours" in printed("gpt2-xl", "--edition", "2026")


def test_lines_fit_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is longer than 80 characters, so that no table is cut."""
    monkeypatch.setattr("flows.cli.tables.PIPE_WIDTH", 80)
    monkeypatch.setenv("COLUMNS", "80")
    text = printed("gpt2-xl")
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_options_change_what_is_counted() -> None:
    """Context, batch, steps, device, precision, MFU and settings reach the account."""
    usual = document("gpt2-small")
    other = document(
        *("gpt2-small", "--context-length", "512", "--batch", "8", "--steps", "10"),
        *("--device", "rtx5090", "--precision", "bf16", "--mfu", "0.25"),
        *("--set", "model.tie_embeddings=true"),
    )
    assert other["num_parameters"] == usual["num_parameters"] - usual["parameters"]["lm_head"]
    assert other["training"]["num_tokens"] == 512 * 8 * 10
    assert other["hardware"]["peak_flops"] == 209.5e12
    assert other["hardware"]["memory_bytes"] == 32 * 10**9
    seconds = other["training"]["flops"] / (0.25 * 209.5e12)
    assert other["training"]["seconds"] == pytest.approx(seconds)


def test_a_model_at_the_long_context_is_listed_once() -> None:
    """Its own row is the long one, and it is not held against itself."""
    text = printed("gpt2-small", "--context-length", "16384")
    assert text.count("gpt2-small      ") == 2
    assert "times the FLOPs" not in text


def test_what_does_not_fit_is_told() -> None:
    """24 GB hold neither GPT-2 XL by the list nor on the fast path."""
    text = printed("gpt2-xl", "--device", "rtx3090")
    assert text.count("not one fits") == 2


def test_presets_and_files_are_models_too(tmp_path: Path) -> None:
    """A preset's training is taken with its shape; a file lies over `smoke`, as for `owt run`."""
    assert document("tinystories")["num_parameters"] == 22_696_448
    assert document("tinystories")["training"]["num_tokens"] == 327_680_000
    path = tmp_path / "wide.toml"
    path.write_text("[model]\nd_model = 256\n")
    assert document(str(path))["parameters"]["token_embeddings"] == 2048 * 256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpt2-xxl"], "unknown model 'gpt2-xxl'; did you mean gpt2-xl?"),
        (["gpt2-xl", "--device", "v100"], "unknown device 'v100'"),
        (["gpt2-xl", "--edition", "2024"], "must be one of 2025, 2026"),
        (["gpt2-xl", "--precision", "fp8"], "train_lm.precision ('fp8')"),
        (["gpt2-xl", "--mfu", "50"], "must be above 0 and at most 1"),
        (["gpt2-xl", "--batch", "-1"], "batch_size (-1) must be"),
    ],
)
def test_mistakes_are_named(arguments: list[str], message: str) -> None:
    """The error says what is wrong and what is allowed."""
    done = CliRunner().invoke(app, ["account", *arguments])
    assert message in str(done.exception)
