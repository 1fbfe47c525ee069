"""Decoding from fixed slots gives the tokens of the growing cache, and draws the same numbers."""

from typing import Any

import pytest
import torch

from lm.config import GenerateConfig, ModelConfig
from lm.decoding import BLOCK_TOKENS, Decoder, Row, decode_rows
from lm.generate import generate_batch
from lm.machine.cuda_graph import CALLS_BEFORE_RECORDING, Work
from lm.model.transformer import TransformerLM
from lm.sampling import draw_uniforms

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11]]
GREEDY = GenerateConfig(max_new_tokens=70, temperature=0.0)
SAMPLED = GenerateConfig(max_new_tokens=70, temperature=1.0, top_p=0.9, top_k=20)


def build(**changes: Any) -> TransformerLM:
    """A tiny model with a context of 24."""
    config = ModelConfig(
        vocab_size=40, context_length=24, d_model=32, num_layers=2, num_heads=4, d_ff=48, **changes
    )
    return TransformerLM(config, generator=torch.Generator().manual_seed(0))


def both(
    model: TransformerLM, config: GenerateConfig, prompts: list[list[int]], **options: Any
) -> list[list[list[int]]]:
    """Generate with a growing cache and from fixed slots."""
    seeds = list(range(len(prompts)))
    return [
        generate_batch(model, prompts, config=config, seeds=seeds, fixed_slots=is_fixed, **options)
        for is_fixed in (False, True)
    ]


@pytest.mark.parametrize("config", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[:1]], ids=["ragged", "alone"])
@pytest.mark.parametrize(
    "changes", [{}, {"num_kv_heads": 2, "value_residual": True, "qk_norm": True}], ids=str
)
def test_fixed_slots_give_the_tokens_of_a_growing_cache(
    config: GenerateConfig, prompts: list[list[int]], changes: dict[str, Any]
) -> None:
    """In fp32, over nearly three contexts, for prompts of unequal length."""
    growing, fixed = both(build(**changes), config, prompts)
    assert fixed == growing
    assert {len(ids) for ids in fixed} == {70}


def test_bf16_weights_are_read_and_continued() -> None:
    """The first token is that of the same pass; later ones may differ by rounding."""
    growing, fixed = both(build().bfloat16(), GenerateConfig(max_new_tokens=20), PROMPTS)
    assert [ids[0] for ids in fixed] == [ids[0] for ids in growing]
    assert {len(ids) for ids in fixed} == {20}


def test_rows_stop_where_they_would() -> None:
    """Tokens that were computed beyond a stop token are not given or told."""
    model, seeds = build(), [0, 1, 2]
    (growing, _) = both(model, SAMPLED, PROMPTS)
    stops = {growing[0][5], growing[1][20], growing[2][2]}
    growing, fixed = both(model, SAMPLED, PROMPTS, stop_token_ids=stops)
    assert fixed == growing
    told: list[list[int]] = [[], [], []]
    generate_batch(
        model,
        PROMPTS,
        config=SAMPLED,
        seeds=seeds,
        stop_token_ids=stops,
        on_token=lambda row, token: told[row].append(token),
        fixed_slots=True,
    )
    assert told == fixed


def test_numbers_drawn_ahead_are_those_drawn_one_by_one() -> None:
    """A block of draws is the sequence of single draws, so tokens under a seed stay the same."""
    ahead = draw_uniforms(torch.Generator().manual_seed(3), 100)
    generator = torch.Generator().manual_seed(3)
    single = [torch.rand((), generator=generator, dtype=torch.float64) for _ in range(100)]
    assert torch.equal(ahead, torch.stack(single))


@torch.inference_mode()
def test_a_recorded_token_is_replayed() -> None:
    """After a few tokens the work is recorded once; windows that are cut do not end that."""
    recordings = []

    def record(work: Work) -> Work:
        recordings.append(work)
        return work

    model = build()
    expected, _ = both(model, GREEDY, PROMPTS)
    rows = [Row(list(prompt), torch.Generator()) for prompt in PROMPTS]
    decoder = Decoder(model, len(rows), GREEDY, record=record)
    decode_rows(decoder, rows, stop_token_ids=(), on_token=None)
    assert [row.new_ids for row in rows] == expected
    assert len(recordings) == 1
    assert CALLS_BEFORE_RECORDING < BLOCK_TOKENS
