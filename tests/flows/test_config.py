"""Presets, overlays and settings become one checked configuration, or a clear error."""

from pathlib import Path

import pytest

from flows.config import parse_setting, read_overlay, resolve_config
from flows.presets import PRESETS, find_preset


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_is_complete(name: str) -> None:
    """A preset passes its own checks, and resolving it with nothing changes nothing."""
    preset = find_preset(name)
    assert resolve_config(preset) == preset


def test_tinystories_trains_on_the_tokens_of_the_course() -> None:
    """The preset is the course's run: 327,680,000 tokens with the course's shape."""
    config = find_preset("tinystories")
    train = config.train_lm
    assert train.batch_size * train.max_steps * config.model.context_length == 327_680_000


def test_settings_win_over_the_file_and_the_file_over_the_preset() -> None:
    """The layers are preset, overlay, settings."""
    overlay = {"model": {"d_model": 64, "num_heads": 8}, "corpus": {"name": "mine"}}
    config = resolve_config(find_preset("smoke"), overlay, ["model.d_model=32"])
    assert (config.model.d_model, config.model.num_heads) == (32, 8)
    assert config.corpus.name == "mine"


def test_the_model_takes_the_vocabulary_of_the_tokenizer() -> None:
    """Nobody has to say the vocabulary size twice."""
    config = resolve_config(find_preset("smoke"), None, ["tokenizer.vocab_size=777"])
    assert config.model.vocab_size == 777


@pytest.mark.parametrize(
    ("preset", "settings", "rates"),
    [
        ("smoke", [], (1e-2, 1e-3)),
        ("smoke", ["train_lm.max_learning_rate=1e-4"], (1e-4, 1e-5)),
        ("smoke", ["train_lm.max_learning_rate=3e-3"], (3e-3, 3e-4)),
        ("tinystories-cpu", ["train_lm.max_learning_rate=1"], (1, 0.0)),
        (
            "smoke",
            ["train_lm.min_learning_rate=2e-3", "train_lm.max_learning_rate=5e-3"],
            (5e-3, 2e-3),
        ),
    ],
)
def test_the_minimum_rate_follows_the_maximum_unless_it_is_given(
    preset: str, settings: list[str], rates: tuple[float, float]
) -> None:
    """One setting is enough for each point of a sweep, and the preset's ratio stays."""
    train = resolve_config(find_preset(preset), None, settings).train_lm
    assert (train.max_learning_rate, train.min_learning_rate) == rates


@pytest.mark.parametrize(
    ("settings", "warmup_steps"),
    [
        (["train_lm.max_steps=30"], 30),
        (["train_lm.max_steps=29"], 2),
        (["train_lm.max_steps=5"], 0),
        (["train_lm.max_steps=5", "train_lm.max_minutes=1"], 30),
        (["train_lm.max_steps=29", "train_lm.warmup_steps=29"], 29),
    ],
)
def test_the_warm_up_fits_into_fewer_steps(settings: list[str], warmup_steps: int) -> None:
    """One setting is enough for a short run; what is given, and what the clock ends, stays."""
    config = resolve_config(find_preset("smoke"), None, settings)
    assert config.train_lm.warmup_steps == warmup_steps


