"""Memory of a training step, from the configuration: what the eager fast path keeps.

Weights, gradients and optimizer state are exact; compilation keeps fewer activations.
Legend: N tokens, B sequences, T sequence length, D d_model, F inner width, V vocab, K d_head.
"""

from lm.accounting.parameters import num_parameters, parameters_by_component
from lm.config import ModelConfig, Precision

FP32_BYTES = 4
_PRODUCT_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2}
"""Bytes of one number that a product reads."""

LOSS_CHUNK = 512
"""Positions whose logits are held at once: `DEFAULT_CHUNK_SIZE` of `lm/fast/chunked_loss.py`."""


def optimizer_bytes(config: ModelConfig, *, optimizer: str = "adamw") -> int:
    """Return the size of the optimizer's state: two moments, or one where Muon updates."""
    total = num_parameters(config)
    if optimizer == "adamw":
        return 2 * total * FP32_BYTES
    parts = parameters_by_component(config)
    by_muon = parts["attention"] + parts["feed_forward"]
    by_muon -= _vector_parameters_in_attention(config)
    return (2 * total - by_muon) * FP32_BYTES


def _vector_parameters_in_attention(config: ModelConfig) -> int:
    d_kv = config.kv_heads * config.d_head
    matrices = 2 * config.d_model * (config.d_model + d_kv)
    return parameters_by_component(config)["attention"] - config.num_layers * matrices


def _norm_bytes(width: int) -> int:
    """Return what RMSNorm keeps for one position: its input, the normalised input, the scale."""
    return 2 * width * FP32_BYTES + FP32_BYTES


def _attention_bytes(config: ModelConfig, size: int) -> int:
    """Return what attention keeps for one position: operands, output, log-partitions, products."""
    d_kv = config.kv_heads * config.d_head
    operands = 2 * config.d_model + 2 * d_kv  # queries, keys, values, output
    # Inputs of the projections: autocast converts the shared one for each of q, k and v.
    inputs = config.d_model * (4 if size < FP32_BYTES else 2)
    heads = config.num_heads + config.kv_heads
    qk_norms = heads * _norm_bytes(config.d_head) if config.qk_norm else 0
    return (operands + inputs) * size + config.num_heads * FP32_BYTES + qk_norms


def _feed_forward_bytes(config: ModelConfig, size: int) -> int:
    """Return what the feed-forward keeps for one position."""
    if config.ffn == "swiglu":
        copies = 2 if size < FP32_BYTES else 1
        return (4 * config.d_ff_inner + copies * config.d_model) * size
    return (3 * config.d_ff_inner + config.d_model) * size


def activation_bytes_per_sequence(config: ModelConfig, *, precision: Precision = "fp32") -> int:
    """Return what one sequence keeps between forward and backward on the eager fast path.

    Counts the tensors that autograd saves, without the logits, which are never held whole.
    """
    size = _PRODUCT_BYTES[precision]
    num_norms = 0 if config.norm == "none" else 2
    per_layer = (
        num_norms * _norm_bytes(config.d_model)
        + _attention_bytes(config, size)
        + _feed_forward_bytes(config, size)
    )
    final_norm = _norm_bytes(config.d_model) if config.norm == "pre" else 0
    hidden_gradient = config.d_model * size
    per_position = config.num_layers * per_layer + final_norm + hidden_gradient
    return config.context_length * per_position


def training_memory(
    config: ModelConfig,
    *,
    micro_batch_size: int,
    precision: Precision = "fp32",
    optimizer: str = "adamw",
    loss_chunk: int = LOSS_CHUNK,
) -> dict[str, int]:
    """Return the predicted bytes of a training step at its peak, by part.

    Weights, gradients and optimizer state are exact; activations are the eager fast path's.
    """
    weights = num_parameters(config) * FP32_BYTES
    rows = min(loss_chunk, micro_batch_size * config.context_length)
    head = config.vocab_size * config.d_model
    size = _PRODUCT_BYTES[precision]
    casts = num_parameters(config) - head if size < FP32_BYTES else 0
    return {
        "weights": weights,
        "gradients": weights,
        "optimizer": optimizer_bytes(config, optimizer=optimizer),
        "activations": micro_batch_size
        * activation_bytes_per_sequence(config, precision=precision),
        # The weights that autocast converts, kept for backward.
        "converted_weights": casts * size,
        # Raw logits, capped fp32 logits, softmax, and the gradient of the output matrix.
        "loss": rows * config.vocab_size * (2 * FP32_BYTES + size) + head * FP32_BYTES,
    }


def largest_micro_batch(
    config: ModelConfig,
    *,
    free_bytes: int,
    batch_size: int,
    precision: Precision = "fp32",
    optimizer: str = "adamw",
) -> int:
    """Return the largest divisor of `batch_size` whose predicted peak fits; at least 1."""
    for size in range(batch_size, 0, -1):
        if batch_size % size:
            continue
        parts = training_memory(
            config, micro_batch_size=size, precision=precision, optimizer=optimizer
        )
        if sum(parts.values()) <= free_bytes:
            return size
    return 1


def largest_loss_chunk(
    config: ModelConfig,
    *,
    free_bytes: int,
    micro_batch_size: int,
    precision: Precision = "fp32",
    optimizer: str = "adamw",
) -> int:
    """Return the most positions whose logits fit: all, a half, a quarter, ..., down to 512."""
    chunk = micro_batch_size * config.context_length
    while chunk > LOSS_CHUNK:
        parts = training_memory(
            config,
            micro_batch_size=micro_batch_size,
            precision=precision,
            optimizer=optimizer,
            loss_chunk=chunk,
        )
        if sum(parts.values()) <= free_bytes:
            break
        chunk = -(-chunk // 2)
    return chunk
