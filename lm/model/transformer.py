"""The decoder-only Transformer: blocks with residual connections, from token ids to logits.

The defaults are the course's model (CS336 A1, section 3). Departures, each off by default and
named in `ModelConfig`: other placements of the norm, no positions, other feed-forwards, QK-norm,
tied embeddings, grouped queries, capped logits, zero-initialised outputs, value residual.
Legend: B batch, T sequence, D d_model, V vocab.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lm.config import ModelConfig
from lm.model.attention import MultiHeadSelfAttention
from lm.model.functional import soft_cap
from lm.model.kv_cache import KVCache, LayerCache
from lm.model.layers import Embedding, Linear, RMSNorm, build_feed_forward

_WRAPPER_PREFIXES = ("_orig_mod.", "module.")
"""What torch.compile and DistributedDataParallel put before the names of a wrapped module."""


def plain_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state with the names of the plain model, also if it was wrapped."""
    plain = {}
    for name, tensor in state.items():
        for prefix in _WRAPPER_PREFIXES:
            name = name.replace(prefix, "")
        plain[name] = tensor
    return plain


def _normalize(norm: RMSNorm | None, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    return x if norm is None else norm(x)


class TransformerBlock(nn.Module):
    """Attention, then a feed-forward, each added to the residual stream."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        is_first_layer: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.norm = config.norm
        self.attn = MultiHeadSelfAttention(
            config, is_first_layer=is_first_layer, generator=generator
        )
        self.ffn = build_feed_forward(config, generator=generator)
        has_norm = config.norm != "none"
        self.ln1 = RMSNorm(config.d_model, config.norm_eps) if has_norm else None
        self.ln2 = RMSNorm(config.d_model, config.norm_eps) if has_norm else None
        if config.zero_init_output:
            nn.init.zeros_(self.attn.output_proj.weight)
            nn.init.zeros_(self.ffn.w2.weight)

    def forward(
        self,
        x: Float[Tensor, "... seq d_model"],
        token_positions: Int[Tensor, "... seq"] | None = None,
        *,
        first_values: Float[Tensor, "... g seq k"] | None = None,
        cache: LayerCache | None = None,
    ) -> tuple[Float[Tensor, "... seq d_model"], Float[Tensor, "... g seq k"]]:
        """Return the residual stream after the block, and the attention's own values."""
        is_post = self.norm == "post"
        attended, values = self.attn(
            x if is_post else _normalize(self.ln1, x),
            token_positions,
            first_values=first_values,
            cache=cache,
        )
        if is_post:
            x = _normalize(self.ln1, x + attended)
            return _normalize(self.ln2, x + self.ffn(x)), values
        x = x + attended
        return x + self.ffn(_normalize(self.ln2, x)), values


class TransformerLM(nn.Module):
    """A language model: token ids in, logits of the next token out."""

    def __init__(self, config: ModelConfig, *, generator: torch.Generator | None = None) -> None:
        """Draw the initial weights from `generator`, or from torch's global one."""
        super().__init__()
        self.config = config
        # Tied: one matrix serves both ends; at deviation D^-1/2 the logits start at unit scale.
        std = config.d_model**-0.5 if config.tie_embeddings else 1.0
        self.token_embeddings = Embedding(
            config.vocab_size, config.d_model, std=std, generator=generator
        )
        self.layers = nn.ModuleList(
            TransformerBlock(config, is_first_layer=index == 0, generator=generator)
            for index in range(config.num_layers)
        )
        # With post-norm the last block's output is already normalised.
        has_final_norm = config.norm == "pre"
        self.ln_final = RMSNorm(config.d_model, config.norm_eps) if has_final_norm else None
        self.lm_head = (
            None
            if config.tie_embeddings
            else Linear(config.d_model, config.vocab_size, generator=generator)
        )

    @property
    def output_weight(self) -> Float[Tensor, "vocab d_model"]:
        """The matrix that turns hidden states into logits."""
        return self.token_embeddings.weight if self.lm_head is None else self.lm_head.weight

    def hidden_states(
        self,
        token_ids: Int[Tensor, "... seq"],
        token_positions: Int[Tensor, "... seq"] | None = None,
        *,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "... seq d_model"]:
        """Return what the output projection sees; `ValueError` beyond the context length."""
        if token_ids.shape[-1] > self.config.context_length:
            raise ValueError(
                f"input of {token_ids.shape[-1]} tokens is longer than context_length "
                f"({self.config.context_length}); cut it to the last ones"
            )
        x = self.token_embeddings(token_ids)  # (B, T, D)
        first_values = None
        for index, layer in enumerate(self.layers):
            layer_cache = None if cache is None else cache.layers[index]
            x, values = layer(x, token_positions, first_values=first_values, cache=layer_cache)
            first_values = values if index == 0 else first_values
        return _normalize(self.ln_final, x)

    def logits(self, hidden: Float[Tensor, "... d_model"]) -> Float[Tensor, "... vocab"]:
        """Return the logits of hidden states, capped if the config says so."""
        head = self.token_embeddings.kernels.linear
        return soft_cap(head(hidden, self.output_weight), self.config.logit_softcap)

    def forward(self, token_ids: Int[Tensor, "... seq"]) -> Float[Tensor, "... seq vocab"]:
        """Return the logits of the token after each position, on any leading dimensions."""
        return self.logits(self.hidden_states(token_ids))
