"""FLOPs of a model, exactly, from its configuration.

A product of m x k by k x n is 2mkn FLOPs; element-wise work is not counted, as in PaLM, appendix B.
"""

from lm.accounting.parameters import feed_forward_parameters, num_parameters
from lm.config import ModelConfig, OptimizerName

TRAINING_TO_FORWARD = 3
"""Backward computes two products for each one of forward: by the weight and by the input."""

ADAMW_FLOPS = {
    "first moment, b1 m + (1 - b1) g": 3,
    "second moment, b2 v + (1 - b2) g g": 4,
    "step, w - a m / (sqrt(v) + eps)": 5,
    "weight decay, w - a l w with a l known": 2,
}
"""Element-wise FLOPs of AdamW for one parameter, a square root being one; its bias corrections are
in the rate a (Loshchilov and Hutter 2019, algorithm 2, as CS336 A1, section 4.3 orders it)."""

_NEWTON_SCHULZ_STEPS = 5
"""`NEWTON_SCHULZ_STEPS` of `lm/optim/muon.py`."""


def forward_flops(
    config: ModelConfig, *, batch_size: int = 1, seq_length: int = 0
) -> dict[str, int]:
    """Return the FLOPs of one forward pass by component; `seq_length` 0 is the whole context.

    Attention is counted without regard to the causal mask, as is usual for MFU.
    """
    length = seq_length or config.context_length
    num_tokens = batch_size * length
    d_kv = config.kv_heads * config.d_head
    projections = 2 * num_tokens * config.d_model * 2 * (config.d_model + d_kv)
    return {
        "attention_projections": config.num_layers * projections,
        "attention_scores": config.num_layers * 2 * 2 * num_tokens * length * config.d_model,
        "feed_forward": config.num_layers * 2 * num_tokens * feed_forward_parameters(config),
        "lm_head": 2 * num_tokens * config.d_model * config.vocab_size,
    }


def training_flops_per_token(config: ModelConfig) -> int:
    """Return the true model FLOPs of training on one token, for MFU."""
    return TRAINING_TO_FORWARD * sum(forward_flops(config).values()) // config.context_length


def optimizer_flops(config: ModelConfig, *, optimizer: OptimizerName = "adamw") -> int:
    """Return the FLOPs of one optimizer step, which do not depend on the batch.

    AdamW's are element-wise. Of Muon only the products are counted, which are nearly all.
    """
    per_parameter = sum(ADAMW_FLOPS.values())
    if optimizer == "adamw":
        return per_parameter * num_parameters(config)
    shapes = _block_matrices(config)
    others = num_parameters(config) - sum(rows * columns for rows, columns in shapes)
    return sum(_orthogonalize_flops(*shape) for shape in shapes) + per_parameter * others


def _block_matrices(config: ModelConfig) -> list[tuple[int, int]]:
    """Return the shapes of the matrices in all blocks."""
    width, d_kv, inner = config.d_model, config.kv_heads * config.d_head, config.d_ff_inner
    num_inner = 3 if config.ffn == "swiglu" else 2
    attention = [(width, width)] * 2 + [(d_kv, width)] * 2
    return (attention + [(inner, width)] * num_inner) * config.num_layers


def _orthogonalize_flops(rows: int, columns: int) -> int:
    """Return the FLOPs of the Newton-Schulz steps: X X^T, its square, and that times X."""
    small, large = sorted((rows, columns))
    return _NEWTON_SCHULZ_STEPS * 2 * (2 * small**2 * large + small**3)
