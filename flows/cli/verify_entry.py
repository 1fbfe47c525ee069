"""`owt verify-entry`: compute the loss of anybody's entry again, and compare it with the claim."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from artifacts.record import JsonObject
from flows.cli.reading.texts import plain_texts
from flows.presets import LEADERBOARD, find_preset
from flows.settings import data_root, store_url
from tasks.watching.progress import format_bytes

if TYPE_CHECKING:
    from tasks.leaderboard.verify import Verified

Folder = Annotated[Path, typer.Argument(help="The entry: entry.json, model, tokenizer.")]
Text = Annotated[
    str, typer.Option("--text", help="Validation text; default: the leaderboard's, OpenWebText.")
]
StoreUrl = Annotated[str, typer.Option("--store", help="Where the default text is looked for.")]


def verify_entry(folder: Folder, text: Text = "", store: StoreUrl = "") -> None:
    """Compute an entry's loss on the whole validation text, and compare it with its claim."""
    from lm.config import RunOptions
    from tasks.leaderboard.entry import read_claim
    from tasks.leaderboard.verify import verify_entry as verify

    claim = read_claim(folder)  # before a text is fetched
    separator = find_preset(LEADERBOARD).corpus.document_separator
    opened = plain_texts([text], separator=separator, option="--text") if text else _own_text(store)
    with opened as (path,):
        found = verify(folder, path, options=RunOptions())
    _show(found, text or f"the text of the preset {LEADERBOARD}")
    if claim.context_length != (usual := find_preset(LEADERBOARD).model.context_length):
        typer.echo(f"note: evaluated at context {claim.context_length}; others are at {usual}")


@contextmanager
def _own_text(store: str) -> Iterator[list[Path]]:
    """Give the leaderboard's validation text: of the store if it is there, else fetched."""
    from artifacts.fetching.fetch import UnreachableError
    from artifacts.store import open_store
    from tasks.corpus.plain import plain_text
    from tasks.corpus.source import source_of, with_known_hash
    from tasks.corpus.text import published_text, text_name

    root = data_root()
    source = with_known_hash(source_of(find_preset(LEADERBOARD).corpus, "valid"), root)
    if there := published_text(open_store(store_url(store)), source):
        yield [there]
        return
    with TemporaryDirectory(prefix="owt-") as scratch:
        try:
            path = plain_text(source, root, Path(scratch, text_name("valid")))
        except UnreachableError as error:
            raise UnreachableError(
                f"the leaderboard's validation text cannot be fetched ({error.reason}); give a "
                f"copy of {source.file_name} with --text",
                error.reason,
            ) from error
        yield [path]


def _show(found: Verified, text: str) -> None:
    from lm.accounting.parameters import num_parameters

    claim, evaluation, size = found.claim, found.found, format_bytes(found.text.size_bytes)
    typer.echo(f"validation text: {text}, {size}, sha256 {found.text.sha256}")
    typer.echo(
        f"model: {num_parameters(found.model):,} parameters, {found.model.vocab_size:,} token ids; "
        f"by its own account {found.training}"
    )
    typer.echo(
        f"claimed {claim.loss:.4f} nats a token, found {evaluation.loss:.4f} "
        f"({evaluation.bits_per_byte:.4f} bits a byte), on all {evaluation.num_tokens:,} tokens "
        f"at context {evaluation.context_length}"
    )
    typer.echo(f"the claim holds: {abs(claim.loss - evaluation.loss):.1e} nats apart")


def entry_command(entry: JsonObject) -> list[str]:
    """Return the words that check the entry of a run, after the name of the program."""
    text = ["--text", str(entry["text"])] if entry["text"] else []
    return ["verify-entry", str(entry["folder"]), *text]
