"""Trainable parameters of a model, exactly, from its configuration."""

from lm.config import ModelConfig


def _attention_parameters(config: ModelConfig, layer: int) -> int:
    d_kv = config.kv_heads * config.d_head
    matrices = 2 * config.d_model * (config.d_model + d_kv)
    gains = 2 * config.d_head if config.qk_norm else 0
    return matrices + gains + (2 if config.value_residual and layer > 0 else 0)


def feed_forward_parameters(config: ModelConfig) -> int:
    """Return the parameters of one layer's feed-forward."""
    num_matrices = 3 if config.ffn == "swiglu" else 2
    return num_matrices * config.d_model * config.d_ff_inner


def parameters_by_component(config: ModelConfig) -> dict[str, int]:
    """Return the number of parameters of each part; tied embeddings count once, as embeddings."""
    num_norms = {"pre": 2 * config.num_layers + 1, "post": 2 * config.num_layers, "none": 0}
    table = config.vocab_size * config.d_model
    return {
        "token_embeddings": table,
        "attention": sum(_attention_parameters(config, i) for i in range(config.num_layers)),
        "feed_forward": config.num_layers * feed_forward_parameters(config),
        "norms": num_norms[config.norm] * config.d_model,
        "lm_head": 0 if config.tie_embeddings else table,
    }


def num_parameters(config: ModelConfig) -> int:
    """Return the number of trainable parameters."""
    return sum(parameters_by_component(config).values())
