"""The configuration refuses what cannot be built, and says the way out."""

import subprocess
import sys

import pytest

from lm.config import EvaluateConfig, GenerateConfig, ModelConfig, RunOptions, TrainConfig


def test_defaults_are_the_courses_model() -> None:
    """The default shape is the TinyStories model of CS336 A1, section 7."""
    config = ModelConfig()
    assert (config.vocab_size, config.context_length, config.d_model) == (10_000, 256, 512)
    assert (config.d_head, config.kv_heads, config.d_ff_inner) == (32, 16, 1344)


def test_two_matrix_feed_forwards_are_parameter_matched() -> None:
    """SiLU and squared ReLU are 3/2 as wide as SwiGLU, so that the parameters are equal."""
    for ffn in ("silu", "relu2"):
        assert 2 * ModelConfig(ffn=ffn).d_ff_inner == 3 * ModelConfig().d_ff_inner


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": 100}, r"d_model \(100\) must be a multiple of num_heads \(16\)"),
        ({"d_model": 48}, r"d_head .* \(3\) must be even with position='rope'"),
        ({"num_kv_heads": 3}, r"num_heads \(16\) must be a multiple of num_kv_heads \(3\)"),
        ({"num_layers": 0}, r"num_layers \(0\) must be a finite number of at least 1"),
        ({"rope_theta": float("inf")}, r"rope_theta \(inf\) must be a finite number above 0"),
        ({"norm": "last"}, r"norm \('last'\) must be one of none, post, pre"),
        ({"ffn": "silu", "d_ff": 65}, r"d_ff \(65\) must be even .* take 66"),
        ({"logit_softcap": -1.0}, r"logit_softcap \(-1.0\)"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_impossible_shapes_are_refused(changes: dict[str, object], message: str) -> None:
    """A shape that cannot be built is a ValueError that names field, value and rule."""
    with pytest.raises(ValueError, match=message):
        ModelConfig(**changes)  # type: ignore[arg-type]  # wrong on purpose


def test_odd_heads_are_allowed_without_rope() -> None:
    """Without rotary positions nothing is paired, so heads may be odd."""
    assert ModelConfig(d_model=48, position="none").d_head == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, r"batch_size \(0\)"),
        ({"betas": (0.9, 1.0)}, r"betas \(1.0\) must be at least 0 and below 1"),
        ({"min_learning_rate": 1.0}, r"min_learning_rate \(1.0\) must be at most max_learn"),
        ({"warmup_steps": 2000}, r"warmup_steps \(2000\) must be at most max_steps \(1000\)"),
        ({"precision": "fp16"}, r"precision \('fp16'\) must be one of bf16, fp32, tf32"),
        ({"max_learning_rate": float("nan")}, r"max_learning_rate \(nan\)"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_impossible_training_is_refused(changes: dict[str, object], message: str) -> None:
    """A training value that no run can use is a ValueError that names it."""
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": -0.1}, r"temperature \(-0.1\)"),
        ({"top_p": 0.0}, r"top_p \(0.0\) must be above 0 and at most 1"),
        ({"prompts": ()}, r"prompts \(\) must hold at least one text"),
    ],
)
def test_impossible_sampling_is_refused(changes: dict[str, object], message: str) -> None:
    """A sampling value that no sampler can use is a ValueError that names it."""
    with pytest.raises(ValueError, match=message):
        GenerateConfig(**changes)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.usefixtures("unchecked")
def test_impossible_evaluation_and_options_are_refused() -> None:
    """Evaluation and run options are checked too."""
    with pytest.raises(ValueError, match=r"context_length \(-1\)"):
        EvaluateConfig(context_length=-1)
    with pytest.raises(ValueError, match=r"device \('tpu'\) must be one of"):
        RunOptions(device="tpu")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ValueError, match=r"num_processes \(0\)"):
        RunOptions(num_processes=0)


def test_config_and_accounting_load_no_torch() -> None:
    """The command line starts at once, because config and accounting import nothing heavy."""
    code = (
        "import sys, lm, lm.config, lm.accounting.memory, lm.optim.schedule; "
        "sys.exit(bool({'torch', 'numpy', 'safetensors'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
