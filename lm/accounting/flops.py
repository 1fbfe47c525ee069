"""FLOPs of a model, exactly, from its configuration.

A product of m x k by k x n is 2mkn FLOPs; element-wise work is not counted, as in PaLM, appendix B.
"""

from lm.accounting.parameters import feed_forward_parameters
from lm.config import ModelConfig

TRAINING_TO_FORWARD = 3
"""Backward computes two products for each one of forward: by the weight and by the input."""


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
