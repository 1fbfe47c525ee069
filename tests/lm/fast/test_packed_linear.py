"""Packed matrices give the products of the plain ones."""

import pytest
import torch

from lm.config import GenerateConfig, ModelConfig
from lm.fast.packed_linear import can_pack, pack, packed_kernels
from lm.fast.switch import FAST, use_kernels
from lm.generate import generate_batch
from lm.model.kernels import FAITHFUL
from lm.model.transformer import TransformerLM

CONFIG = ModelConfig(
    vocab_size=40, context_length=32, d_model=32, num_layers=2, num_heads=4, d_ff=48
)


def build(config: ModelConfig = CONFIG) -> TransformerLM:
    return TransformerLM(config, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("num_rows", [1, 8])
@pytest.mark.parametrize("leading", [(1,), (8,), (2, 3)])
def test_a_packed_product_equals_the_plain_one(num_rows: int, leading: tuple[int, ...]) -> None:
    """Any number of rows may be multiplied, whatever number the copy was laid out for."""
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(24, 16, generator=generator), torch.randn(*leading, 16)
    with torch.inference_mode():
        torch.testing.assert_close(pack(weight, num_rows)(x), x @ weight.T)


@pytest.mark.parametrize("num_rows", [1, 4])
@pytest.mark.parametrize("tie_embeddings", [False, True])
def test_packed_logits_equal_faithful_ones(num_rows: int, tie_embeddings: bool) -> None:
    """A whole model computes the same through packed matrices."""
    model = build(
        ModelConfig(vocab_size=40, d_model=32, num_heads=4, tie_embeddings=tie_embeddings)
    )
    ids = torch.arange(20).view(2, 10)
    with torch.inference_mode():
        expected = model(ids)
        use_kernels(model, packed_kernels(model, FAST, num_rows))
        torch.testing.assert_close(model(ids), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("num_prompts", [1, 3])
def test_long_generation_packs_and_gives_the_same_tokens(num_prompts: int) -> None:
    """Tokens equal those of the faithful path, and the copies are dropped afterwards."""
    model = build()
    config = GenerateConfig(max_new_tokens=24, temperature=0.0)
    prompts = [[index + 1, 2] for index in range(num_prompts)]
    seeds = [0] * num_prompts
    packed = generate_batch(model, prompts, config=config, seeds=seeds)
    plain = generate_batch(model, prompts, config=config, seeds=seeds, use_cache=False, fast=False)
    assert packed == plain
    # The table that the model had before, with no copies in it.
    assert {id(m.kernels) for m in model.modules() if hasattr(m, "kernels")} == {id(FAITHFUL)}


def test_only_fp32_on_a_cpu_is_packed() -> None:
    """Other weights keep their products."""
    assert can_pack(build())
    assert not can_pack(build().double())
