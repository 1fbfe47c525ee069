"""Token shards and the batches cut from them.

The shards of a split, in the given order, are one stream of tokens: a window may span the end
of a shard, so the size of the shards does not change what is learned. A window is
`context_length + 1` tokens: inputs and, one token on, targets. Which windows a step reads is a
function of (seed, step) alone, never of the number of processes, micro-batches or threads:

- without replacement: window w starts at `phase + w * context_length`; every window is read once
  an epoch, in the order of a keyed permutation (`lm/data/permutation.py`); each epoch has its own
  order and its own phase, so that a token has other contexts in the next epoch.
- with replacement: the course's `get_batch`, any start, here drawn by a counter-based hash.
"""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from lm.config import Sampling
from lm.data.permutation import derive_key, hash_indices, permute

Tokens = NDArray[np.unsignedinteger]
"""uint16 or uint32 token ids."""

BLOCK_TOKENS = 2**22
"""Tokens a sequential reader takes at once: 8 MiB of uint16."""

_ORDER, _PHASE, _STARTS = 1, 2, 3
"""Purposes of the keys that are derived from a seed."""


@dataclass(frozen=True)
class TokenShards:
    """Memory-mapped token files, read as one stream. Made by `open_shards`."""

    paths: tuple[Path, ...]
    arrays: tuple[Tokens, ...]
    offsets: NDArray[np.int64]
    """Tokens before each shard, and the total: one more entry than there are shards."""

    @property
    def num_tokens(self) -> int:
        """Tokens of all shards together."""
        return int(self.offsets[-1])

    @property
    def size_bytes(self) -> int:
        """Bytes of all tokens, in the shards' own format."""
        return sum(array.nbytes for array in self.arrays)


_DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
)
"""What NumPy raises for a header that is not there, cut off or changed."""


def open_shards(paths: Sequence[Path]) -> TokenShards:
    """Map 1-D `.npy` files of uint16 or uint32; their order is the order of the stream.

    Raises:
        ValueError: There is no path, or a file is not a one-dimensional uint16 or uint32 array.
    """
    if not paths:
        raise ValueError("no shards were given; name at least one .npy file of token ids")
    arrays = tuple(_open_shard(Path(path)) for path in paths)
    offsets = np.cumsum([0, *(len(array) for array in arrays)], dtype=np.int64)
    return TokenShards(tuple(Path(path) for path in paths), arrays, offsets)


def _open_shard(path: Path) -> Tokens:
    try:
        array: Tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE as error:
        reason = " ".join(str(error).split())  # it may have several lines
        raise ValueError(f"{path} is not a whole .npy file ({reason}); encode it again") from error
    if array.ndim != 1 or array.dtype not in (np.dtype("<u2"), np.dtype("<u4")):
        raise ValueError(
            f"{path} holds {array.dtype} of shape {array.shape}; a shard is one-dimensional "
            "uint16 or uint32"
        )
    return array


def iter_blocks(shards: TokenShards, *, block_tokens: int = BLOCK_TOKENS) -> Iterator[Tokens]:
    """Yield all tokens in order as copies of at most `block_tokens`, in constant memory."""
    for array in shards.arrays:
        for start in range(0, len(array), block_tokens):
            yield np.array(array[start : start + block_tokens])
            _release_array(array)


def release_pages(shards: TokenShards) -> None:
    """Hand mapped pages back to the system's file cache; they no longer count as resident.

    Without this the resident memory of a long run grows to the size of the corpus. Reading a
    page again costs a minor fault (about a microsecond) while the file cache has it.
    """
    for array in shards.arrays:
        _release_array(array)


def _release_array(array: Tokens) -> None:
    mapped: object = array.base
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def check_token_ids(shards: TokenShards, vocab_size: int) -> None:
    """Read every token once and refuse ids that the model does not know.

    Raises:
        ValueError: A shard holds an id of `vocab_size` or more.
    """
    for path, array in zip(shards.paths, shards.arrays, strict=True):
        for start in range(0, len(array), BLOCK_TOKENS):
            block = array[start : start + BLOCK_TOKENS]
            _check_ids(block, vocab_size, where=str(path))
            _release_array(array)


