"""The account answers the course's problems with the numbers of its hand-outs' shapes."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lm.accounting.account import Account, Hardware, account_for, count_forward
from lm.accounting.course import (
    EDITIONS,
    GPT2_SHAPES,
    TRAINING_BATCH_SIZE,
    TRAINING_STEPS,
    adamw_memory,
    gpt2_config,
    listed_activations,
)
from lm.accounting.flops import training_flops_per_token
from lm.accounting.parameters import num_parameters
from lm.config import ModelConfig, TrainConfig
from lm.model.transformer import TransformerLM


def account_of_xl(edition: int) -> Account:
    asked = EDITIONS[edition]
    hardware = Hardware(
        name=asked.device,
        memory_bytes=80 * 10**9,
        precision=asked.precision,
        peak_flops=asked.peak_flops,
        mfu=0.5,
        source="",
    )
    train = TrainConfig(batch_size=TRAINING_BATCH_SIZE, max_steps=TRAINING_STEPS)
    model = gpt2_config("gpt2-xl", edition=edition)
    return account_for("gpt2-xl", model, train, hardware, edition=edition)


def test_the_2025_edition() -> None:
    """Parameters, bytes, FLOPs, shares, memory, batch and days of GPT-2 XL, in exact integers."""
    found = account_of_xl(2025)
    assert found.num_parameters == 2_127_057_600
    assert found.fp32_bytes == 8_508_230_400
    assert found.forward.total == 4_513_336_524_800
    shares = [round(100 * share, 2) for share in found.forward.shares.values()]
    assert shares == [22.30, 7.14, 66.91, 3.65]
    assert found.adamw_memory.bytes_per_sequence == 15_311_904_768
    assert found.adamw_memory.fixed_bytes == 34_032_921_600
    assert found.largest_batch == 3
    assert found.optimizer_flops == 14 * found.num_parameters == 29_778_806_400
    assert round(found.training.days, 1) == 6_583.6


def test_the_2026_edition() -> None:
    """The narrower feed-forward changes parameters, FLOPs and, with the H100, the time."""
    found = account_of_xl(2026)
    assert gpt2_config("gpt2-xl", edition=2026).d_ff == 4_288
    assert found.num_parameters == 1_640_452_800
    assert found.forward.total == 3_516_769_894_400
    assert round(found.training.hours, 1) == 4_850.1
    assert found.largest_batch == 3


@pytest.mark.parametrize(
    ("name", "flops"),
    [
        ("gpt2-small", 349_630_365_696),
        ("gpt2-medium", 1_033_109_504_000),
        ("gpt2-large", 2_257_754_521_600),
    ],
)
def test_the_smaller_sizes(name: str, flops: int) -> None:
    """Forward FLOPs of the other three sizes; the output matrix's share falls with the size."""
    found = count_forward(name, gpt2_config(name, edition=2025))
    assert found.total == flops
    larger = count_forward("gpt2-xl", gpt2_config("gpt2-xl", edition=2025))
    assert found.shares["lm_head"] > larger.shares["lm_head"]


def test_a_context_of_16384() -> None:
    """Attention's scores, quadratic in the context, become the largest part."""
    found = count_forward("gpt2-xl", gpt2_config("gpt2-xl", edition=2025, context_length=16_384))
    assert found.total == 149_522_795_724_800
    assert round(found.total / 4_513_336_524_800, 2) == 33.13
    assert max(found.shares, key=found.shares.__getitem__) == "attention_scores"


def test_the_courses_own_model() -> None:
    """The TinyStories model of section 7."""
    assert num_parameters(ModelConfig()) == 22_696_448
    assert training_flops_per_token(ModelConfig()) == 111_722_496


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("name", GPT2_SHAPES)
def test_real_modules_have_the_counted_parameters(name: str, edition: int) -> None:
    """A module of each shape on the meta device, which holds no numbers, has as many."""
    config = gpt2_config(name, edition=edition)
    with torch.device("meta"):
        model = TransformerLM(config)
    assert num_parameters(config) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "context_length"),
    [
        ("gpt2-small", 1024),
        pytest.param("gpt2-xl", 1024, marks=pytest.mark.slow),
        pytest.param("gpt2-xl", 16_384, marks=pytest.mark.slow),
    ],
)
def test_the_counter_of_torch_finds_the_same_flops(name: str, context_length: int) -> None:
    """So does a forward pass on the meta device, which multiplies shapes only."""
    config = gpt2_config(name, edition=2025, context_length=context_length)
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        TransformerLM(config)(torch.zeros(1, context_length, dtype=torch.long))
    assert counter.get_total_flops() == count_forward("", config).total


def test_the_lists_differ_by_what_the_gate_keeps() -> None:
    """The list of 2026 names two more outputs of SwiGLU; two-matrix feed-forwards have neither."""
    config = gpt2_config("gpt2-small", edition=2025)
    old, new = (listed_activations(config, edition=edition) for edition in (2025, 2026))
    assert set(new) - set(old) == {"W3 product", "element-wise product"}
    assert sum(new.values()) - sum(old.values()) == 2 * 12 * 1024 * 3072
    plain = ModelConfig(ffn="silu")
    assert listed_activations(plain, edition=2025) == listed_activations(plain, edition=2026)


def test_a_model_that_does_not_fit_has_no_batch() -> None:
    """Where the weights and moments alone are too much, not even one sequence fits."""
    memory = adamw_memory(gpt2_config("gpt2-xl", edition=2025), edition=2025)
    assert memory.largest_batch(memory.fixed_bytes) == 0
    assert memory.largest_batch(memory.fixed_bytes - 1) == 0
    assert memory.largest_batch(memory.fixed_bytes + memory.bytes_per_sequence) == 1
    with pytest.raises(ValueError, match="must be one of 2025, 2026"):
        gpt2_config("gpt2-xl", edition=2024)
