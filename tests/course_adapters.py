"""Thin adapters: the functions that the tests of stanford-cs336/assignment1-basics call.

Their names and arguments are the course's (`tests/adapters.py` there); `docs/course.md` maps them.
`tests/lm/test_course.py` calls them as the course's tests do.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lm.checkpoint.weights import load_checkpoint, save_checkpoint
from lm.config import ModelConfig
from lm.data.shards import get_batch
from lm.model.attention import MultiHeadSelfAttention
from lm.model.functional import cross_entropy, scaled_dot_product_attention, silu, softmax
from lm.model.layers import Embedding, Linear, RMSNorm, RotaryPositionalEmbedding, SwiGLU
from lm.model.transformer import TransformerBlock, TransformerLM
from lm.optim.adamw import AdamW
from lm.optim.clip import clip_gradients
from lm.optim.schedule import cosine_learning_rate
from tokenizer.encoding.tokenizer import Tokenizer
from tokenizer.training.train import train_bpe


def run_linear(d_in: int, d_out: int, weights: Tensor, in_features: Tensor) -> Tensor:
    layer = Linear(d_in, d_out)
    layer.load_state_dict({"weight": weights})
    return layer(in_features)  # type: ignore[no-any-return]  # Module.__call__


def run_embedding(vocab_size: int, d_model: int, weights: Tensor, token_ids: Tensor) -> Tensor:
    layer = Embedding(vocab_size, d_model)
    layer.load_state_dict({"weight": weights})
    return layer(token_ids)  # type: ignore[no-any-return]  # Module.__call__


def run_swiglu(
    d_model: int,
    d_ff: int,
    w1_weight: Tensor,
    w2_weight: Tensor,
    w3_weight: Tensor,
    in_features: Tensor,
) -> Tensor:
    layer = SwiGLU(d_model, d_ff)
    layer.load_state_dict({"w1.weight": w1_weight, "w2.weight": w2_weight, "w3.weight": w3_weight})
    return layer(in_features)  # type: ignore[no-any-return]  # Module.__call__


# The course's Q, K and V, in capitals as there.
def run_scaled_dot_product_attention(
    Q: Tensor,  # noqa: N803
    K: Tensor,  # noqa: N803
    V: Tensor,  # noqa: N803
    mask: Tensor | None = None,
) -> Tensor:
    return scaled_dot_product_attention(Q, K, V, mask)


def _attention(
    config: ModelConfig, weights: list[Tensor], x: Tensor, positions: Tensor | None
) -> Tensor:
    layer = MultiHeadSelfAttention(config)
    names = ("q_proj", "k_proj", "v_proj", "output_proj")
    layer.load_state_dict({f"{n}.weight": w for n, w in zip(names, weights, strict=True)})
    output: Tensor = layer(x, positions)[0]
    return output


def run_multihead_self_attention(
    d_model: int,
    num_heads: int,
    q_proj_weight: Tensor,
    k_proj_weight: Tensor,
    v_proj_weight: Tensor,
    o_proj_weight: Tensor,
    in_features: Tensor,
) -> Tensor:
    config = ModelConfig(d_model=d_model, num_heads=num_heads, position="none")
    weights = [q_proj_weight, k_proj_weight, v_proj_weight, o_proj_weight]
    return _attention(config, weights, in_features, None)


def run_multihead_self_attention_with_rope(
    d_model: int,
    num_heads: int,
    max_seq_len: int,
    theta: float,
    q_proj_weight: Tensor,
    k_proj_weight: Tensor,
    v_proj_weight: Tensor,
    o_proj_weight: Tensor,
    in_features: Tensor,
    token_positions: Tensor | None = None,
) -> Tensor:
    config = ModelConfig(
        d_model=d_model, num_heads=num_heads, context_length=max_seq_len, rope_theta=theta
    )
    weights = [q_proj_weight, k_proj_weight, v_proj_weight, o_proj_weight]
    return _attention(config, weights, in_features, token_positions)


def run_rope(
    d_k: int, theta: float, max_seq_len: int, in_query_or_key: Tensor, token_positions: Tensor
) -> Tensor:
    rope = RotaryPositionalEmbedding(theta, d_k, max_seq_len)
    return rope(in_query_or_key, token_positions)  # type: ignore[no-any-return]  # Module.__call__


def run_transformer_block(
    d_model: int,
    num_heads: int,
    d_ff: int,
    max_seq_len: int,
    theta: float,
    weights: dict[str, Tensor],
    in_features: Tensor,
) -> Tensor:
    block = TransformerBlock(
        ModelConfig(
            d_model=d_model,
            num_heads=num_heads,
            d_ff=d_ff,
            context_length=max_seq_len,
            rope_theta=theta,
        )
    )
    block.load_state_dict(weights)
    output: Tensor = block(in_features)[0]
    return output


def run_transformer_lm(
    vocab_size: int,
    context_length: int,
    d_model: int,
    num_layers: int,
    num_heads: int,
    d_ff: int,
    rope_theta: float,
    weights: dict[str, Tensor],
    in_indices: Tensor,
) -> Tensor:
    model = TransformerLM(
        ModelConfig(
            vocab_size=vocab_size,
            context_length=context_length,
            d_model=d_model,
            num_layers=num_layers,
            num_heads=num_heads,
            d_ff=d_ff,
            rope_theta=rope_theta,
        )
    )
    model.load_state_dict(weights)
    return model(in_indices)  # type: ignore[no-any-return]  # Module.__call__


def run_rmsnorm(d_model: int, eps: float, weights: Tensor, in_features: Tensor) -> Tensor:
    layer = RMSNorm(d_model, eps)
    layer.load_state_dict({"weight": weights})
    return layer(in_features)  # type: ignore[no-any-return]  # Module.__call__


def run_silu(in_features: Tensor) -> Tensor:
    return silu(in_features)


def run_get_batch(
    dataset: NDArray[Any], batch_size: int, context_length: int, device: str
) -> tuple[Tensor, Tensor]:
    return get_batch(dataset, batch_size, context_length, device)


def run_softmax(in_features: Tensor, dim: int) -> Tensor:
    return softmax(in_features, dim)


def run_cross_entropy(inputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(inputs, targets)


def run_gradient_clipping(parameters: Iterable[nn.Parameter], max_l2_norm: float) -> None:
    clip_gradients(parameters, max_l2_norm)


def get_adamw_cls() -> type[torch.optim.Optimizer]:
    return AdamW


def run_get_lr_cosine_schedule(
    it: int,
    max_learning_rate: float,
    min_learning_rate: float,
    warmup_iters: int,
    cosine_cycle_iters: int,
) -> float:
    return cosine_learning_rate(
        it,
        max_learning_rate=max_learning_rate,
        min_learning_rate=min_learning_rate,
        warmup_steps=warmup_iters,
        cosine_steps=cosine_cycle_iters,
    )


def run_save_checkpoint(
    model: nn.Module, optimizer: torch.optim.Optimizer, iteration: int, out: str | Path
) -> None:
    save_checkpoint(model, optimizer, iteration, Path(out))


def run_load_checkpoint(src: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    return load_checkpoint(Path(src), model, optimizer)


def get_tokenizer(
    vocab: Mapping[int, bytes],
    merges: list[tuple[bytes, bytes]],
    special_tokens: list[str] | None = None,
) -> Tokenizer:
    return Tokenizer(vocab, merges, special_tokens)


def run_train_bpe(
    input_path: str | Path, vocab_size: int, special_tokens: list[str]
) -> tuple[dict[int, bytes], list[tuple[bytes, bytes]]]:
    return train_bpe(input_path, vocab_size, special_tokens)
