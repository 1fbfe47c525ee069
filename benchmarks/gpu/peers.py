"""What a user would take instead: a plain model with torch.compile, and transformers' Llama.

The plain model is what a careful student writes: torch's own layers and attention, all logits.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lm.config import ModelConfig


class PlainAttention(nn.Module):
    """Causal attention with rotary positions on pairs of neighbours."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        width = config.d_model
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Attend and project back."""
        batch, length, width = x.shape
        shape = (batch, length, self.num_heads, width // self.num_heads)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.q, self.k, self.v))
        q, k = _rotate(q, cos, sin).to(v.dtype), _rotate(k, cos, sin).to(v.dtype)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        output: Tensor = self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return output


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class PlainBlock(nn.Module):
    """Attention and SwiGLU, each after RMSNorm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, inner = config.d_model, config.d_ff
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.attention = PlainAttention(config)
        self.w1, self.w3 = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.w2 = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return the residual stream after the block."""
        x = x + self.attention(self.norm1(x), cos, sin)
        h = self.norm2(x)
        result: Tensor = x + self.w2(functional.silu(self.w1(h)) * self.w3(h))
        return result


class PlainModel(nn.Module):
    """The course's architecture; returns the mean loss of a batch."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.num_layers))
        self.norm = nn.RMSNorm(config.d_model, eps=1e-5)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        exponents = torch.arange(0, config.d_head, 2, dtype=torch.float64) / config.d_head
        places = torch.arange(config.context_length, dtype=torch.float64)
        angles = torch.outer(places, config.rope_theta**-exponents)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        x = self.embed(inputs)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = self.head(self.norm(x))
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def llama(config: ModelConfig, device: torch.device) -> Any:
    """Return transformers' Llama of the same shape, with weights of its own."""
    import transformers

    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # its own
    shape = transformers.LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.d_model,
        intermediate_size=config.d_ff,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        max_position_embeddings=config.context_length,
        rms_norm_eps=config.norm_eps,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    model: Any = transformers.LlamaForCausalLM(shape)
    return model.to(device)


class LlamaLoss(nn.Module):
    """The mean loss of a batch by transformers' Llama."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        logits = self.model(input_ids=inputs, use_cache=False).logits
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
