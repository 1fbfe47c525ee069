"""Sizes of a run for a text of the user's own, where the preset's are for more text.

Rules of thumb from the text's size alone; whatever the user gives is left as it is.
"""

from collections.abc import Mapping

from flows.config import PipelineConfig
from tasks.corpus.config import VALID_SHARE

BYTES_PER_TOKEN = 3
"""What a small vocabulary reaches on prose and code (2.8 to 4.1 on our corpora)."""

BYTES_PER_VOCABULARY_ENTRY = 512
"""A token then occurs some 170 times on average: enough to learn its embedding."""

MIN_VOCAB_SIZE = 512

MAX_EPOCHS = 16
"""Passes over a text after which more of them hardly help (Muennighoff et al. 2023,
arXiv:2305.16264: the value of repeated tokens has decayed by 1/e after about 15)."""

MIN_CONTEXT_LENGTH = 16

VALID_WINDOWS = 4
"""Windows that the validation text should have at least."""


def fit_to_text(config: PipelineConfig, size_bytes: int) -> dict[str, int]:
    """Return the settings that fit a text of so many bytes, those that differ from the config.

    They only make a run smaller: vocabulary, context, and the steps with what depends on them.
    """
    vocab_size = max(MIN_VOCAB_SIZE, _power_below(size_bytes // BYTES_PER_VOCABULARY_ENTRY))
    valid_tokens = size_bytes // VALID_SHARE // BYTES_PER_TOKEN
    context_length = max(MIN_CONTEXT_LENGTH, _power_below(valid_tokens // VALID_WINDOWS))
    context_length = min(config.model.context_length, context_length)
    step_tokens = config.train_lm.batch_size * context_length
    max_steps = max(1, MAX_EPOCHS * size_bytes // BYTES_PER_TOKEN // step_tokens)
    max_steps = min(config.train_lm.max_steps, max_steps)
    fitting = {
        "tokenizer.vocab_size": (vocab_size, config.tokenizer.vocab_size),
        "model.context_length": (context_length, config.model.context_length),
        "train_lm.max_steps": (max_steps, config.train_lm.max_steps),
        "train_lm.warmup_steps": (max_steps // 10, config.train_lm.warmup_steps),
        "train_lm.valid_interval": (max(1, max_steps // 3), config.train_lm.valid_interval),
    }
    return {name: fit for name, (fit, preset) in fitting.items() if fit < preset}


def leave_given(fitting: Mapping[str, int], given: set[str]) -> dict[str, int]:
    """Leave out what the user gave, and what depends on it."""
    if "train_lm.max_steps" in given:
        given = {*given, "train_lm.warmup_steps", "train_lm.valid_interval"}
    return {name: value for name, value in fitting.items() if name not in given}


def _power_below(number: int) -> int:
    """Return the greatest power of two that is not above the number; 0 for 0."""
    return 1 << (number.bit_length() - 1) if number > 0 else 0
