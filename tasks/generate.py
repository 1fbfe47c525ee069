"""Stage `generate`: what the model writes after fixed prompts, and how much of it is its own."""

import json
from dataclasses import asdict, replace
from functools import partial

from prefect import task
from prefect.client.schemas.objects import State

from artifacts.building.staging import Staging, add_part
from artifacts.identity import Identity, Reference
from artifacts.published.reading import local_folder
from artifacts.record import JsonObject, Record
from artifacts.store import Store, reference_of
from lm.accounting.flops import forward_flops
from lm.config import GenerateConfig, ModelConfig
from tasks.context import RunContext, store_of
from tasks.execution.building import Built, build_once
from tasks.execution.machine import missing_device
from tasks.execution.prediction import Outlook, Prediction, predict_work
from tasks.stage import STAGE_OPTIONS, Shown, Stage, perform_by
from tasks.text_model import open_text_model, stream
from tasks.tracking.runs import stage_run
from tasks.train_lm import shard_paths

STAGE = "generate"
VERSION = 2

SAMPLES = "samples.json"
SAMPLES_TEXT = "samples.txt"


def samples_identity(
    config: GenerateConfig, *, model: Reference, tokenizer: Reference, train: Reference
) -> Identity:
    """Return what the samples depend on; they are compared with the training tokens."""
    inputs = {"model": model, "tokenizer": tokenizer, "train": train}
    return Identity(stage=STAGE, version=VERSION, config=asdict(config), inputs=inputs)


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def generate(context: RunContext, identity: Identity, config: GenerateConfig) -> State[Reference]:
    """Let the model continue each prompt, and publish what it wrote as text and JSON."""

    def build(staging: Staging) -> Built:
        tags = {"fingerprint": identity.fingerprint, "stage": STAGE}
        with stage_run(context.tracking, STAGE, params=asdict(config), tags=tags) as run:
            samples = _generate(context, identity, config)
            text = "\n\n".join(f"{sample['prompt']}{sample['text']}" for sample in samples)
            statistics = _describe(context, identity, samples)
            run.log_text(text, SAMPLES_TEXT)
            numbers = {k: v for k, v in statistics.items() if v is not None}
            run.log_metrics({f"generate/{name}": value for name, value in numbers.items()})
        for name, content in {
            SAMPLES: json.dumps(samples, indent=1, ensure_ascii=False),
            SAMPLES_TEXT: text,
        }.items():
            path = staging.workdir / name
            path.write_text(content + "\n", encoding="utf-8")
            add_part(staging, path, name)
        return Built(statistics=statistics, mlflow_run_id=run.run_id or None)

    return build_once(context, identity, build)


def predict(config: GenerateConfig, outlook: Outlook) -> Prediction:
    """Predict the FLOPs of the new tokens, and the time from those of earlier samples."""
    flops = _flops(config, outlook.model)
    return replace(predict_work(outlook, STAGE, flops, partial(_flops_done, outlook)), flops=flops)


def _flops_done(outlook: Outlook, record: Record) -> int | None:
    model = outlook.model_of(record)
    return _flops(GenerateConfig(**record.config), model) if model else None


def _flops(config: GenerateConfig, model: ModelConfig) -> int:
    num_tokens = len(config.prompts) * config.num_samples * config.max_new_tokens
    return num_tokens * sum(forward_flops(model).values()) // model.context_length


def show(store: Store, record: Record) -> Shown:
    """Show the samples, and how much of them is new."""
    folder = local_folder(store, reference_of(store, record))
    return Shown(
        text=(folder / SAMPLES_TEXT).read_text(encoding="utf-8"),
        text_title="A sample of what the model writes",
        text_note=describe_novelty(record.statistics),
        text_name=SAMPLES_TEXT,
    )


GENERATE = Stage(
    name=STAGE,
    identify=samples_identity,
    perform=perform_by(generate),
    predict=predict,
    show=show,
    find_obstacle=lambda _, options: missing_device(options),
)


def describe_novelty(statistics: JsonObject) -> str:
    """Return a line on how varied the samples are, and how much of them is in the training text."""
    shares = ", ".join(f"{statistics[f'distinct_{n}']:.0%}" for n in (1, 2, 3))
    line = f"different among the 1-, 2- and 3-grams of tokens: {shares}"
    if (seen := statistics["seen_share"]) is not None:
        line += f"; {statistics['seen_ngram']}-grams that occur in the training text: {seen:.0%}"
    return line


def _generate(context: RunContext, identity: Identity, config: GenerateConfig) -> list[JsonObject]:
    text_model = open_text_model(store_of(context), identity.inputs["model"], context.options)
    samples = []
    for prompt in config.prompts:
        for number in range(config.num_samples):
            seed = config.seed + number
            new_ids = stream(text_model, prompt, config=config, seed=seed)
            samples.append(
                {
                    "prompt": prompt,
                    "seed": seed,
                    "text": text_model.tokenizer.decode(new_ids),
                    "token_ids": new_ids,
                }
            )
    return samples


def _describe(
    context: RunContext, identity: Identity, samples: list[JsonObject]
) -> dict[str, float | None]:
    """Count what repeats in the samples, and what occurs in the training text.

    For that the training shards are brought to this machine.
    """
    from lm.data.novelty import NGRAM, seen_share
    from lm.data.repetition import DISTINCT, REPEATED, describe_repetition
    from lm.data.shards import open_shards

    written = [sample["token_ids"] for sample in samples]
    shards = open_shards(shard_paths(context, identity.inputs["train"]))
    found = describe_repetition(written)
    return {
        "num_samples": found.num_samples,
        **{f"distinct_{n}": share for n, share in zip(DISTINCT, found.distinct, strict=True)},
        "repeated_ngram": REPEATED,
        "repeated_share": found.repeated_share,
        "recent_share": found.recent_share,
        "longest_repeat": found.longest_repeat,
        "num_loops": found.num_loops,
        "seen_ngram": NGRAM,
        "seen_share": seen_share(written, shards),
    }
