"""Token after token from fixed tensors: for a GPU, where the host is what takes the time.

Keys and values are in slots for the whole context, and each row sees those up to its position
through a mask, so that every token is the same work on the same tensors: a CUDA graph. The host
draws the random numbers of a block of tokens ahead, and reads the tokens once a block.
Legend: B rows, T positions, V vocab.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lm.config import GenerateConfig
from lm.machine.cuda_graph import Recorded, Work, record_cuda_graph
from lm.model.kv_cache import new_cache
from lm.model.transformer import TransformerLM
from lm.sampling import choose_next, draw_uniforms

BLOCK_TOKENS = 16
"""Tokens between two looks of the host; so many at most are computed in vain after the last."""

_DROPPED_SHARE = 4
"""One part in so many is dropped when the context is full. Reading the rest again costs one pass
per context_length / 4 tokens, and the model always sees at least 3/4 of its context."""


@dataclass(slots=True)
class Row:
    """One sequence that is being generated."""

    window: list[int]
    generator: torch.Generator
    new_ids: list[int] = field(default_factory=list)
    is_done: bool = False


def append_token(row: Row, token_id: int, stop_token_ids: Collection[int]) -> None:
    """Add a token to the row; a finished row only continues to keep its place in the batch."""
    row.is_done = row.is_done or token_id in stop_token_ids
    row.window.append(token_id)
    if not row.is_done:
        row.new_ids.append(token_id)


def cut_full_windows(rows: list[Row], context_length: int) -> bool:
    """Drop the oldest quarter of each window that is longer than the context; tell if any was."""
    is_cut = False
    for row in rows:
        if len(row.window) > context_length:
            del row.window[: max(1, context_length // _DROPPED_SHARE)]
            is_cut = True
    return is_cut


class Decoder:
    """Reads the rows' windows once, then adds a token to all of them at each call."""

    def __init__(
        self,
        model: TransformerLM,
        num_rows: int,
        config: GenerateConfig,
        *,
        record: Callable[[Work], Work] | None = record_cuda_graph,
    ) -> None:
        """Allocate the slots. Without `record` nothing is recorded."""
        self.model, self.config = model, config
        weight = model.token_embeddings.weight
        self.device = weight.device
        self._cache = new_cache(model.config, num_rows, device=self.device, dtype=weight.dtype)

        def integers(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int64, device=self.device)

        self._tokens, self._positions = integers(num_rows, 1), integers(num_rows, 1)
        self._chosen, self._place = integers(BLOCK_TOKENS, num_rows), integers(1)
        self._uniforms = torch.zeros(
            BLOCK_TOKENS, num_rows, dtype=torch.float64, device=self.device
        )
        self._decode: Work = self._decode_one
        if record is not None:
            self._decode = Recorded(self._decode_one, self.device, record=record)

    def read(self, rows: list[Row]) -> list[int]:
        """Read whole windows and return the next token of each row."""
        lengths = [len(row.window) for row in rows]
        longest = max(lengths)
        padded = [row.window + [0] * (longest - len(row.window)) for row in rows]
        self._cache.advance(start=0, stop=longest, is_ragged=False)
        token_ids = torch.tensor(padded, device=self.device)  # (B, T)
        hidden = self.model.hidden_states(token_ids, cache=self._cache)  # (B, T, D)
        last = torch.tensor(lengths, device=self.device) - 1
        hidden = hidden[torch.arange(len(rows), device=self.device), last]  # (B, D)
        uniforms = self._draw(rows, 1).to(self.device)
        chosen = self._choose(self.model.logits(hidden), uniforms[0])
        # From now on every row sees all slots up to its own position.
        self._cache.advance(start=0, stop=self.model.config.context_length, is_ragged=True)
        self._tokens.copy_(chosen.unsqueeze(1))
        self._positions.copy_((last + 1).unsqueeze(1))
        tokens: list[int] = chosen.tolist()
        return tokens

    def decode(self, rows: list[Row], num_tokens: int) -> list[list[int]]:
        """Return the next tokens of all rows, one list per token; a single wait for all."""
        self._uniforms[:num_tokens].copy_(self._draw(rows, num_tokens), non_blocking=True)
        self._place.zero_()
        for _ in range(num_tokens):
            self._decode()
        tokens: list[list[int]] = self._chosen[:num_tokens].tolist()
        return tokens

    def _decode_one(self) -> None:
        hidden = self.model.hidden_states(self._tokens, self._positions, cache=self._cache)
        uniforms = self._uniforms.index_select(0, self._place).squeeze(0)  # (B,)
        chosen = self._choose(self.model.logits(hidden[:, -1]), uniforms)
        self._chosen.index_copy_(0, self._place, chosen.unsqueeze(0))
        self._tokens.copy_(chosen.unsqueeze(1))
        self._positions += 1
        self._place += 1

    def _choose(
        self, logits: Float[Tensor, "rows vocab"], uniforms: Float[Tensor, " rows"]
    ) -> Int[Tensor, " rows"]:
        config = self.config
        return choose_next(
            logits,
            uniforms,
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=config.top_k,
        )

    def _draw(self, rows: list[Row], num_tokens: int) -> Float[Tensor, "tokens rows"]:
        if self.config.temperature == 0:
            return torch.zeros(num_tokens, len(rows), dtype=torch.float64)
        return torch.stack([draw_uniforms(row.generator, num_tokens) for row in rows], dim=1)


def decode_rows(
    decoder: Decoder,
    rows: list[Row],
    *,
    stop_token_ids: Collection[int],
    on_token: Callable[[int, int], None] | None,
) -> None:
    """Generate until all rows are done or have the configured number of new tokens."""
    context_length = decoder.model.config.context_length
    remaining = decoder.config.max_new_tokens

    def take(tokens: list[int]) -> None:
        for index, (row, token_id) in enumerate(zip(rows, tokens, strict=True)):
            append_token(row, token_id, stop_token_ids)
            if on_token is not None and not row.is_done:
                on_token(index, token_id)

    while remaining and not all(row.is_done for row in rows):
        cut_full_windows(rows, context_length)
        take(decoder.read(rows))
        remaining -= 1
        while remaining and not all(row.is_done for row in rows):
            room = context_length - max(len(row.window) for row in rows) + 1
            num_tokens = min(room, remaining, BLOCK_TOKENS)
            if num_tokens < 1:
                break
            for tokens in decoder.decode(rows, num_tokens):
                take(tokens)
            remaining -= num_tokens
