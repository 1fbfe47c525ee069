"""The settings of a tokenizer: wrong ones are refused, and what follows from them."""

import pytest

from tokenizer.config import TokenizerConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab_size": 256}, r"vocab_size \(256\) must be at least 257"),
        ({"pattern": "gpt3"}, "'gpt3' must be gpt2, cl100k, o200k or a regular expression"),
        ({"pattern": "(["}, "is no regular expression"),
        ({"tie_break": "random"}, r"tie_break \('random'\) must be"),
        ({"range_bytes": 0}, r"range_bytes \(0\) must be positive"),
        ({"special_tokens": ("",)}, "special token is empty"),
    ],
)
def test_config_names_the_wrong_field(fields: dict[str, object], message: str) -> None:
    """A wrong setting is refused with its value and what is allowed."""
    with pytest.raises(ValueError, match=message):
        TokenizerConfig(**fields)  # type: ignore[arg-type] # wrong on purpose


def test_the_rest_of_the_vocabulary_is_merges() -> None:
    """A vocabulary has its 256 bytes, its special tokens, and as many merges as still fit."""
    assert TokenizerConfig(vocab_size=300, special_tokens=("<a>", "<b>")).num_merges == 42
    assert TokenizerConfig(vocab_size=256, special_tokens=()).num_merges == 0


def test_the_defaults_are_what_runs_without_settings_were_made_with() -> None:
    """They are in fingerprints: another default finds none of the artifacts that there are."""
    assert TokenizerConfig() == TokenizerConfig(
        vocab_size=10_000,
        special_tokens=("<|endoftext|>",),
        pattern="gpt2",
        tie_break="lexicographic",
        range_bytes=67_108_864,
    )
