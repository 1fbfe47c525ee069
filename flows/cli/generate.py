"""`owt generate`: let a trained model go on from a prompt, in the terminal."""

from typing import Annotated

import typer

from flows.settings import data_root


def generate(
    prompt: Annotated[str, typer.Option(help="Text to go on from.")] = "",
    model: Annotated[
        str, typer.Option(help="A train_lm artifact: fingerprint's start or label.")
    ] = "train_lm",
    store: Annotated[str, typer.Option("--store", help="Folder or URL of artifacts.")] = "",
    max_new_tokens: Annotated[int, typer.Option(help="Tokens at most.")] = 256,
    temperature: Annotated[float, typer.Option(help="0: always the most likely token.")] = 0.8,
    top_p: Annotated[float, typer.Option(help="Mass of the nucleus; 1: off.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Determines the draws.")] = 0,
) -> None:
    """Print what a trained model writes after a prompt, token by token."""
    from artifacts.reading import local_folder
    from artifacts.store import open_store, record_of, reference_of, resolve
    from lm.checkpoint.weights import load_model
    from lm.config import GenerateConfig, RunOptions
    from lm.generate import generate as generate_ids
    from lm.machine.probe import choose_device
    from tokenizer.encoding.tokenizer import Tokenizer

    config = GenerateConfig(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
    opened = open_store(store or str(data_root() / "artifacts"))
    record = resolve(opened, model if "/" in model or model == "train_lm" else f"train_lm/{model}")
    shards = record_of(opened, record.inputs["train"])
    tokenizer = Tokenizer.from_folder(local_folder(opened, shards.inputs["tokenizer"]))
    weights = local_folder(opened, reference_of(opened, record))
    decoder = tokenizer.incremental_decoder()

    def show(token_id: int) -> None:
        typer.echo(decoder.push(token_id), nl=False)

    typer.echo(prompt, nl=False)
    generate_ids(
        load_model(weights, device=choose_device(RunOptions())),
        tokenizer.encode(prompt) or [tokenizer.eot_id],
        config=config,
        seed=seed,
        stop_token_ids=list(tokenizer.special_token_ids.values()),
        on_token=show,
    )
    typer.echo(decoder.finish())
