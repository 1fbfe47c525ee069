"""Stage `evaluate`: loss of the model on the whole validation set, and what to hold it against."""

import json
import math
from dataclasses import asdict, replace
from functools import partial

from prefect import task
from prefect.client.schemas.objects import State

from artifacts.building.staging import Staging, add_part
from artifacts.identity import Identity, Reference
from artifacts.record import JsonObject, Record
from artifacts.store import Store, record_of
from lm.accounting.flops import forward_flops
from lm.config import EvaluateConfig
from tasks.context import RunContext, store_of
from tasks.corpus.text import known_text_bytes
from tasks.corpus.validation import remark_on_validation
from tasks.execution.building import Built, build_once
from tasks.execution.machine import missing_device
from tasks.execution.prediction import Outlook, Prediction, predict_work
from tasks.stage import STAGE_OPTIONS, Shown, Stage, perform_by
from tasks.text_model import open_text_model, score
from tasks.tracking.runs import stage_run
from tasks.train_lm import document_starts, shard_paths
from tasks.train_tokenizer import known_bytes_per_token
from tasks.watching.progress import progress

STAGE = "evaluate"
VERSION = 2

EVALUATION = "evaluation.json"

BY_HEART = 1.0
"""Nats by which the loss of the last batch is lower where the text was learnt by heart: a folder of
40 kB, seen 16 times, gave 3.7; 60 steps of smoke, which see 4 % of its text once, -0.2."""


def evaluation_identity(
    config: EvaluateConfig,
    *,
    model: Reference,
    tokenizer: Reference,
    train: Reference,
    valid: Reference,
) -> Identity:
    """Return what the numbers depend on; the training tokens give the entropies to compare with."""
    inputs = {"model": model, "tokenizer": tokenizer, "train": train, "valid": valid}
    return Identity(stage=STAGE, version=VERSION, config=asdict(config), inputs=inputs)


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def evaluate(context: RunContext, identity: Identity, config: EvaluateConfig) -> State[Reference]:
    """Evaluate the model on every token of the validation shards."""

    def build(staging: Staging) -> Built:
        tags = {"fingerprint": identity.fingerprint, "stage": STAGE}
        with stage_run(context.tracking, STAGE, params=asdict(config), tags=tags) as run:
            facts = _evaluate(context, identity, config)
            run.log_metrics(headline(facts))
        path = staging.workdir / EVALUATION
        path.write_text(json.dumps(facts, indent=1) + "\n")
        add_part(staging, path, EVALUATION)
        statistics = {
            name: fact for name, fact in facts.items() if not isinstance(fact, list | tuple)
        }
        return Built(statistics=statistics, mlflow_run_id=run.run_id or None)

    return build_once(context, identity, build)


def predict(config: EvaluateConfig, outlook: Outlook) -> Prediction:
    """Predict the FLOPs of one pass over the validation text, and the time from earlier passes."""
    del config
    size_bytes = known_text_bytes(outlook, "valid")
    flops = None
    if size_bytes is not None:
        num_windows = size_bytes / known_bytes_per_token(outlook) / outlook.model.context_length
        flops = int(num_windows * sum(forward_flops(outlook.model).values()))
    done = partial(_flops_done, outlook)
    return replace(predict_work(outlook, STAGE, flops, done), flops=flops)


def _flops_done(outlook: Outlook, record: Record) -> float | None:
    model = outlook.model_of(record)
    if model is None:
        return None
    flops_per_token = sum(forward_flops(model).values()) / model.context_length
    return float(record.statistics["num_tokens"]) * flops_per_token


