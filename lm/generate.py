"""Generation from a prompt, one sequence or a batch, with keys and values kept.

When a sequence fills the context, its oldest quarter is dropped and the rest is read again; with
or without the cache the same tokens are seen, so both give the same text.
Legend: B rows, T positions, V vocab.
"""

from collections.abc import Callable, Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lm.config import GenerateConfig, ModelConfig
from lm.decoding import Decoder, Row, append_token, cut_full_windows, decode_rows
from lm.fast.joined_products import with_joined_copies
from lm.fast.packed_linear import MIN_TOKENS_TO_PACK, can_pack, packed_kernels
from lm.fast.switch import FAST, use_kernels
from lm.machine.cuda_graph import record_cuda_graph
from lm.model.kernels import FAITHFUL
from lm.model.kv_cache import KVCache, new_cache
from lm.model.transformer import TransformerLM
from lm.sampling import sample_next


def generate(
    model: TransformerLM,
    prompt_ids: Sequence[int],
    *,
    config: GenerateConfig,
    seed: int,
    stop_token_ids: Collection[int] = (),
    on_token: Callable[[int], None] | None = None,
) -> list[int]:
    """Return the token ids after the prompt, without the stop token that ended them.

    Args:
        model: Weights to sample from.
        prompt_ids: At least one token; only its last `context_length` are seen.
        config: Length, temperature, top-p and top-k; its prompts and seed are not used.
        seed: Determines the draws.
        stop_token_ids: Tokens that end the text.
        on_token: Called with each new id as it is drawn.

    Raises:
        ValueError: The prompt is empty, or holds an id that the model does not know.
    """
    report = None if on_token is None else lambda _row, token: on_token(token)
    return generate_batch(
        model,
        [prompt_ids],
        config=config,
        seeds=[seed],
        stop_token_ids=stop_token_ids,
        on_token=report,
    )[0]


@torch.inference_mode()
def generate_batch(
    model: TransformerLM,
    prompts: Sequence[Sequence[int]],
    *,
    config: GenerateConfig,
    seeds: Sequence[int],
    stop_token_ids: Collection[int] = (),
    on_token: Callable[[int, int], None] | None = None,
    use_cache: bool = True,
    fast: bool = True,
    fixed_slots: bool | None = None,
) -> list[list[int]]:
    """Return the new ids of each prompt; prompts may differ in length.

    A row's tokens depend on its own prompt and seed only, up to rounding. `on_token` is called
    with row and id. Without `use_cache`, keys and values are computed anew for each token;
    without `fast`, the faithful kernels compute. `fixed_slots` decodes as `lm/decoding.py` does,
    by default on a GPU with both. The rest is as in `generate`.
    """
    for prompt in prompts:
        _check_prompt(prompt, model.config)
    is_long = config.max_new_tokens >= MIN_TOKENS_TO_PACK
    kernels = FAST if fast else FAITHFUL
    if fast and use_cache and is_long and can_pack(model):
        kernels = packed_kernels(model, kernels, len(prompts))
    is_on_gpu = model.token_embeddings.weight.is_cuda
    is_fixed = is_on_gpu and fast and use_cache if fixed_slots is None else fixed_slots
    if is_fixed and fast:
        kernels = with_joined_copies(model, FAST)
    kernels_before = model.token_embeddings.kernels
    use_kernels(model, kernels)
    try:
        return _generate_rows(
            model,
            prompts,
            config=config,
            seeds=seeds,
            stop_token_ids=stop_token_ids,
            on_token=on_token,
            use_cache=use_cache,
            fixed_slots=is_fixed,
        )
    finally:
        use_kernels(model, kernels_before)  # drops the packed copies too


def _generate_rows(
    model: TransformerLM,
    prompts: Sequence[Sequence[int]],
    *,
    config: GenerateConfig,
    seeds: Sequence[int],
    stop_token_ids: Collection[int],
    on_token: Callable[[int, int], None] | None,
    use_cache: bool,
    fixed_slots: bool,
) -> list[list[int]]:
    context_length = model.config.context_length
    rows = [
        Row(list(prompt[-context_length:]), torch.Generator().manual_seed(seed))
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    if fixed_slots:
        record = record_cuda_graph if model.token_embeddings.weight.is_cuda else None
        decoder = Decoder(model, len(rows), config, record=record)
        decode_rows(decoder, rows, stop_token_ids=stop_token_ids, on_token=on_token)
        return [row.new_ids for row in rows]
    reader = _Reader(model, use_cache=use_cache)
    for _ in range(config.max_new_tokens):
        logits = reader.read(rows)  # (B, V)
        token_ids = sample_next(
            logits,
            [row.generator for row in rows],
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=config.top_k,
        )
        for index, (row, token_id) in enumerate(zip(rows, token_ids.tolist(), strict=True)):
            append_token(row, token_id, stop_token_ids)
            if on_token is not None and not row.is_done:
                on_token(index, token_id)
        if all(row.is_done for row in rows):
            break
    return [row.new_ids for row in rows]


def _check_prompt(prompt: Sequence[int], config: ModelConfig) -> None:
    if not prompt:
        raise ValueError("prompt () must hold at least one token; begin with the end-of-text token")
    bad = next((token for token in prompt if not 0 <= token < config.vocab_size), None)
    if bad is not None:
        raise ValueError(
            f"prompt token {bad} must lie in 0..{config.vocab_size - 1}; encode the prompt with "
            "the tokenizer that the model was trained with"
        )


class _Reader:
    """Turns the rows' windows into logits of the next token, keeping a cache in between."""

    def __init__(self, model: TransformerLM, *, use_cache: bool) -> None:
        self.model = model
        self.use_cache = use_cache
        self.cache: KVCache | None = None
        self.device = model.token_embeddings.weight.device

    def read(self, rows: list[Row]) -> Float[Tensor, "rows vocab"]:
        """Return the logits after each row's window, which is cut first where it is too long."""
        is_cut = cut_full_windows(rows, self.model.config.context_length)
        if self.cache is None or is_cut:
            return self._read_whole(rows)
        return self._read_last(rows, self.cache)

    def _read_whole(self, rows: list[Row]) -> Float[Tensor, "rows vocab"]:
        lengths = [len(row.window) for row in rows]
        longest = max(lengths)
        padded = [row.window + [0] * (longest - len(row.window)) for row in rows]
        token_ids = torch.tensor(padded, device=self.device)  # (B, T)
        if self.use_cache:
            weight = self.model.token_embeddings.weight
            self.cache = new_cache(
                self.model.config, len(rows), device=self.device, dtype=weight.dtype
            )
            self.cache.advance(start=0, stop=longest, is_ragged=False)
        hidden = self.model.hidden_states(token_ids, cache=self.cache)  # (B, T, D)
        last = torch.tensor(lengths, device=self.device) - 1
        return self.model.logits(hidden[torch.arange(len(rows), device=self.device), last])

    def _read_last(self, rows: list[Row], cache: KVCache) -> Float[Tensor, "rows vocab"]:
        token_ids = torch.tensor([row.window[-1:] for row in rows], device=self.device)  # (B, 1)
        lengths = [len(row.window) for row in rows]
        is_ragged = len(set(lengths)) > 1
        cache.advance(start=lengths[0] - 1, stop=max(lengths), is_ragged=is_ragged)
        places = [[length - 1] for length in lengths] if is_ragged else [lengths[0] - 1]
        positions = torch.tensor(places, device=self.device)  # (B, 1) or (1,)
        hidden = self.model.hidden_states(token_ids, positions, cache=cache)  # (B, 1, D)
        return self.model.logits(hidden[:, -1])
