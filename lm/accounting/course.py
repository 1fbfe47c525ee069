"""The course's accounting problems: GPT-2's shapes, and what AdamW's training of them takes.

From CS336, assignment 1, problems `transformer_accounting` and `adamwAccounting`, in the editions
of 2025 and 2026. Shapes are GPT-2's (Radford et al. 2019, table 2) with the course's architecture:
SwiGLU has three matrices, no bias, and the output matrix is not tied.
Legend: T sequence length, D d_model, H heads, F inner width, V vocab.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lm.accounting.memory import FP32_BYTES
from lm.accounting.parameters import num_parameters
from lm.config import ModelConfig, Precision

GPT2_VOCAB_SIZE = 50_257
GPT2_CONTEXT_LENGTH = 1024
GPT2_SHAPES: dict[str, tuple[int, int, int]] = {
    "gpt2-small": (12, 768, 12),
    "gpt2-medium": (24, 1024, 16),
    "gpt2-large": (36, 1280, 20),
    "gpt2-xl": (48, 1600, 25),
}
"""Layers, width and heads; Radford et al. 2019, table 2, heads of 64 as in their code."""

D_FF_MULTIPLE = 64
"""The course wants inner widths that are multiples of 64, for the GPU (section 3.5.2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edition:
    """What the hand-out of a year asks."""

    d_ff: Callable[[int], int]
    """Inner width for a model width."""
    counts_whole_swiglu: bool
    """Whether the list of activations names all steps of SwiGLU, or W1, SiLU and W2 alone."""
    device: str
    """The GPU on which it asks for the training time, in the catalogue."""
    precision: Precision
    """Number format whose peak it takes."""
    peak_flops: float
    """The peak that it gives, in FLOP/s: the catalogue's, rounded."""


EDITIONS: dict[int, Edition] = {
    2025: Edition(
        d_ff=lambda d_model: 4 * d_model,
        counts_whole_swiglu=False,
        device="a100",
        precision="fp32",
        peak_flops=19.5e12,
    ),
    2026: Edition(
        d_ff=lambda d_model: D_FF_MULTIPLE * round(8 * d_model / 3 / D_FF_MULTIPLE),
        counts_whole_swiglu=True,
        device="h100",
        precision="tf32",
        peak_flops=495e12,
    ),
}

TRAINING_STEPS = 400_000
TRAINING_BATCH_SIZE = 1024
"""The training that both editions ask about; after GPT-3 (Brown et al. 2020)."""


def find_edition(year: int) -> Edition:
    """Return the edition of a year; `ValueError` lists them."""
    if year not in EDITIONS:
        raise ValueError(f"edition ({year}) must be one of {', '.join(map(str, EDITIONS))}")
    return EDITIONS[year]


def gpt2_config(
    name: str, *, edition: int, context_length: int = GPT2_CONTEXT_LENGTH
) -> ModelConfig:
    """Return the course's model in the shape of one of `GPT2_SHAPES`."""
    num_layers, d_model, num_heads = GPT2_SHAPES[name]
    return ModelConfig(
        vocab_size=GPT2_VOCAB_SIZE,
        context_length=context_length,
        num_layers=num_layers,
        d_model=d_model,
        num_heads=num_heads,
        d_ff=find_edition(edition).d_ff(d_model),
    )


def listed_activations(config: ModelConfig, *, edition: int) -> dict[str, int]:
    """Return the numbers that one sequence keeps for backward, by the hand-out's list.

    The list names outputs of operations, each kept once in fp32, as if nothing were recomputed
    or fused; `lm/accounting/memory.py` counts what our fast path keeps instead.
    """
    length, layers = config.context_length, config.num_layers
    width = length * config.d_model
    key_value = length * config.kv_heads * config.d_head
    scores = config.num_heads * length**2
    inner = length * config.d_ff_inner
    is_gated = config.ffn == "swiglu" and find_edition(edition).counts_whole_swiglu
    gate = {"W3 product": inner, "element-wise product": inner} if is_gated else {}
    in_layers = {
        "RMSNorms": 0 if config.norm == "none" else 2 * width,
        "QKV projections": width + 2 * key_value,
        "QK^T": scores,
        "softmax": scores,
        "weighted sum of values": width,
        "output projection": width,
        "W1 product": inner,
        "SiLU": inner,
        **gate,
        "W2 product": width,
    }
    at_end = {
        "final RMSNorm": width if config.norm == "pre" else 0,
        "output embedding": length * config.vocab_size,
        "cross-entropy": length,
    }
    return {**{name: layers * count for name, count in in_layers.items()}, **at_end}


@dataclass(frozen=True, kw_only=True, slots=True)
class AdamWMemory:
    """Peak memory of AdamW's training in fp32, as a line in the batch size: a B + b."""

    counted: str
    """What was counted."""
    activations: dict[str, int]
    """Bytes of one sequence, by the operation whose output is kept."""
    bytes_per_sequence: int
    """The slope a."""
    fixed: dict[str, int]
    """Bytes of weights, gradients and moments."""
    fixed_bytes: int
    """The constant b."""

    def largest_batch(self, memory_bytes: int) -> int:
        """Return how many sequences fit; 0 where not even the weights and moments do."""
        return max(0, (memory_bytes - self.fixed_bytes) // self.bytes_per_sequence)


def adamw_memory(config: ModelConfig, *, edition: int) -> AdamWMemory:
    """Count the memory of a training step as the hand-out of a year lists it."""
    listed = listed_activations(config, edition=edition)
    activations = {name: FP32_BYTES * count for name, count in listed.items() if count}
    weights = FP32_BYTES * num_parameters(config)
    fixed = {"weights": weights, "gradients": weights, "moments": 2 * weights}
    return AdamWMemory(
        counted=f"the list of the {edition} hand-out, in fp32",
        activations=activations,
        bytes_per_sequence=sum(activations.values()),
        fixed=fixed,
        fixed_bytes=sum(fixed.values()),
    )
