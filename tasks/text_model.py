"""One trained model with its tokenizer, opened in one place: it continues texts, and is scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts.identity import Reference
from artifacts.published.reading import local_folder
from artifacts.record import Record
from artifacts.store import Store, fitting, list_records, record_of, resolve
from lm.config import EvaluateConfig, GenerateConfig, RunOptions
from tasks.watching.progress import OnProgress

if TYPE_CHECKING:
    from lm.evaluate import Evaluation, Grouping
    from lm.model.transformer import TransformerLM
    from tokenizer.encoding.tokenizer import Tokenizer

MODEL_STAGE = "train_lm"
TOKENIZER_STAGE = "train_tokenizer"

SHOWN = 3
"""Models that a message names: the newest ones."""


@dataclass(frozen=True, kw_only=True)
class TextModel:
    """A model's folder on this machine and the tokenizer that its training shards were made by."""

    folder: Path
    tokenizer: Tokenizer
    options: RunOptions

    @cached_property
    def network(self) -> TransformerLM:
        """The weights, on the device that the options choose; loaded at the first use."""
        from lm.checkpoint.weights import load_model
        from lm.machine.probe import choose_device

        return load_model(self.folder, device=choose_device(self.options))


def open_text_model(store: Store, model: Reference, options: RunOptions) -> TextModel:
    """Bring a model and its tokenizer to this machine.

    Raises:
        FileNotFoundError: The model, its shards' record or its tokenizer is not in the store.
    """
    shards = record_of(store, model).inputs["train"]
    return TextModel(
        folder=local_folder(store, model),
        tokenizer=tokenizer_of(store, shards),
        options=options,
    )


def tokenizer_of(store: Store, shards: Reference) -> Tokenizer:
    """Open the tokenizer that token shards were made by."""
    from tokenizer.encoding.tokenizer import Tokenizer

    return Tokenizer.from_folder(local_folder(store, record_of(store, shards).inputs["tokenizer"]))


def find_models(store: Store, name: str) -> list[Record]:
    """Return the models that a user may mean, the newest first; the first one is taken.

    Args:
        store: Where to look.
        name: A fingerprint's start or a label, also after the stage and a slash; "": any model.

    Raises:
        ValueError: Nothing fits, or a fingerprint's start fits several.
        FileNotFoundError: The store has no model at all.
    """
    models = list_records(store, MODEL_STAGE)
    if not models:
        raise FileNotFoundError(f"no trained model is in {store.url} yet")
    wanted = name.removeprefix(MODEL_STAGE).removeprefix("/")
    if not wanted:
        return models
    found = fitting(models, wanted)
    if len(found) == 1 or (found and not found[0].fingerprint.startswith(wanted)):
        return found
    what = f"{len(found)} models fit" if found else "no model fits"
    places = [record.place for record in found or models]
    more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    raise ValueError(
        f"{what} {name!r} in {store.url}; there are {', '.join(places[:SHOWN])}{more}, "
        f'which "owt artifacts ls {MODEL_STAGE}" tells apart'
    )


def find_tokenizer(store: Store, name: str) -> Record:
    """Return the tokenizer that a user means by a fingerprint's start, a label or its place.

    Raises:
        ValueError: Nothing fits, or several do.
    """
    return resolve(store, name if name.startswith(TOKENIZER_STAGE) else f"{TOKENIZER_STAGE}/{name}")


def stream(
    text_model: TextModel,
    prompt: str,
    *,
    config: GenerateConfig,
    seed: int,
    on_text: Callable[[str], None] | None = None,
) -> list[int]:
    """Return the token ids with which the model continues a prompt, up to a special token.

    `on_text` gets the text as it grows, in pieces of whole characters.
    """
    from lm.generate import generate

    tokenizer = text_model.tokenizer
    decoder = tokenizer.incremental_decoder()
    new_ids = generate(
        text_model.network,
        tokenizer.encode(prompt) or [tokenizer.eot_id],
        config=config,
        seed=seed,
        stop_token_ids=list(tokenizer.special_token_ids.values()),
        on_token=None if on_text is None else lambda token_id: on_text(decoder.push(token_id)),
    )
    if on_text is not None:
        on_text(decoder.finish())
    return new_ids


def score(
    text_model: TextModel,
    shards: list[Path],
    *,
    config: EvaluateConfig,
    grouping: Grouping | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Evaluate the model on every token of the shards, also in bits a byte of their text."""
    from lm.evaluate import evaluate_model

    return evaluate_model(
        text_model.folder,
        shards,
        config=config,
        options=text_model.options,
        token_num_bytes=text_model.tokenizer.token_num_bytes(),
        grouping=grouping,
        on_progress=on_progress,
    )
