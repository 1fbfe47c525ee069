"""The sampler keeps exactly the nucleus, and draws by the probabilities."""

import pytest
import torch

from lm.sampling import next_token_probabilities, nucleus_mask, sample_next, top_k_mask


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.01, [1]),
        (0.5, [1]),
        (0.500001, [1, 3]),
        (0.75, [1, 3]),
        (0.76, [0, 1, 3]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(top_p: float, kept: list[int]) -> None:
    """Tokens enter by probability until their mass is at least top_p, and no further."""
    probabilities = torch.tensor([0.125, 0.5, 0.125, 0.25], dtype=torch.float64)
    assert nucleus_mask(probabilities, top_p).nonzero().flatten().tolist() == kept


def test_equal_tokens_enter_by_id() -> None:
    """Of equally likely tokens the lower id is kept, in nucleus and top-k."""
    assert nucleus_mask(torch.full((4,), 0.25), 0.3).tolist() == [True, True, False, False]
    assert top_k_mask(torch.zeros(4), 2).tolist() == [True, True, False, False]


def test_temperature_zero_is_greedy() -> None:
    """A temperature of 0 takes the most likely token and draws nothing."""
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 5.0, 1.0]])
    assert sample_next(logits, [], temperature=0.0).tolist() == [1, 0]


def test_top_k_of_one_is_greedy() -> None:
    """Keeping one token leaves no choice."""
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    drawn = sample_next(logits, generators(5), temperature=1.0, top_k=1)
    assert drawn.tolist() == logits.argmax(-1).tolist()


def test_draws_follow_the_probabilities() -> None:
    """Over 20,000 draws each token's share is within 5 standard errors of its probability."""
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5])
    expected = next_token_probabilities(logits, temperature=0.7, top_p=0.9)
    count = 20_000
    generator = torch.Generator().manual_seed(0)
    drawn = sample_next(logits.expand(count, 5), [generator] * count, temperature=0.7, top_p=0.9)
    shares = torch.bincount(drawn, minlength=5) / count
    errors = (expected * (1 - expected) / count).sqrt()
    assert ((shares - expected).abs() <= 5 * errors).all()
    assert shares[3] == 0  # outside the nucleus


def test_a_rows_draw_does_not_depend_on_other_rows() -> None:
    """Each row has its own generator."""
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    together = sample_next(logits, generators(4), temperature=1.0)
    alone = [
        int(sample_next(logits[i : i + 1], [generator], temperature=1.0))
        for i, generator in enumerate(generators(4))
    ]
    assert together.tolist() == alone
