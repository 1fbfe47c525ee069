"""Choice of the next token: greedy, temperature, top-k, exact nucleus.

Legend: B rows, V vocab.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lm.model.functional import softmax


def nucleus_mask(
    probabilities: Float[Tensor, "... vocab"], top_p: float
) -> Bool[Tensor, "... vocab"]:
    """Return the smallest set of most likely tokens whose mass reaches `top_p`.

    A token belongs to it if the mass of those before it is below `top_p` (Holtzman et al. 2020,
    equation 2), so the most likely one always does. Of equally likely tokens the lower id is first.
    """
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    mass_before = ordered.cumsum(dim=-1) - ordered
    return torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, mass_before < top_p)


def top_k_mask(logits: Float[Tensor, "... vocab"], top_k: int) -> Bool[Tensor, "... vocab"]:
    """Return the `top_k` most likely tokens; of equal ones the lower id is first."""
    order = logits.sort(dim=-1, descending=True, stable=True).indices[..., :top_k]
    return torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, value=True)


def next_token_probabilities(
    logits: Float[Tensor, "... vocab"], *, temperature: float, top_p: float = 1.0, top_k: int = 0
) -> Float[Tensor, "... vocab"]:
    """Return what is drawn from, in float64: temperature, then top-k, then the nucleus."""
    scaled = logits.double() / temperature
    if 0 < top_k < logits.shape[-1]:
        scaled = scaled.masked_fill(~top_k_mask(scaled, top_k), -torch.inf)
    probabilities = softmax(scaled)
    if top_p < 1.0:
        kept = probabilities * nucleus_mask(probabilities, top_p)
        probabilities = kept / kept.sum(dim=-1, keepdim=True)
    return probabilities


def sample_next(
    logits: Float[Tensor, "rows vocab"],
    generators: list[torch.Generator],
    *,
    temperature: float,
    top_p: float = 1.0,
    top_k: int = 0,
) -> Int[Tensor, " rows"]:
    """Return one token a row; a temperature of 0 takes the most likely, the lower id if equal.

    Each row draws one uniform number from its own generator (on the CPU), so that a row's tokens
    do not depend on the other rows.
    """
    uniforms = torch.zeros(logits.shape[0], dtype=torch.float64)
    if temperature != 0:
        uniforms = torch.cat([draw_uniforms(generator, 1) for generator in generators])
    return choose_next(
        logits,
        uniforms.to(logits.device),
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
    )


def draw_uniforms(generator: torch.Generator, num_draws: int) -> Float[Tensor, " draws"]:
    """Return the next numbers of a generator on the CPU: the same one by one or all at once."""
    return torch.rand(num_draws, generator=generator, dtype=torch.float64)


def choose_next(
    logits: Float[Tensor, "rows vocab"],
    uniforms: Float[Tensor, " rows"],
    *,
    temperature: float,
    top_p: float = 1.0,
    top_k: int = 0,
) -> Int[Tensor, " rows"]:
    """Return one token a row, by a uniform number for each; asks the host nothing."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = next_token_probabilities(
        logits, temperature=temperature, top_p=top_p, top_k=top_k
    )
    draws = uniforms.unsqueeze(-1)  # (B, 1)
    cumulative = probabilities.cumsum(dim=-1)  # (B, V)
    # The last sum can miss 1 by rounding: scaling the draw by it keeps the token in range.
    chosen = torch.searchsorted(cumulative, draws * cumulative[:, -1:], right=True)
    return chosen.squeeze(-1)
