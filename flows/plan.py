"""What a run would do: every fingerprint before anything runs, what is cached, and why not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from artifacts.checking import check
from artifacts.identity import PLACE_DIGITS, Identity, Reference
from artifacts.record import Record
from artifacts.store import Store, list_records
from flows.config import PipelineConfig
from flows.predict import Prediction, predict
from tasks.count_pretokens import counts_identity
from tasks.download import corpus_identity
from tasks.encode_shards import shards_identity
from tasks.evaluate import evaluation_identity
from tasks.generate import samples_identity
from tasks.sources import known_content, source_of
from tasks.tracking import flatten
from tasks.train_lm import model_identity
from tasks.train_tokenizer import tokenizer_identity

UNKNOWN = "UNKNOWN"
"""The content of a corpus without a pin is known only when it was fetched."""


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One row of a plan."""

    stage: str
    label: str
    status: str
    """HIT, MISS, STALE, LOCKED or UNKNOWN."""
    reason: str
    fingerprint: str
    """First 16 hex digits, the artifact's folder; "" while unknown."""
    prediction: Prediction


def plan_stages(config: PipelineConfig, store: Store, root: Path) -> Iterator[PlannedStage]:
    """Yield every stage with its status; nothing is built or fetched."""
    records = list_records(store)
    names = [("download", split) for split in ("train", "valid")]
    names += [("count_pretokens", ""), ("train_tokenizer", "")]
    names += [("encode_shards", split) for split in ("train", "valid")]
    names += [("train_lm", ""), ("evaluate", ""), ("generate", "")]
    identities = pipeline_identities(config, store, root)
    for stage, label in names:
        identity = identities.get(f"{stage} {label}".strip())
        status, reason, short = UNKNOWN, "the corpus must be fetched first", ""
        if identity is not None:
            found = check(store, identity)
            status, reason = found.status.upper(), found.reason
            short = identity.fingerprint[:PLACE_DIGITS]
            if found.status == "miss":
                reason = explain_miss(identity, [item for item in records if item.stage == stage])
        prediction = predict(stage, label, config, records) if status != "HIT" else Prediction()
        yield PlannedStage(
            stage=stage,
            label=label,
            status=status,
            reason=reason,
            fingerprint=short,
            prediction=prediction,
        )


def pipeline_identities(config: PipelineConfig, store: Store, root: Path) -> dict[str, Identity]:
    """Chain the identities of all stages as far as the corpus's content is known."""
    identities: dict[str, Identity] = {}

    def add(name: str, identity: Identity) -> Reference:
        identities[name] = identity
        return identity.reference(store.url)

    corpus: dict[str, Reference] = {}
    for split in ("train", "valid"):
        source = source_of(config.corpus, split)
        content = known_content(source, config.corpus, root)
        if content is None:
            return identities
        identity = corpus_identity(config.corpus, source, content, corpus.get("train"))
        corpus[split] = add(f"download {split}", identity)

    counts = add("count_pretokens", counts_identity(config.tokenizer, corpus["train"]))
    tokenizer = add("train_tokenizer", tokenizer_identity(config.tokenizer, counts))
    separator = config.corpus.document_separator
    shards = {
        split: add(
            f"encode_shards {split}",
            shards_identity(config.tokenizer, split, separator, text, tokenizer),
        )
        for split, text in corpus.items()
    }
    model = add("train_lm", model_identity(config.model, config.train_lm, shards))
    evaluation = evaluation_identity(config.evaluate, model=model, tokenizer=tokenizer, **shards)
    add("evaluate", evaluation)
    add(
        "generate",
        samples_identity(config.generate, model=model, tokenizer=tokenizer, train=shards["train"]),
    )
    return identities


def explain_miss(identity: Identity, records: list[Record]) -> str:
    """Say what differs from the nearest artifact of the stage that is there."""
    if not records:
        return f"no {identity.stage} artifact is there yet"
    differences = [_differences(identity, record) for record in records]
    fewest = min(differences, key=len)
    return "; ".join(fewest[:4]) + (f"; and {len(fewest) - 4} more" if len(fewest) > 4 else "")


def _differences(identity: Identity, record: Record) -> list[str]:
    wanted = flatten(identity.config)
    there = flatten(record.config)
    found = [
        f"{name}: {_short(there.get(name))} -> {_short(wanted.get(name))}"
        for name in sorted(wanted.keys() | there.keys())
        if _plain(wanted.get(name)) != _plain(there.get(name))
    ]
    inputs = _fingerprints(identity.inputs)
    known = _fingerprints(record.inputs)
    found += [f"input {name} changed" for name in inputs if inputs[name] != known.get(name)]
    if identity.version != record.stage_version:
        found.append(f"stage version: {record.stage_version} -> {identity.version}")
    return found


def _fingerprints(inputs: Mapping[str, Reference]) -> dict[str, str]:
    return {name: reference.fingerprint for name, reference in inputs.items()}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) > 24 else text
