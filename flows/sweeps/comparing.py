"""Sweeps that compare variants with a baseline, each side tuned with the same budget.

Why each side is tuned: Wen et al. 2025 (arXiv 2509.02046).
"""

from collections.abc import Mapping

from flows.config import PipelineConfig
from flows.stages import MODEL
from flows.sweeps.design import Arm, Design, Overrides, Wishes, held_equal, seeds_from

TUNING_FACTORS = {1: (1.0,), 2: (0.316228, 1.0), 3: (0.316228, 1.0, 3.16228)}


def schedule(base: PipelineConfig, wishes: Wishes) -> Design:
    """Compare cosine, constant, warm-up-stable-decay and linear."""
    names = {"cosine": "cosine", "constant": "constant", "WSD": "wsd", "linear": "linear"}
    arms = {name: {f"{MODEL}.schedule": value} for name, value in names.items()}
    baseline = next((n for n in names if names[n] == base.train_lm.schedule), "cosine")
    return _compared("schedule", arms, baseline, base, wishes)


def optimizer(base: PipelineConfig, wishes: Wishes) -> Design:
    """Compare AdamW with Muon."""
    names = {"AdamW": "adamw", "Muon": "muon"}
    arms = {name: {f"{MODEL}.optimizer": value} for name, value in names.items()}
    return _compared("optimizer", arms, "AdamW", base, wishes)


def ablations(base: PipelineConfig, wishes: Wishes) -> Design:
    """Compare the model with variants that lack or add one thing."""
    model = base.model
    variants: dict[str, Overrides] = {
        "baseline": {},
        "no RMSNorm": {"model.norm": "none"},
        "post-norm": {"model.norm": "post"},
        "NoPE": {"model.position": "none"},
        "SiLU": {"model.ffn": "silu"},
        ("no QK-norm" if model.qk_norm else "QK-norm"): {"model.qk_norm": not model.qk_norm},
        ("untied" if model.tie_embeddings else "tied embeddings"): {
            "model.tie_embeddings": not model.tie_embeddings
        },
    }
    return _compared("ablations", variants, "baseline", base, wishes)


def _compared(
    kind: str,
    variants: Mapping[str, Overrides],
    baseline: str,
    base: PipelineConfig,
    wishes: Wishes,
) -> Design:
    """Return a comparison with a baseline, each side tuned at as many rates."""
    wanted = {name.casefold() for name in wishes.arms} or {name.casefold() for name in variants}
    if unknown := wanted - {name.casefold() for name in variants}:
        raise ValueError(f"unknown arm {min(unknown)!r}; allowed: {', '.join(variants)}")
    if wishes.num_rates not in TUNING_FACTORS:
        raise ValueError(f"rates ({wishes.num_rates}) must be 1, 2 or 3")
    is_tuned = wishes.num_rates > 1
    first = base.train_lm.seed
    num_seeds = wishes.num_seeds or 3
    arms = [
        Arm(name=name, overrides=overrides)
        for name, overrides in variants.items()
        if name == baseline or name.casefold() in wanted
    ]
    return Design(
        kind=kind,
        arms=tuple(arms),
        seeds=seeds_from(base, num_seeds, skip=1 if is_tuned else 0),
        against=baseline,
        rate_factors=TUNING_FACTORS[wishes.num_rates] if is_tuned else (),
        tuning_seed=first,
        held_equal=held_equal(base),
    )
