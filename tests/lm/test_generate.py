"""Generation with a cache equals recomputing, alone and in a batch, beyond the context too."""

import pytest
import torch

from lm.config import GenerateConfig, ModelConfig
from lm.generate import generate, generate_batch
from lm.model.kv_cache import KVCache, new_cache
from lm.model.transformer import TransformerLM

VOCAB = 40


def build(**changes: object) -> TransformerLM:
    config = ModelConfig(
        vocab_size=VOCAB,
        context_length=16,
        d_model=32,
        num_layers=2,
        num_heads=4,
        d_ff=48,
        **changes,  # type: ignore[arg-type]  # fields of the config
    )
    return TransformerLM(config, generator=torch.Generator().manual_seed(0)).double()


GREEDY = GenerateConfig(max_new_tokens=40, temperature=0.0)
SAMPLED = GenerateConfig(max_new_tokens=40, temperature=1.0, top_p=0.9, top_k=20)


@pytest.mark.parametrize("config", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize(
    "changes", [{}, {"num_kv_heads": 2}, {"value_residual": True, "qk_norm": True}], ids=str
)
def test_the_cache_equals_recomputing(config: GenerateConfig, changes: dict[str, object]) -> None:
    """The same tokens come out with and without a cache, over two and a half contexts."""
    model = build(**changes)
    with_cache = generate(model, [1, 2, 3], config=config, seed=5)
    (without,) = generate_batch(
        model, [[1, 2, 3]], config=config, seeds=[5], use_cache=False, fast=False
    )
    assert with_cache == without
    assert len(with_cache) == 40


def read(
    model: TransformerLM, ids: torch.Tensor, positions: torch.Tensor, cache: KVCache
) -> torch.Tensor:
    """Return the logits of tokens that follow what the cache holds."""
    return model.logits(model.hidden_states(ids, positions, cache=cache))


def test_cached_logits_equal_recomputed_ones() -> None:
    """Feeding a sequence token by token gives the logits of one pass, in float64 to 1e-10."""
    model, ids = build(), torch.arange(12).view(2, 6)
    cache = new_cache(model.config, 2, device=torch.device("cpu"), dtype=torch.float64)
    whole = model(ids)
    for place in range(6):
        cache.advance(start=place, stop=place + 1, is_ragged=False)
        logits = read(model, ids[:, place : place + 1], torch.tensor([place]), cache)
        torch.testing.assert_close(logits[:, 0], whole[:, place], rtol=1e-10, atol=1e-10)


def test_a_sequence_may_be_read_in_pieces() -> None:
    """A second piece of several tokens sees the first one and itself causally."""
    model, ids = build(), torch.arange(9).view(1, 9)
    cache = new_cache(model.config, 1, device=torch.device("cpu"), dtype=torch.float64)
    for start, stop in ((0, 4), (4, 9)):
        cache.advance(start=start, stop=stop, is_ragged=False)
        logits = read(model, ids[:, start:stop], torch.arange(start, stop), cache)
        expected = model(ids)[:, start:stop]
        torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("config", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_batch_equals_its_rows_alone(config: GenerateConfig) -> None:
    """Prompts of different lengths give the same tokens in a batch as alone."""
    model = build()
    prompts = [[1], [2, 3, 4, 5, 6], [7, 8], list(range(16)), list(range(20))]
    seeds = [10, 11, 12, 13, 14]
    together = generate_batch(model, prompts, config=config, seeds=seeds)
    for prompt, seed, row in zip(prompts, seeds, together, strict=True):
        assert generate(model, prompt, config=config, seed=seed) == row


def test_one_seed_gives_one_text() -> None:
    """The seed determines the draws; another gives another text."""
    model = build()
    first = generate(model, [1], config=SAMPLED, seed=0)
    assert generate(model, [1], config=SAMPLED, seed=0) == first
    assert generate(model, [1], config=SAMPLED, seed=1) != first


def test_stop_tokens_end_the_text_and_are_not_part_of_it() -> None:
    """Generation ends at the first stop token; the callback has seen what is returned."""
    model = build()
    free = generate(model, [1], config=SAMPLED, seed=0)
    stop = free[5]
    seen: list[int] = []
    stopped = generate(
        model, [1], config=SAMPLED, seed=0, stop_token_ids=[stop], on_token=seen.append
    )
    assert stopped == free[: free.index(stop)]
    assert seen == stopped


def test_bad_prompts_are_refused() -> None:
    """An empty prompt, or a token that the model does not know, is an error with the way out."""
    model = build()
    with pytest.raises(ValueError, match="must hold at least one token"):
        generate(model, [], config=GREEDY, seed=0)
    with pytest.raises(ValueError, match=r"prompt token 40 must lie in 0\.\.39"):
        generate(model, [40], config=GREEDY, seed=0)
