"""Stage `compare_tokenizers`: the course's experiments with tokenizers, as plain data.

CS336 A1, problem `tokenizer_experiments`: documents sampled from each corpus go through each
tokenizer. Compression, overlap and longest tokens are in `comparison.json`; the speed, which
depends on the machine, is in `throughput.json`, volatile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from prefect import task
from prefect.client.schemas.objects import State

from artifacts.building.staging import Staging, add_part
from artifacts.identity import Identity, Reference
from artifacts.published.checking import check
from artifacts.published.reading import local_folder
from artifacts.record import Record
from artifacts.store import Store, list_records, reference_of
from tasks.context import RunContext, store_of
from tasks.corpus.text import text_location
from tasks.execution.building import Built, build_once
from tasks.execution.prediction import Outlook, Prediction, predict_work
from tasks.experiments.tokenizer_measures import ComparisonConfig, compare, measure_throughput
from tasks.stage import STAGE_OPTIONS, Shown, Stage, perform_by
from tasks.watching.progress import progress
from tokenizer.special_tokens import END_OF_TEXT

if TYPE_CHECKING:
    from tokenizer.encoding.tokenizer import Tokenizer

STAGE = "compare_tokenizers"
VERSION = 1

COMPARISON = "comparison.json"
THROUGHPUT = "throughput.json"

TOKENIZER, TEXT = "tokenizer_", "text_"
"""What the names of the inputs begin with; the rest is the name in the tables."""


def comparison_identity(config: ComparisonConfig, **inputs: Reference) -> Identity:
    """Return what the comparison depends on.

    The inputs are `tokenizer_<name>` and `text_<name>`, at least one of each.
    """
    settings = {"num_documents": config.num_documents, "seed": config.seed, "split": config.split}
    if config.separator != END_OF_TEXT:
        settings["separator"] = config.separator
    return Identity(stage=STAGE, version=VERSION, config=settings, inputs=inputs)


def comparison_inputs(
    store: Store, own: Mapping[str, Reference], corpus: str, *, split: str = "valid"
) -> dict[str, Reference]:
    """Return a run's tokenizer and text, and the newest of each other corpus in the store.

    Args:
        store: Where other tokenizers are looked for; what is damaged or gone is left out.
        own: The run's artifacts by stage and split: `train_tokenizer`, `download valid`.
        corpus: Name of the run's corpus.
        split: Split of the texts.

    Returns:
        The inputs of `comparison_identity`; nothing where the run has no tokenizer or no text.
    """
    tokenizer, text = own.get("train_tokenizer"), own.get(f"download {split}")
    if tokenizer is None or text is None:
        return {}
    tokenizers, texts = {corpus: tokenizer}, {corpus: text}
    for record in list_records(store):  # the newest first
        name, reference = record.labels.get("corpus", ""), reference_of(store, record)
        is_text = record.stage == "download" and record.config.get("split") == split
        found = texts if is_text else tokenizers if record.stage == "train_tokenizer" else None
        if found is not None and name not in found and check(store, reference).status == "hit":
            found[name] = reference
    both = sorted(tokenizers.keys() & texts.keys())
    return {f"{TOKENIZER}{name}": tokenizers[name] for name in both} | {
        f"{TEXT}{name}": texts[name] for name in both
    }


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def compare_tokenizers(
    context: RunContext, identity: Identity, config: ComparisonConfig
) -> State[Reference]:
    """Encode the sampled documents of each text with each tokenizer, and time each text."""

    def build(staging: Staging) -> Built:
        store = store_of(context)
        tokenizers = {
            name: open_tokenizer(store, reference)
            for name, reference in _named(identity.inputs, TOKENIZER).items()
        }
        texts = {
            name: text_location(store, reference, config.split)
            for name, reference in _named(identity.inputs, TEXT).items()
        }
        comparison = compare(tokenizers, texts, config)
        with progress("encode") as on_progress:
            speeds = measure_throughput(
                tokenizers, texts, num_threads=context.workers, on_progress=on_progress
            )
        for name, document in ((COMPARISON, comparison), (THROUGHPUT, speeds)):
            path = staging.workdir / name
            path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
            add_part(staging, path, name, replace=True)
        return Built(statistics={**comparison, "throughput": speeds}, volatile=(THROUGHPUT,))

    return build_once(context, identity, build)


def _named(inputs: Mapping[str, Reference], prefix: str) -> dict[str, Reference]:
    """Return the inputs whose names begin with a prefix, by the rest of their names."""
    return {
        name.removeprefix(prefix): reference
        for name, reference in sorted(inputs.items())
        if name.startswith(prefix)
    }


def open_tokenizer(store: Store, reference: Reference) -> Tokenizer:
    """Open a trained tokenizer of the store."""
    from tokenizer.encoding.tokenizer import Tokenizer

    return Tokenizer.from_folder(local_folder(store, reference))


def predict(config: ComparisonConfig, outlook: Outlook) -> Prediction:
    """Predict what the newest comparison took."""
    del config
    return predict_work(outlook, STAGE)


def show(store: Store, record: Record) -> Shown:
    """Show the compression of each tokenizer on each corpus."""
    del store
    cells = [
        f"{tokenizer} on {text} {found['bytes_per_token']:.2f}"
        for tokenizer, row in record.statistics["compression"].items()
        for text, found in row.items()
    ]
    return Shown(line=f"bytes a token: {'; '.join(cells)}")


COMPARE_TOKENIZERS = Stage(
    name=STAGE,
    identify=comparison_identity,
    perform=perform_by(compare_tokenizers),
    predict=predict,
    show=show,
)
