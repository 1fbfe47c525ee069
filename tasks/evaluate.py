"""Stage `evaluate`: loss of the model on the whole validation set, and what to hold it against."""

import json
from dataclasses import asdict
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State

from artifacts.identity import Identity, Reference
from artifacts.reading import local_folder
from artifacts.staging import Staging, add_part
from lm.config import EvaluateConfig, RunOptions
from tasks.progress import progress
from tasks.stage import STAGE_OPTIONS, Built, RunContext, build_once, store_of
from tasks.tracking import stage_run
from tasks.train_lm import shard_paths

STAGE = "evaluate"
VERSION = 1

EVALUATION = "evaluation.json"


def evaluation_identity(
    config: EvaluateConfig,
    *,
    model: Reference,
    tokenizer: Reference,
    train: Reference,
    valid: Reference,
) -> Identity:
    """Say what the numbers depend on; the training tokens give the entropies to compare with."""
    inputs = {"model": model, "tokenizer": tokenizer, "train": train, "valid": valid}
    return Identity(stage=STAGE, version=VERSION, config=asdict(config), inputs=inputs)


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def evaluate(
    context: RunContext, identity: Identity, config: EvaluateConfig, options: RunOptions
) -> State[Reference]:
    """Evaluate the model on every token of the validation shards."""

    def build(staging: Staging) -> Built:
        tags = {"fingerprint": identity.fingerprint, "stage": STAGE}
        with stage_run(context.tracking, STAGE, params=asdict(config), tags=tags) as run:
            facts = _evaluate(context, identity, config, options)
            run.log_metrics(headline(facts))
        path = staging.workdir / EVALUATION
        path.write_text(json.dumps(facts, indent=1) + "\n")
        add_part(staging, path, EVALUATION)
        statistics = {name: fact for name, fact in facts.items() if not isinstance(fact, list)}
        return Built(statistics=statistics, mlflow_run_id=run.run_id or None)

    return build_once(context, identity, build)


def headline(facts: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of an evaluation under the names of their curves."""
    names = {
        "loss": "valid/loss",
        "perplexity": "valid/perplexity",
        "bits_per_byte": "valid/bits_per_byte",
        "unigram_entropy": "train/unigram_entropy",
        "bigram_entropy": "train/bigram_entropy",
    }
    return {name: float(facts[key]) for key, name in names.items() if facts.get(key) is not None}


def _evaluate(
    context: RunContext, identity: Identity, config: EvaluateConfig, options: RunOptions
) -> dict[str, Any]:
    from lm.data.entropy import bigram_entropy, unigram_entropy
    from lm.evaluate import evaluate_model
    from tokenizer.encoding.tokenizer import Tokenizer

    store = store_of(context)
    tokenizer = Tokenizer.from_folder(local_folder(store, identity.inputs["tokenizer"]))
    token_num_bytes = tokenizer.token_num_bytes()
    with progress("evaluate", unit="tokens") as on_progress:
        evaluation = evaluate_model(
            local_folder(store, identity.inputs["model"]),
            shard_paths(context, identity.inputs["valid"]),
            config=config,
            options=options,
            token_num_bytes=token_num_bytes,
            on_progress=on_progress,
        )
    train_shards = shard_paths(context, identity.inputs["train"])
    return {
        **asdict(evaluation),
        "unigram_entropy": unigram_entropy(train_shards, len(token_num_bytes)),
        "bigram_entropy": bigram_entropy(train_shards, len(token_num_bytes)),
    }
