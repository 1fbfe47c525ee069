"""`owt generate`: let a trained model continue a prompt, in the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.completion import complete_model
from flows.cli.options import program, typed
from flows.settings import store_url

if TYPE_CHECKING:
    from artifacts.record import Record
    from artifacts.store import Store


def generate(
    prompt: Annotated[str, typer.Option(help="Text to continue.")] = "",
    model: Annotated[
        str,
        typer.Option(
            help="Which model, by its fingerprint's start or label; `owt artifacts ls train_lm` "
            "lists them. Default: the newest.",
            autocompletion=complete_model,
        ),
    ] = "",
    store: Annotated[str, typer.Option("--store", help="Folder or URL of artifacts.")] = "",
    max_new_tokens: Annotated[int, typer.Option(help="Tokens at most.")] = 256,
    temperature: Annotated[float, typer.Option(help="0: always the most likely token.")] = 0.8,
    top_k: Annotated[int, typer.Option(help="Most likely tokens that are kept; 0: off.")] = 0,
    top_p: Annotated[float, typer.Option(help="Mass of the nucleus; 1: off.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Determines the draws.")] = 0,
) -> None:
    """Print what a trained model writes after a prompt, token by token."""
    from artifacts.store import open_store, reference_of
    from lm.config import GenerateConfig, RunOptions
    from tasks.text_model import find_models, open_text_model, stream

    config = GenerateConfig(
        max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p
    )
    opened = open_store(store_url(store))
    try:
        found = find_models(opened, model)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}; this trains one in minutes: {typed('run', 'smoke')}"
        ) from error
    typer.echo(describe_choice(opened, found), err=True)
    text_model = open_text_model(opened, reference_of(opened, found[0]), RunOptions())
    typer.echo(prompt, nl=False)
    stream(
        text_model,
        prompt,
        config=config,
        seed=seed,
        on_text=lambda text: typer.echo(text, nl=False),
    )
    typer.echo()


def describe_choice(store: Store, found: Sequence[Record]) -> str:
    """Say which model is taken, and how to take another one where others fit, too."""
    from artifacts.store import list_records
    from flows.naming import losses_of_models, name_artifact

    losses = losses_of_models(list_records(store))
    chosen = f"model {found[0].place}: {name_artifact(found[0], losses)}"
    if len(found) == 1:
        return chosen
    command = shlex.join([*program(), "artifacts", "ls", found[0].stage])
    return (
        f"{chosen}\nthe newest of {len(found)}; --model FINGERPRINT takes another one, "
        f'and "{command}" lists them'
    )
