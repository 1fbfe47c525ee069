"""The DAG, written once: every stage in order, with what each one is made from.

A run, a plan and the choice of stages are visitors of the same walk.
"""

from collections.abc import Collection
from typing import Protocol

from artifacts.identity import Reference
from flows.config import PipelineConfig
from tasks.corpus.source import Source, source_of
from tasks.count_pretokens import COUNT_PRETOKENS
from tasks.download import DOWNLOAD
from tasks.encode_shards import ENCODE_SHARDS, ShardSettings
from tasks.evaluate import EVALUATE
from tasks.generate import GENERATE
from tasks.stage import S, Stage
from tasks.train_lm import TRAIN_LM, TrainingSettings
from tasks.train_tokenizer import TRAIN_TOKENIZER

TRIAL_STAGES = (TRAIN_LM.name, EVALUATE.name)
"""The stages that a sweep performs for each of its trials; the ones before are shared."""
MODEL, EVALUATION = TRIAL_STAGES
"""The stages that give a model and its loss. A stage's settings are the section of its name."""


class Visitor(Protocol):
    """What is done at each stage of a walk."""

    def pin(self, source: Source) -> Source:
        """Return the source with its content hash, as far as this visitor finds it out."""

    def visit(
        self, stage: Stage[S], settings: S, label: str = "", **inputs: Reference
    ) -> Reference:
        """Return what the later stages know the artifact by."""


def walk_stages(config: PipelineConfig, visitor: Visitor) -> None:
    """Visit the stages in order, each with the references of the artifacts it is made from."""
    pin, visit = visitor.pin, visitor.visit

    train_source = pin(source_of(config.corpus, "train"))
    train_text = visit(DOWNLOAD, train_source, "train")
    valid_source = pin(source_of(config.corpus, "valid"))
    valid_text = visit(DOWNLOAD, valid_source, "valid", train=train_text)

    counts = visit(COUNT_PRETOKENS, config.tokenizer, text=train_text)
    tokenizer = visit(TRAIN_TOKENIZER, config.tokenizer, counts=counts)

    cuts = shard_settings(config, "train")
    train = visit(ENCODE_SHARDS, cuts, "train", text=train_text, tokenizer=tokenizer)
    cuts = shard_settings(config, "valid")
    valid = visit(ENCODE_SHARDS, cuts, "valid", text=valid_text, tokenizer=tokenizer)

    training = TrainingSettings(model=config.model, train_lm=config.train_lm)
    model = visit(TRAIN_LM, training, train=train, valid=valid)
    visit(EVALUATE, config.evaluate, model=model, tokenizer=tokenizer, train=train, valid=valid)
    visit(GENERATE, config.generate, model=model, tokenizer=tokenizer, train=train)


def shard_settings(config: PipelineConfig, split: str) -> ShardSettings:
    """Return where a split's text is cut."""
    return ShardSettings(
        split=split,
        range_bytes=config.tokenizer.range_bytes,
        document_separator=config.corpus.document_separator,
    )


def placeholder(stage: Stage[S]) -> Reference:
    """Return a reference to an artifact that has no fingerprint yet."""
    return Reference(stage.name, "", "")


def stage_ancestors() -> dict[str, tuple[str, ...]]:
    """Return every stage, in the order of the flow, with all stages that it builds on."""
    visitor = _Ancestors()
    walk_stages(PipelineConfig(), visitor)
    return {
        stage: tuple(name for name in visitor.found if name in ancestors)
        for stage, ancestors in visitor.found.items()
    }


def stage_rows(config: PipelineConfig, wanted: Collection[str]) -> tuple[str, ...]:
    """Return the wanted stages with their split, in the order of the flow."""
    visitor = _Ancestors()
    walk_stages(config, visitor)
    return tuple(row for stage, row in visitor.rows if stage in wanted)


class _Ancestors:
    """A visitor that looks at neither config nor text."""

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = {}
        self.rows: list[tuple[str, str]] = []

    def pin(self, source: Source) -> Source:
        return source

    def visit(
        self, stage: Stage[S], settings: S, label: str = "", **inputs: Reference
    ) -> Reference:
        del settings
        self.rows.append((stage.name, f"{stage.name} {label}".strip()))
        ancestors = self.found.setdefault(stage.name, set())
        for reference in inputs.values():
            ancestors |= {reference.stage} | self.found[reference.stage]
        ancestors.discard(stage.name)  # a split may be made from another split of the same stage
        return placeholder(stage)
