"""A pipeline run small enough for a test: its settings, its corpus, and what a run built."""

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]

TINY = (
    "tokenizer.vocab_size=300",
    "tokenizer.range_bytes=8192",
    "model.context_length=16",
    "model.d_model=16",
    "model.num_layers=1",
    "model.num_heads=2",
    "model.d_ff=32",
    "train_lm.batch_size=4",
    "train_lm.max_steps=4",
    "train_lm.warmup_steps=1",
    "train_lm.log_interval=1",
    "train_lm.valid_interval=2",
    "train_lm.valid_batches=1",
    'generate.prompts=["the "]',
    "generate.max_new_tokens=8",
)
"""Settings over the smoke preset that make every stage take a blink."""


def write_corpus(path: Path, *, seed: int, num_documents: int) -> Path:
    """Write documents of random simple sentences, the same ones for the same seed."""
    draw = random.Random(seed)
    subjects = ["the cat", "a small dog", "Tom", "her friend Lily", "the old tree"]
    verbs = ["saw", "liked", "found", "ran to", "talked about"]
    documents = []
    for _ in range(num_documents):
        sentences = [
            f"{draw.choice(subjects)} {draw.choice(verbs)} {draw.choice(subjects)}."
            for _ in range(draw.randint(2, 6))
        ]
        documents.append(" ".join(sentences))
    path.write_text("\n<|endoftext|>\n".join(documents), encoding="utf-8")
    return path


def built(summary: dict[str, Any]) -> list[str]:
    """Return the stages that a run built, with their split."""
    return [f"{s['stage']} {s['label']}".strip() for s in summary["stages"] if not s["cached"]]


def shown(summary: dict[str, Any], stage: str) -> dict[str, Any]:
    """Return what a run's summary holds of one stage: its statistics, and what is shown of it."""
    found: dict[str, Any] = next(s for s in summary["stages"] if s["stage"] == stage)
    return {"statistics": found["statistics"], **found["shown"]}


@cache
def _new_tracking_database() -> bytes:
    """Return a database of MLflow without runs: to make its tables takes longer than a tiny run."""
    from mlflow.tracking import MlflowClient

    with TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments(max_results=1)
        return path.read_bytes()


def run_in(root: Path) -> Run:
    """Return a call of the flow with the smoke preset and the given settings."""
    from flows.pipeline import owt_pipeline

    database = root / "mlflow" / "mlflow.db"
    if not database.exists():
        database.parent.mkdir(parents=True, exist_ok=True)
        database.write_bytes(_new_tracking_database())

    def call(settings: list[str], **options: Any) -> dict[str, Any]:
        tracking = str(options.pop("tracking_uri", ""))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OWT_ROOT", str(root))
            patch.setenv("MLFLOW_TRACKING_URI", tracking)
            patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            summary: dict[str, Any] = owt_pipeline(preset="smoke", overrides=settings, **options)
            return summary

    return call
