"""Keys and values of earlier positions, kept so that each new token costs one position's work.

The slot of a key is its position, so rows of a batch may have different lengths: a short prompt
is padded on the right; its padding is in slots above its own position, which it never sees, and
which its later tokens overwrite.
Legend: B batch, G key-value heads, T new positions, S slots in use, K d_head.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lm.config import ModelConfig


@dataclass(slots=True)
class LayerCache:
    """The slots of one layer."""

    keys: Float[Tensor, "batch g slots k"]
    values: Float[Tensor, "batch g slots k"]
    start: int = 0
    """First slot that the present call writes, where all rows write the same slots."""
    stop: int = 0
    """One past the last slot in use by any row."""
    is_ragged: bool = False
    """Whether rows write different slots."""

    def update(
        self,
        keys: Float[Tensor, "batch g seq k"],
        values: Float[Tensor, "batch g seq k"],
        token_positions: Int[Tensor, "... seq"],
    ) -> tuple[Float[Tensor, "batch g slots k"], Float[Tensor, "batch g slots k"]]:
        """Write the new keys and values into their slots; return all slots in use."""
        if self.is_ragged:
            rows = torch.arange(keys.shape[0], device=keys.device).unsqueeze(-1)  # (B, 1)
            self.keys[rows, :, token_positions] = keys.transpose(1, 2)  # (B, T, G, K)
            self.values[rows, :, token_positions] = values.transpose(1, 2)
        else:
            self.keys[:, :, self.start : self.stop] = keys
            self.values[:, :, self.start : self.stop] = values
        return self.keys[:, :, : self.stop], self.values[:, :, : self.stop]

    def visible(self, token_positions: Int[Tensor, "... seq"]) -> Bool[Tensor, "... slots"] | None:
        """Return a mask of the slots that each query sees, or None where it needs no mask."""
        if not self.is_ragged and (self.start == 0 or self.stop - self.start == 1):
            return None
        slots = torch.arange(self.stop, device=token_positions.device)
        mask = token_positions.unsqueeze(-1) >= slots  # (T, S) or (B, T, S)
        return mask if mask.dim() == 2 else mask.unsqueeze(1)  # the same for all heads

    @property
    def is_causal(self) -> bool:
        """Whether the queries are all slots in use, so that each sees the keys up to its own."""
        return not self.is_ragged and self.start == 0


@dataclass(slots=True)
class KVCache:
    """The slots of all layers, for one batch of sequences."""

    layers: list[LayerCache]

    def advance(self, *, start: int, stop: int, is_ragged: bool) -> None:
        """Set the slots that the next forward pass writes: [start, stop), or each row its own."""
        for layer in self.layers:
            layer.start, layer.stop, layer.is_ragged = start, stop, is_ragged


def new_cache(
    config: ModelConfig, batch_size: int, *, device: torch.device, dtype: torch.dtype
) -> KVCache:
    """Return empty slots for `context_length` positions of each sequence."""
    shape = (batch_size, config.kv_heads, config.context_length, config.d_head)

    def layer() -> LayerCache:
        # Zeros, not uninitialised memory: a masked NaN would still poison the weighted sum.
        zeros = torch.zeros(shape, device=device, dtype=dtype)
        return LayerCache(keys=zeros, values=zeros.clone())

    return KVCache([layer() for _ in range(config.num_layers)])