def _check_ids(ids: Tokens, vocab_size: int, *, where: str) -> None:
    largest = int(ids.max(initial=0))
    if largest >= vocab_size:
        raise ValueError(
            f"{where} holds token id {largest}, but the model knows ids below {vocab_size}; "
            f"set model.vocab_size to the tokenizer's, at least {largest + 1}, or encode with "
            "the tokenizer of this model"
        )


def check_length(shards: TokenShards, context_length: int) -> None:
    """Refuse shards that hold no window of `context_length` tokens and its targets."""
    if shards.num_tokens < context_length + 1:
        raise ValueError(
            f"the shards hold {shards.num_tokens} tokens, fewer than one window of "
            f"context_length + 1 = {context_length + 1}; give more text or set "
            f"model.context_length to at most {max(1, shards.num_tokens - 1)}"
        )


def windows_per_epoch(num_tokens: int, context_length: int) -> int:
    """Count the windows of one epoch; the same for every phase."""
    return max(1, (num_tokens - context_length) // context_length)


def window_starts(
    num_tokens: int,
    context_length: int,
    *,
    seed: int,
    step: int,
    batch_size: int,
    sampling: Sampling = "without_replacement",
) -> NDArray[np.int64]:
    """Give the first token of each of the `batch_size` windows of global batch `step`."""
    indices = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64)
    if sampling == "with_replacement":
        draws = hash_indices(indices, key=derive_key(seed, _STARTS))
        # The remainder favours small starts by less than num_tokens / 2^64
        return (draws % np.uint64(num_tokens - context_length)).astype(np.int64)
    epoch_size = windows_per_epoch(num_tokens, context_length)
    starts = np.empty_like(indices)
    epochs = indices // epoch_size
    for epoch in np.unique(epochs).tolist():
        chosen = epochs == epoch
        windows = permute(
            indices[chosen] % epoch_size, size=epoch_size, key=derive_key(seed, _ORDER, epoch)
        )
        starts[chosen] = windows * context_length + _phase(
            num_tokens, context_length, epoch_size, seed=seed, epoch=epoch
        )
    return starts


def _phase(num_tokens: int, context_length: int, epoch_size: int, *, seed: int, epoch: int) -> int:
    phases = min(context_length, num_tokens - epoch_size * context_length)
    return derive_key(seed, _PHASE, epoch) % phases


def read_windows(
    shards: TokenShards, starts: NDArray[np.int64], length: int
) -> Int[Tensor, "batch length"]:
    """Copy windows of `length` tokens out of the stream, as int64."""
    windows = np.empty((len(starts), length), dtype=np.int64)  # (B, T + 1)
    for row, start in enumerate(starts.tolist()):
        _copy_stream(shards, start, windows[row])
    return torch.from_numpy(windows)


def _copy_stream(shards: TokenShards, start: int, out: NDArray[np.int64]) -> None:
    shard = int(np.searchsorted(shards.offsets, start, side="right")) - 1
    filled = 0
    while filled < len(out):
        piece = shards.arrays[shard][start + filled - int(shards.offsets[shard]) :]
        piece = piece[: len(out) - filled]
        out[filled : filled + len(piece)] = piece
        filled += len(piece)
        shard += 1


def get_batch(
    tokens: NDArray[np.integer],
    batch_size: int,
    context_length: int,
    device: str | torch.device = "cpu",
) -> tuple[Int[Tensor, "batch seq"], Int[Tensor, "batch seq"]]:
    """Draw windows with replacement, every start equally likely (CS336 A1, section 5.1).

    Draws from torch's global generator. Returns inputs and targets, int64.

    Raises:
        ValueError: `tokens` holds no whole window.
    """
    if len(tokens) < context_length + 1:
        raise ValueError(
            f"tokens ({len(tokens)}) must hold a window of context_length + 1 = "
            f"{context_length + 1}"
        )
    starts = torch.randint(len(tokens) - context_length, (batch_size,))
    rows = [tokens[start : start + context_length + 1] for start in starts.tolist()]
    windows = torch.from_numpy(np.stack(rows).astype(np.int64)).to(device)  # (B, T + 1)
    return windows[:, :-1], windows[:, 1:]
