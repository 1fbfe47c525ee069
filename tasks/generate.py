"""Stage `generate`: what the model writes after fixed prompts, and how much of it is its own."""

import json
from dataclasses import asdict
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State

from artifacts.identity import Identity, Reference
from artifacts.reading import local_folder
from artifacts.staging import Staging, add_part
from lm.config import GenerateConfig, RunOptions
from tasks.stage import STAGE_OPTIONS, Built, RunContext, build_once, store_of
from tasks.tracking import stage_run
from tasks.train_lm import shard_paths

STAGE = "generate"
VERSION = 2

SAMPLES = "samples.json"
SAMPLES_TEXT = "samples.txt"


def samples_identity(
    config: GenerateConfig, *, model: Reference, tokenizer: Reference, train: Reference
) -> Identity:
    """Say what the samples depend on; they are compared with the training tokens."""
    inputs = {"model": model, "tokenizer": tokenizer, "train": train}
    return Identity(stage=STAGE, version=VERSION, config=asdict(config), inputs=inputs)


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def generate(
    context: RunContext, identity: Identity, config: GenerateConfig, options: RunOptions
) -> State[Reference]:
    """Let the model go on from each prompt, and publish what it wrote as text and JSON."""

    def build(staging: Staging) -> Built:
        tags = {"fingerprint": identity.fingerprint, "stage": STAGE}
        with stage_run(context.tracking, STAGE, params=asdict(config), tags=tags) as run:
            samples = _generate(context, identity, config, options)
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


def _generate(
    context: RunContext, identity: Identity, config: GenerateConfig, options: RunOptions
) -> list[dict[str, Any]]:
    from lm.checkpoint.weights import load_model
    from lm.generate import generate as generate_ids
    from lm.machine.probe import choose_device
    from tokenizer.encoding.tokenizer import Tokenizer

    store = store_of(context)
    tokenizer = Tokenizer.from_folder(local_folder(store, identity.inputs["tokenizer"]))
    model = load_model(local_folder(store, identity.inputs["model"]), device=choose_device(options))
    samples = []
    for prompt in config.prompts:
        for number in range(config.num_samples):
            new_ids = generate_ids(
                model,
                tokenizer.encode(prompt) or [tokenizer.eot_id],
                config=config,
                seed=config.seed + number,
                stop_token_ids=list(tokenizer.special_token_ids.values()),
            )
            samples.append(
                {
                    "prompt": prompt,
                    "seed": config.seed + number,
                    "text": tokenizer.decode(new_ids),
                    "token_ids": new_ids,
                }
            )
    return samples


def _describe(
    context: RunContext, identity: Identity, samples: list[dict[str, Any]]
) -> dict[str, float | None]:
    """Count what repeats in the samples, and what stands in the training text.

    For that the training shards are brought to this machine.
    """
    from lm.data.novelty import NGRAM, distinct_share, seen_share
    from lm.data.shards import open_shards

    written = [sample["token_ids"] for sample in samples]
    shards = open_shards(shard_paths(context, identity.inputs["train"]))
    return {
        "num_samples": len(samples),
        **{f"distinct_{n}": distinct_share(written, n) for n in (1, 2, 3)},
        "seen_ngram": NGRAM,
        "seen_share": seen_share(written, shards),
    }
