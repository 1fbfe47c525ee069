"""A run on a text of the user's own is no larger than the text is good for."""

from pathlib import Path

import pytest

from flows.cli.reading.own_text import own_text
from flows.config import resolve_config
from flows.explaining.sizing import fit_to_text, leave_given
from flows.presets import PRESETS, find_preset


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("size_bytes", [1, 2_000, 100_000, 3_000_000])
def test_what_fits_is_a_valid_configuration(preset: str, size_bytes: int) -> None:
    """Any preset can be taken for any text; nothing grows."""
    config = find_preset(preset)
    settings = [f"{name}={value}" for name, value in fit_to_text(config, size_bytes).items()]
    fitted = resolve_config(config, None, settings)
    assert fitted.model.vocab_size <= config.model.vocab_size
    assert fitted.train_lm.max_steps <= config.train_lm.max_steps


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_large_text_gets_the_preset_as_it_is(preset: str) -> None:
    """No size is changed without need."""
    assert fit_to_text(find_preset(preset), 10**13) == {}


def test_a_small_text_gets_a_small_vocabulary_and_few_passes() -> None:
    """3 MB: 1 M tokens, 16 passes of which are 3,906 steps of 4,096 tokens."""
    assert fit_to_text(find_preset("tinystories-cpu"), 3_000_000) == {
        "train_lm.max_steps": 3906,
    }
    fitted = fit_to_text(find_preset("tinystories-cpu"), 300_000)
    assert fitted["tokenizer.vocab_size"] == 512
    assert fitted["train_lm.max_steps"] == 390
    assert fitted["train_lm.warmup_steps"] == 39


def test_what_the_user_gave_is_left_alone() -> None:
    """With steps of the user's, what depends on them stays as the preset has it."""
    fitting = {"tokenizer.vocab_size": 512, "train_lm.max_steps": 9, "train_lm.warmup_steps": 1}
    assert leave_given(fitting, {"train_lm.max_steps"}) == {"tokenizer.vocab_size": 512}


def test_one_option_makes_a_run_of_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said what was chosen; the file and the settings of the user win."""
    folder = tmp_path / "12"
    folder.mkdir()
    (folder / "a.txt").write_text("a few words. " * 10_000)
    overlay = {"tokenizer": {"vocab_size": 700}}
    settings = own_text(str(folder), "tinystories-cpu", overlay, ["model.d_model=64"])
    config = resolve_config(find_preset("tinystories-cpu"), overlay, settings)
    assert (config.corpus.train, config.corpus.valid) == (str(folder), "")
    assert (config.corpus.name, config.model.d_model, config.model.vocab_size) == ("12", 64, 700)
    assert config.train_lm.max_steps == 169
    assert config.generate.prompts == ("",)
    printed = capsys.readouterr().err
    assert "one document in 16 validates" in printed
    assert "train_lm.max_steps=169" in printed


def test_a_text_whose_name_is_a_number_is_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TOML would read as a number stays a path."""
    (tmp_path / "12").write_text("words " * 99)
    monkeypatch.chdir(tmp_path)
    assert own_text("12", "smoke", None, [])[0] == 'corpus.train="12"'
    prompts = 'generate.prompts=["a b"]'
    assert [item for item in own_text("12", "smoke", None, [prompts]) if "prompts" in item] == [
        prompts
    ]


def test_without_the_option_nothing_is_chosen() -> None:
    """The settings are the user's."""
    assert own_text("", "smoke", None, ["model.d_model=64"]) == ["model.d_model=64"]
