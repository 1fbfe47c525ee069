"""The check of an entry: its loss, computed again on the whole validation text."""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from artifacts.content_hash import ContentHash, content_hash
from lm.config import EvaluateConfig, ModelConfig, RunOptions
from tasks.leaderboard.entry import MODEL, TOKENIZER, Claim, read_claim, read_lineage
from tasks.leaderboard.lineage import check_lineage, describe_training
from tasks.watching.progress import progress

if TYPE_CHECKING:
    from lm.evaluate import Evaluation
    from tokenizer.encoding.tokenizer import Tokenizer

TOLERANCE = 1e-4
"""Nats by which two machines may differ. In fp32 the order of a sum changes a loss by some 1e-6."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """An entry whose claim holds."""

    claim: Claim
    text: ContentHash
    model: ModelConfig
    found: "Evaluation"
    training: str
    """What the entry says of its training, which nobody can check."""


def verify_entry(folder: Path, text: Path, *, options: RunOptions) -> Verified:
    """Compute the loss of an entry in fp32 on every token of a text, and compare.

    Args:
        folder: The entry, which may be anybody's.
        text: The validation text, a plain file.
        options: Device and path to use.

    Raises:
        FileNotFoundError: A file of the entry is missing.
        ValueError: A file is damaged or another one than the records say, the text is not the
            one of the claim, or the claim does not hold.
    """
    from lm.checkpoint.weights import load_config

    claim, records = read_claim(folder), read_lineage(folder)
    training = "made in an unknown way"
    if records:
        training = describe_training(check_lineage(folder, records, claim))
    content = content_hash(text, memo_dir=None)
    if content.sha256 != claim.text_sha256:
        raise ValueError(
            f"the entry is about another validation text: it claims sha256 {claim.text_sha256}, "
            f"and {text} has {content.sha256}; give its own with --text"
        )
    model = load_config(folder / MODEL)
    evaluation = _evaluate(folder, text, claim, model, options)
    _compare(claim, evaluation)
    return Verified(
        claim=claim,
        text=content,
        model=model,
        found=evaluation,
        training=training,
    )


def _evaluate(
    folder: Path, text: Path, claim: Claim, model: ModelConfig, options: RunOptions
) -> "Evaluation":
    import numpy as np

    from lm.evaluate import evaluate_model
    from tokenizer.encoding.file_encoder import encode_file
    from tokenizer.encoding.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_folder(folder / TOKENIZER)
    if tokenizer.vocab_size > model.vocab_size:
        raise ValueError(
            f"tokenizer and model do not belong together: {tokenizer.vocab_size} token ids, of "
            f"which the model knows {model.vocab_size}"
        )
    num_bytes = np.zeros(model.vocab_size, dtype=np.int64)  # ids without a token are never met
    num_bytes[: tokenizer.vocab_size] = tokenizer.token_num_bytes()
    with TemporaryDirectory(prefix="owt-") as scratch:
        shard = Path(scratch, "shard.npy")
        with progress("encode") as on_progress:
            encode_file(
                tokenizer,
                text,
                output=shard,
                documents_output=Path(scratch, "documents.npy"),
                num_threads=os.cpu_count() or 1,
                on_progress=on_progress,
            )
        with progress("evaluate", unit="tokens") as on_progress:
            evaluation = evaluate_model(
                folder / MODEL,
                [shard],
                config=EvaluateConfig(context_length=claim.context_length),
                options=options,
                token_num_bytes=num_bytes,
                on_progress=on_progress,
            )
        _check_nothing_is_lost(tokenizer, shard, evaluation, text)
    return evaluation


def _check_nothing_is_lost(
    tokenizer: "Tokenizer", shard: Path, evaluation: "Evaluation", text: Path
) -> None:
    """Refuse a tokenizer whose tokens do not hold all of the text: less text costs less loss."""
    import numpy as np

    first = int(np.load(shard, mmap_mode="r", allow_pickle=False)[0])
    held = (evaluation.num_bytes or 0) + len(tokenizer.vocab[first])
    if held != text.stat().st_size:
        raise ValueError(
            f"the tokenizer does not keep the text: its tokens hold {held} bytes of "
            f"{text.stat().st_size}"
        )


def _compare(claim: Claim, found: "Evaluation") -> None:
    if claim.num_tokens not in (None, found.num_tokens):
        raise ValueError(
            f"the claim does not hold: {claim.num_tokens} tokens are claimed, the tokenizer gives "
            f"{found.num_tokens}"
        )
    pairs = {
        "nats a token": (claim.loss, found.loss),
        "bits a byte": (claim.bits_per_byte, found.bits_per_byte),
    }
    for unit, (claimed, computed) in pairs.items():
        if claimed is None or computed is None:
            continue
        if not abs(claimed - computed) <= TOLERANCE:  # also where the loss is not a number
            raise ValueError(
                f"the claim does not hold: {claimed:.6f} {unit} are claimed, {computed:.6f} were "
                f"found, further apart than {TOLERANCE:g}"
            )
