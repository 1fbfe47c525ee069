"""`owt generate`: let a trained model continue a prompt, in the terminal."""

from typing import Annotated

import typer

from flows.cli.completion import complete_model
from flows.cli.options import typed
from flows.settings import store_url


def generate(
    prompt: Annotated[str, typer.Option(help="Text to continue.")] = "",
    model: Annotated[
        str,
        typer.Option(
            help="A train_lm artifact: fingerprint's start or label; by default the newest.",
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
    from tasks.text_model import find_model, open_text_model, stream

    config = GenerateConfig(
        max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p
    )
    opened = open_store(store_url(store))
    try:
        record = find_model(opened, model)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}; this trains one in minutes: {typed('run', 'smoke')}"
        ) from error
    text_model = open_text_model(opened, reference_of(opened, record), RunOptions())
    typer.echo(prompt, nl=False)
    stream(
        text_model,
        prompt,
        config=config,
        seed=seed,
        on_text=lambda text: typer.echo(text, nl=False),
    )
    typer.echo()
