"""`owt run`: the whole pipeline, or one stage of it, in this process."""

from typing import Any

import rich
from rich.markup import escape

from artifacts.identity import Reference
from flows.cli.options import ConfigFile, Force, From, Only, Preset, Settings, overlay_of
from flows.cli.servers import own_prefect_server
from flows.cli.tables import plain_table, print_table
from flows.config import resolve_config
from flows.presets import find_preset
from flows.selection import select_stages
from flows.settings import data_root, prepare_environment


def run(
    preset: Preset = "smoke",
    config: ConfigFile = None,
    settings: Settings = None,
    only: Only = "",
    start_from: From = "",
    force: Force = None,
) -> None:
    """Run the pipeline; what is cached and sound is not built again."""
    overlay = overlay_of(config)
    # Bad input is refused here, before anything heavy is imported or started.
    resolve_config(find_preset(preset), overlay, settings or ())
    select_stages(only=only, start_from=start_from, force=force or ())
    root = data_root()
    prepare_environment(root)
    with own_prefect_server(root):
        from flows.logs import readable_console
        from flows.pipeline import owt_pipeline

        with readable_console():
            summary = owt_pipeline(
                preset=preset,
                overrides=settings or [],
                config=overlay,
                only=only,
                start_from=start_from,
                force=force or [],
            )
    show_summary(summary)


def show_summary(summary: dict[str, Any]) -> None:
    """Print what the run gave: a sample, the stages, the loss, and where to look next."""
    if samples := summary.get("samples"):
        rich.print("\n[bold]A sample of what the model writes[/bold]\n")
        rich.print(f"{escape(samples.strip())}\n")
        rich.print(f"[dim]{describe_samples(summary['sample_statistics'])}[/dim]\n")
    table = plain_table(f"Store: {summary['store']}", ("stage", "", "artifact"), ("seconds",))
    for stage in summary["stages"]:
        name = f"{stage['stage']} {stage['label']}".strip()
        ending = "[cyan]cached[/cyan]" if stage["cached"] else "[green]built[/green]"
        place = Reference.from_json(stage).place
        table.add_row(name, ending, place, f"{stage['seconds']:.2f}")
    print_table(table)
    seconds = sum(stage["seconds"] for stage in summary["stages"])
    built = sum(not stage["cached"] for stage in summary["stages"])
    rich.print(f"{built} of {len(summary['stages'])} stages built, {seconds:.1f} s in stages")
    if evaluation := summary.get("evaluation"):
        rich.print(
            f"validation loss {evaluation['loss']:.4f} nats a token "
            f"({evaluation['bits_per_byte']:.4f} bits a byte), against a unigram entropy of "
            f"{evaluation['unigram_entropy']:.4f} and a bigram entropy of "
            f"{evaluation['bigram_entropy']:.4f} nats of the training tokens"
        )
    rich.print("[dim]owt ui[/dim] shows the runs; [dim]owt artifacts ls[/dim] the artifacts")


def describe_samples(statistics: dict[str, Any]) -> str:
    """Say in a line how varied the samples are, and how much of them is the training text's."""
    shares = ", ".join(f"{statistics[f'distinct_{n}']:.0%}" for n in (1, 2, 3))
    line = f"different among the 1-, 2- and 3-grams of tokens: {shares}"
    if (seen := statistics["seen_share"]) is not None:
        line += f"; {statistics['seen_ngram']}-grams that stand in the training text: {seen:.0%}"
    return line
