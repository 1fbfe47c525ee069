"""Runs on other corpora that are in the same store, to be shown beside the report's own."""

from collections.abc import Mapping
from dataclasses import dataclass

from artifacts.identity import Reference
from artifacts.published.checking import check
from artifacts.record import JsonObject, Record
from artifacts.store import Store, list_records, reference_of
from tasks.report.files import read_json, read_json_lines

PREFIX = "other"
"""First word of the names of a report's inputs that are of another corpus."""
MODEL, EVALUATION, GENERATION = "train_lm", "evaluate", "generate"


@dataclass(frozen=True, kw_only=True)
class CorpusRun:
    """A finished run on one corpus: its model, how good it is, and what it writes."""

    corpus: str
    model: Record
    evaluated: Record
    evaluation: JsonObject
    metrics: list[JsonObject]
    """Lines of the training's `metrics.jsonl`."""
    samples: list[JsonObject]


def find_other_corpora(store: Store, corpus: str, model: Record | None) -> dict[str, Reference]:
    """Return the inputs of a report that are of other corpora: one finished run of each.

    A run is finished that was evaluated and has written samples; so no trial of a sweep is taken.
    Of several the one that was trained most like the report's own is taken, then the newest.

    Args:
        store: Where the runs are looked for.
        corpus: The report's own corpus.
        model: The report's own model, if there is one.
    """
    records = list_records(store)  # the newest first
    by_place = {record.place: record for record in records}
    evaluations: dict[str, Record] = {}
    for record in records:
        if record.stage == EVALUATION:
            evaluations.setdefault(record.inputs["model"].place, record)
    found: dict[str, dict[str, Record]] = {}
    for record in records:
        name = record.labels.get("corpus", "")
        if record.stage != GENERATION or name in ("", corpus):
            continue
        place = record.inputs["model"].place
        if place not in by_place or place not in evaluations:
            continue
        run = {MODEL: by_place[place], EVALUATION: evaluations[place], GENERATION: record}
        is_nearer = name not in found or (
            likeness(run[MODEL], model) > likeness(found[name][MODEL], model)
        )
        if is_nearer and all(_is_whole(store, part) for part in run.values()):
            found[name] = run
    return {
        f"{PREFIX} {name} {stage}": reference_of(store, record)
        for name, run in sorted(found.items())
        for stage, record in run.items()
    }


def _is_whole(store: Store, record: Record) -> bool:
    return check(store, reference_of(store, record)).status == "hit"


def shape_of(model: Record) -> JsonObject:
    """Return the shape of a model without its vocabulary, which is its tokenizer's."""
    return {name: v for name, v in model.config["model"].items() if name != "vocab_size"}


def likeness(model: Record, own: Record | None) -> int:
    """Count what two trainings share of shape and number of tokens.

    Such a run shows what the text does; any other one mixes that with what the training does.
    """
    if own is None:
        return 0
    has_tokens = model.statistics["tokens_seen"] == own.statistics["tokens_seen"]
    return int(shape_of(model) == shape_of(own)) + int(has_tokens)


def read_other_corpora(store: Store, records: Mapping[str, Record]) -> tuple[CorpusRun, ...]:
    """Return the runs on other corpora among a report's inputs."""
    runs: dict[str, dict[str, Record]] = {}
    for name, record in records.items():
        if is_of_other_corpus(name):
            corpus, _, stage = name.removeprefix(f"{PREFIX} ").rpartition(" ")
            runs.setdefault(corpus, {})[stage] = record
    return tuple(
        CorpusRun(
            corpus=corpus,
            model=run[MODEL],
            evaluated=run[EVALUATION],
            evaluation=read_json(store, run[EVALUATION], "evaluation.json"),
            metrics=read_json_lines(store, run[MODEL], "metrics.jsonl"),
            samples=read_json(store, run[GENERATION], "samples.json"),
        )
        for corpus, run in runs.items()
    )


def is_of_other_corpus(name: str) -> bool:
    """Tell by its name whether an input of a report is of another corpus."""
    return name.startswith(f"{PREFIX} ")
