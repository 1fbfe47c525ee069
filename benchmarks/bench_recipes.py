r"""Loss per token and loss per hour: training recipes against each other on the same text.

Trains a tokenizer on the training text only, then each recipe with each seed, for so many steps
or minutes, and evaluates every token of the validation text. Prints one JSON line a run and, for
two recipes, one for their difference over the seeds or, by the clock, for their ratio.

    python -m benchmarks.bench_recipes --data ../shared/data --recipes adamw muon-linear \
        --steps 1000 --seeds 0 1 2
    python -m benchmarks.bench_recipes --data ../shared/data --recipes baseline best --minutes 60
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.fetching.unpacking import unpack
from benchmarks.bars import Bar
from benchmarks.result_line import print_result
from flows.presets import tinystories_cpu
from lm.config import EvaluateConfig, ModelConfig, RunOptions, TrainConfig
from lm.evaluate import evaluate_model
from lm.training.job.job import TrainJob
from lm.training.train import train
from tokenizer.encoding.file_encoder import encode_file
from tokenizer.encoding.tokenizer import Tokenizer
from tokenizer.training.train import train_bpe

SEPARATOR = "<|endoftext|>"
PRESET = tinystories_cpu()
MODEL = ModelConfig(
    vocab_size=4096, context_length=256, d_model=256, num_layers=4, num_heads=8, d_ff=640
)
ADAMW = TrainConfig(
    batch_size=16,
    max_learning_rate=3e-3,
    min_learning_rate=1.5e-4,
    warmup_steps=100,
    precision="bf16",
    valid_interval=500,
)
MUON = replace(ADAMW, optimizer="muon")

RECIPES: dict[str, tuple[ModelConfig, TrainConfig]] = {
    # the course's loop: random windows, AdamW, cosine
    "baseline": (MODEL, replace(ADAMW, sampling="with_replacement")),
    "adamw": (MODEL, ADAMW),
    "muon": (MODEL, MUON),
    "muon-linear": (MODEL, replace(MUON, schedule="linear", min_learning_rate=0.0)),
    "best": (PRESET.model, PRESET.train_lm),
    # tried, no better: a longer context, larger batches, another feed-forward
    "context-512": (
        replace(PRESET.model, context_length=512),
        replace(PRESET.train_lm, batch_size=8),
    ),
    "batch-32": (PRESET.model, replace(PRESET.train_lm, batch_size=32)),
    "relu2": (replace(PRESET.model, ffn="relu2"), PRESET.train_lm),
}


def find_text(data: Path, split: str, folder: Path) -> Path:
    """Return the text of a split, unpacked into `folder` where it is packed."""
    text = data / f"tinystories-{split}.txt"
    packed = text.with_name(text.name + ".gz")
    if not packed.exists():
        return text
    unpack(packed, folder / text.name)
    return folder / text.name


def prepare(data: Path, folder: Path, *, valid_tokens: int) -> NDArray[np.int64]:
    """Write the shards of both splits to a folder; return the bytes of each token."""
    texts = {split: find_text(data, split, folder) for split in ("train", "valid")}
    vocab, merges = train_bpe(texts["train"], MODEL.vocab_size, [SEPARATOR])
    tokenizer = Tokenizer(vocab, merges, [SEPARATOR])
    for split, text in texts.items():
        documents = folder / f"{split}-documents.npy"
        encode_file(tokenizer, text, output=folder / f"{split}.npy", documents_output=documents)
    if valid_tokens:
        np.save(folder / "valid.npy", np.load(folder / "valid.npy")[:valid_tokens])
    return tokenizer.token_num_bytes()


def run_recipe(
    name: str, seed: int, arguments: argparse.Namespace, folder: Path, sizes: NDArray[np.int64]
) -> dict[str, Any]:
    """Train and evaluate one recipe with one seed."""
    model, config = RECIPES[name]
    max_steps = 10**7 if arguments.minutes else arguments.steps
    config = replace(
        config,
        seed=seed,
        max_steps=max_steps,
        max_minutes=arguments.minutes,
        warmup_steps=min(config.warmup_steps, max_steps // 10),
    )
    output_dir = Path(tempfile.mkdtemp(dir=folder))
    options = RunOptions(compile=arguments.compile)
    job = TrainJob(
        model_config=model,
        train_config=config,
        options=options,
        train_shards=[folder / "train.npy"],
        valid_shards=[folder / "valid.npy"],
        output_dir=output_dir,
    )
    result = train(job)
    evaluation = evaluate_model(
        output_dir,
        [folder / "valid.npy"],
        config=EvaluateConfig(),
        options=options,
        token_num_bytes=sizes,
    )
    curve = [json.loads(line) for line in (output_dir / "metrics.jsonl").read_text().splitlines()]
    return {
        "recipe": name,
        "seed": seed,
        "steps": result.step,
        "tokens_seen": result.tokens_seen,
        "seconds": result.seconds,
        "loss": evaluation.loss,
        "bits_per_byte": evaluation.bits_per_byte,
        "standard_error": evaluation.standard_error,
        "curve": [[x["step"], x["valid/loss"]] for x in curve if "valid/loss" in x],
        "model": asdict(model),
        "train_lm": asdict(config),
        "environment": result.environment,
    }


def difference(runs: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Compare the second recipe with the first over their seeds."""
    first, second = ([run["loss"] for run in runs if run["recipe"] == name] for name in names)
    mean = statistics.fmean(second) - statistics.fmean(first)
    error = sum(statistics.variance(losses) / len(losses) for losses in (first, second)) ** 0.5
    bar = Bar(f"{names[1]} - {names[0]}: nats, in standard errors", mean / error, -3.0)
    return {
        "recipes": names,
        "loss_difference": mean,
        "standard_error": error,
        "bars": [bar.to_json()],
    }


def ratio(runs: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Compare the second recipe with the first by the one run of each."""
    first, second = (run["bits_per_byte"] for run in runs)
    bar = Bar(f"{names[1]} / {names[0]}: bits per byte", second / first, 0.95)
    return {"recipes": names, "bits_per_byte": [first, second], "bars": [bar.to_json()]}


def main() -> None:
    """Print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the TinyStories texts")
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=["adamw", "muon"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=0.0, help="by the clock instead of steps")
    parser.add_argument("--valid-tokens", type=int, default=0, help="0: all of them")
    parser.add_argument("--compile", default="auto", choices=["auto", "on", "off"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = prepare(arguments.data, folder, valid_tokens=arguments.valid_tokens)
        runs = []
        for seed in arguments.seeds:
            for recipe in arguments.recipes:
                runs.append(run_recipe(recipe, seed, arguments, folder, sizes))
                print_result(runs[-1])
    if len(arguments.recipes) != 2:
        return
    if len(arguments.seeds) > 1:
        print_result(difference(runs, arguments.recipes))
    elif arguments.minutes:  # the bar is one of equal time
        print_result(ratio(runs, arguments.recipes))


if __name__ == "__main__":
    main()