def show(store: Store, record: Record) -> Shown:
    """Show the loss, and the entropies to compare it with."""
    facts = record.statistics
    if facts["loss"] is None or facts["bits_per_byte"] is None:
        return Shown(line="the model has no finite loss on the validation set: training diverged")
    line = (
        f"validation loss {facts['loss']:.4f} nats a token "
        f"({facts['bits_per_byte']:.4f} bits a byte), against a unigram entropy of "
        f"{facts['unigram_entropy']:.4f} and a bigram entropy of "
        f"{facts['bigram_entropy']:.4f} nats of the training tokens: "
    )
    entropies = facts["unigram_entropy"], facts["bigram_entropy"]
    model = record_of(store, record.inputs["model"]).statistics
    line += judge(facts["loss"], *entropies, train_loss=model["train_loss"])
    remark = remark_on_validation(store, record.inputs["valid"])
    return Shown(line=f"{line}\n{remark}".strip(), metrics=headline(facts))


def judge(
    loss: float, unigram_entropy: float, bigram_entropy: float, *, train_loss: float | None
) -> str:
    """Say what a loss means beside what counting single tokens and pairs would give.

    >>> judge(4.9, 6.3, 3.7, train_loss=4.8)
    'it knows which tokens are frequent, and less than the pairs tell; longer training lowers it'
    >>> judge(4.6, 5.2, 2.8, train_loss=0.8)
    'it knows its training text by heart (loss 0.8000 there); more text lowers it, not more steps'
    """
    if train_loss is not None and loss - train_loss > BY_HEART:
        return (
            f"it knows its training text by heart (loss {train_loss:.4f} there); "
            "more text lowers it, not more steps"
        )
    if loss >= unigram_entropy:
        return "it has learnt nothing yet; train longer, or look at the learning rate"
    if loss >= bigram_entropy:
        return (
            "it knows which tokens are frequent, and less than the pairs tell; "
            "longer training lowers it"
        )
    return "it uses more of the text than the token before"


EVALUATE = Stage(
    name=STAGE,
    identify=evaluation_identity,
    perform=perform_by(evaluate),
    predict=predict,
    show=show,
    find_obstacle=lambda _, options: missing_device(options),
)


def headline(facts: JsonObject) -> dict[str, float]:
    """Return the numbers of an evaluation under the names of their curves."""
    names = {
        "loss": "valid/loss",
        "perplexity": "valid/perplexity",
        "bits_per_byte": "valid/bits_per_byte",
        "unigram_entropy": "train/unigram_entropy",
        "bigram_entropy": "train/bigram_entropy",
    }
    return {name: float(facts[key]) for key, name in names.items() if facts.get(key) is not None}


def without_infinities(facts: JsonObject) -> JsonObject:
    """Return facts as JSON can hold them: a number of a diverged model may not be finite.

    >>> without_infinities({"loss": math.nan, "num_tokens": 3, "by_position": (1.0, math.inf)})
    {'loss': None, 'num_tokens': 3, 'by_position': (1.0, None)}
    """

    def plain(fact: object) -> object:
        if isinstance(fact, dict):
            return without_infinities(fact)
        if isinstance(fact, list | tuple):
            return tuple(plain(item) for item in fact)
        return None if isinstance(fact, float) and not math.isfinite(fact) else fact

    return {name: plain(fact) for name, fact in facts.items()}


def _evaluate(context: RunContext, identity: Identity, config: EvaluateConfig) -> JsonObject:
    from lm.data.entropy import bigram_entropy, count_tokens, unigram_entropy
    from lm.evaluate import Grouping

    text_model = open_text_model(store_of(context), identity.inputs["model"], context.options)
    train_shards = shard_paths(context, identity.inputs["train"])
    vocab_size = len(text_model.tokenizer.token_num_bytes())
    grouping = Grouping(
        document_starts=document_starts(context, identity.inputs["valid"]),
        train_counts=count_tokens(train_shards, vocab_size),
    )
    with progress("evaluate", unit="tokens") as on_progress:
        evaluation = score(
            text_model,
            shard_paths(context, identity.inputs["valid"]),
            config=config,
            grouping=grouping,
            on_progress=on_progress,
        )
    return {
        **without_infinities(asdict(evaluation)),
        "unigram_entropy": unigram_entropy(train_shards, vocab_size),
        "bigram_entropy": bigram_entropy(train_shards, vocab_size),
    }
