"""Complete configurations, each a function: read one to know exactly what a run does."""

from collections.abc import Callable
from dataclasses import replace

from flows.config import PipelineConfig, RunConfig, nearest
from lm.accounting.course import (
    TRAINING_BATCH_SIZE,
    TRAINING_STEPS,
    find_edition,
    gpt2_config,
)
from lm.config import EvaluateConfig, GenerateConfig, ModelConfig, TrainConfig
from tasks.corpus.config import OPENWEBTEXT_CORPUS, STDLIB, TINYSTORIES_CORPUS
from tokenizer.config import TokenizerConfig


def smoke() -> PipelineConfig:
    """The whole pipeline on the text that Python carries, in under 3 minutes on two cores."""
    return PipelineConfig(
        corpus=STDLIB,
        tokenizer=TokenizerConfig(vocab_size=2048, range_bytes=4 * 2**20),
        model=ModelConfig(
            vocab_size=2048, context_length=128, d_model=128, num_layers=2, num_heads=4, d_ff=384
        ),
        train_lm=TrainConfig(
            batch_size=16,
            max_steps=300,
            warmup_steps=30,
            max_learning_rate=1e-2,
            min_learning_rate=1e-3,
            valid_interval=100,
            valid_batches=10,
        ),
        evaluate=EvaluateConfig(batch_size=64),
        generate=GenerateConfig(prompts=("def ", "The "), max_new_tokens=96),
        # Compiling takes longer than these few steps.
        run=RunConfig(compile="off"),
    )


def tinystories_cpu() -> PipelineConfig:
    """A model of 5 M parameters on TinyStories: 41 M tokens, 100 minutes on two CPU cores."""
    return PipelineConfig(
        corpus=TINYSTORIES_CORPUS,
        tokenizer=TokenizerConfig(vocab_size=4096, range_bytes=8 * 2**20),
        model=ModelConfig(
            vocab_size=4096,
            context_length=256,
            d_model=256,
            num_layers=4,
            num_heads=8,
            d_ff=640,
            qk_norm=True,
            value_residual=True,
            zero_init_output=True,
        ),
        train_lm=TrainConfig(
            batch_size=16,
            max_steps=10_000,
            warmup_steps=100,
            optimizer="muon",
            max_learning_rate=3e-3,
            min_learning_rate=0.0,
            schedule="linear",
            precision="bf16",
            valid_interval=500,
        ),
        generate=GenerateConfig(num_samples=5),
    )


def tinystories() -> PipelineConfig:
    """The course's TinyStories model: 327,680,000 tokens (CS336 assignment 1, section 7)."""
    return PipelineConfig(
        corpus=TINYSTORIES_CORPUS,
        tokenizer=TokenizerConfig(vocab_size=10_000),
        model=ModelConfig(vocab_size=10_000),
        train_lm=TrainConfig(batch_size=128, max_steps=10_000, warmup_steps=200, precision="bf16"),
        generate=GenerateConfig(num_samples=3),
    )


def openwebtext() -> PipelineConfig:
    """The same model and number of tokens on OpenWebText, with a vocabulary of 32,000."""
    return PipelineConfig(
        corpus=OPENWEBTEXT_CORPUS,
        tokenizer=TokenizerConfig(vocab_size=32_000),
        model=ModelConfig(vocab_size=32_000),
        train_lm=TrainConfig(batch_size=128, max_steps=10_000, warmup_steps=200, precision="bf16"),
        generate=GenerateConfig(prompts=("The", "In the last year,"), num_samples=3),
    )


def _best(preset: PipelineConfig) -> PipelineConfig:
    """Return a preset of the course with what is known to learn more from the same tokens.

    Muon, a rate that falls linearly to 0, normalised queries and keys, and outputs that start at
    zero (docs/decisions/0006-language-model.md). No value residual: no exported format holds it.
    """
    return replace(
        preset,
        model=replace(preset.model, qk_norm=True, zero_init_output=True),
        train_lm=replace(
            preset.train_lm,
            optimizer="muon",
            max_learning_rate=3e-3,
            min_learning_rate=0.0,
            schedule="linear",
        ),
    )


def tinystories_best() -> PipelineConfig:
    """The tokens and shape of `tinystories` (327,680,000 tokens), trained with Muon."""
    return _best(tinystories())


def openwebtext_best() -> PipelineConfig:
    """The tokens and shape of `openwebtext` (327,680,000 tokens), trained with Muon."""
    return _best(openwebtext())


def leaderboard() -> PipelineConfig:
    """OpenWebText in 90 minutes of one H100 (CS336 assignment 1, section 7.5); never run on one.

    134 M parameters: at 30 to 40 % of the card's peak they would see the 2.7 thousand million
    tokens of the text about once, 20 a parameter (Hoffmann et al. 2022, section 3).
    """
    preset = _best(openwebtext())
    return replace(
        preset,
        model=replace(
            preset.model,
            context_length=512,
            d_model=768,
            num_layers=12,
            num_heads=12,
            d_ff=2048,
        ),
        train_lm=replace(
            preset.train_lm,
            batch_size=256,
            max_minutes=90.0,
            max_steps=10**6,  # more than any machine takes: the clock ends the run
            valid_interval=1000,
        ),
    )


def gpt2(name: str, *, edition: int) -> PipelineConfig:
    """GPT-2's shapes with the course's architecture and training, to be accounted for, not run."""
    model = gpt2_config(name, edition=edition)
    return PipelineConfig(
        corpus=OPENWEBTEXT_CORPUS,
        tokenizer=TokenizerConfig(vocab_size=model.vocab_size),
        model=model,
        train_lm=TrainConfig(
            batch_size=TRAINING_BATCH_SIZE,
            max_steps=TRAINING_STEPS,
            precision=find_edition(edition).precision,
        ),
    )


LEADERBOARD = "leaderboard"
"""Its runs end with an audit bundle."""

PRESETS: dict[str, Callable[[], PipelineConfig]] = {
    "smoke": smoke,
    "tinystories-cpu": tinystories_cpu,
    "tinystories": tinystories,
    "openwebtext": openwebtext,
    "tinystories-best": tinystories_best,
    "openwebtext-best": openwebtext_best,
    LEADERBOARD: leaderboard,
}


def find_preset(name: str) -> PipelineConfig:
    """Return the preset of this name; `ValueError` names the nearest."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; {nearest(name, list(PRESETS))}")
    return PRESETS[name]()