def test_a_minimum_rate_of_the_file_is_kept() -> None:
    """The minimum may come from another layer than the maximum."""
    overlay = {"train_lm": {"min_learning_rate": 1e-5}}
    config = resolve_config(find_preset("smoke"), overlay, ["train_lm.max_learning_rate=1e-4"])
    assert config.train_lm.min_learning_rate == 1e-5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.d_mdel=3", r"unknown key model.d_mdel; did you mean model.d_model\?"),
        ("d_model=64", r"unknown key d_model; did you mean model.d_model\?"),
        ("d_mdel=64", r"unknown key d_mdel; did you mean model.d_model\?"),
        ("batch_size=8", r"did you mean train_lm.batch_size or evaluate.batch_size\?"),
        ("model.max_steps=8", r"did you mean train_lm.max_steps\?"),
        ("train_lm.learning_rate=8", r"did you mean train_lm.max_learning_rate\?"),
        ("learning_rate=8", r"did you mean train_lm.max_learning_rate\?"),
        (
            "train_lm.warmup_steps=301",
            r"warmup_steps \(301\) must be at most max_steps \(300\)",
        ),
        ("qqqq=8", r"unknown key qqqq; allowed: corpus, evaluate, generate"),
        ("modle.d_model=3", r"unknown key modle; did you mean model\?"),
        ("model.d_model=63", r"d_model \(63\) must be a multiple of num_heads \(4\)"),
        ("model.d_model=many", r"model.d_model \('many'\): input should be a valid integer"),
        ("model.norm=batch", r"model.norm \('batch'\): input should be 'pre', 'post' or 'none'"),
        ("model.vocab_size=9", r"model.vocab_size \(9\) must equal tokenizer.vocab_size \(2048\)"),
        (
            "train_lm.max_learning_rate=fast",
            r"max_learning_rate \('fast'\): input should be a valid",
        ),
        (
            "train_lm.max_learning_rate=-1",
            r"max_learning_rate \(-1.0\) must be a finite number above 0",
        ),
        ("train_lm.min_learning_rate=1", r"min_learning_rate \(1.0\) must be at most max"),
        ("model=3", r"model \(3\) must be a section"),
        ("model", r"setting \('model'\) must look like section.field=value"),
        ("tokenizer.vocab_size=100", r"vocab_size \(100\) must be at least 257"),
        ("run.workers=-1", r"workers \(-1\) must be at least 0"),
        ("corpus.train=", r"corpus.train \(\"\"\) must not be empty"),
        ("corpus.train_sha256=xyz", r"must be 64 lower-case hex digits"),
        ("tokenizer.vocab_size=true", r"vocab_size \(True\): input should be a valid integer"),
        ("train_lm.max_learning_rate=true", r"rate \(True\): input should be a valid number"),
        ("train_lm.max_steps=4.0", r"max_steps \(4.0\): input should be a valid integer"),
        ('train_lm.max_steps="4"', r"max_steps \('4'\): input should be a valid integer"),
        ("train_lm.max_steps=1979-05-27", r"\('1979-05-27'\): input should be a valid integer"),
        ("train_lm.max_steps=[4]", r"max_steps \(\[4\]\): input should be a valid integer"),
        ("train_lm.max_steps={a = 4}", r"\({'a': 4}\): input should be a valid integer"),
        ("run.fast=1", r"run.fast \(1\): input should be a valid boolean"),
        ("corpus.name=7", r"corpus.name \(7\): input should be a valid string"),
        ("generate.prompts=the", r"generate.prompts \('the'\): input should be a valid"),
        ("corpus.name=\udcff", r"a setting is not valid Unicode text"),
        ("corpus.document_separator=###", r"must be one of tokenizer.special_tokens"),
    ],
)
def test_a_bad_setting_is_named_with_its_value_and_the_rule(setting: str, message: str) -> None:
    """The error says which field, which value, and what is allowed."""
    with pytest.raises(ValueError, match=message):
        resolve_config(find_preset("smoke"), None, [setting])


def test_an_unknown_preset_names_the_nearest() -> None:
    """A typing error costs one look."""
    with pytest.raises(ValueError, match=r"unknown preset 'smok'; did you mean smoke\?"):
        find_preset("smok")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("a.b=3", 3),
        ("a.b=1e-3", 1e-3),
        ("a.b=true", True),
        ('a.b=["x", "y"]', ["x", "y"]),
        ("a.b=../data/train.txt.gz", "../data/train.txt.gz"),
        ("a.b=none", "none"),
        ("a.b=", ""),
    ],
)
def test_a_value_is_toml_where_it_can_be_and_text_elsewhere(setting: str, value: object) -> None:
    """Numbers, switches and lists have their types, paths need no quotes."""
    assert parse_setting(setting) == {"a": {"b": value}}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Both a missing file and one that is not TOML give one line."""
    with pytest.raises(ValueError, match=r"nowhere\.toml cannot be read"):
        read_overlay(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("[model\n")
    with pytest.raises(ValueError, match=r"bad\.toml is not valid TOML"):
        read_overlay(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    "setting",
    [
        f"train_lm.seed={2**70}",
        f"generate.seed={2**70}",
        "model.d_model=1000000",
        "model.context_length=1000000",
        "run.num_processes=3",
    ],
)
def test_what_no_run_can_use_is_refused_at_once(setting: str) -> None:
    """Not at its stage, after minutes of other work."""
    with pytest.raises(ValueError, match=setting.partition("=")[0].rpartition(".")[2]):
        resolve_config(find_preset("smoke"), None, [setting])
