"""Lineage is answered from records alone, up to the corpus, gaps included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from artifacts import filesystem
from artifacts.published.checking import quarantine
from artifacts.published.lineage import format_lineage, lineage
from artifacts.record import ExternalFile
from artifacts.store import published_path, record_path, reference_of

if TYPE_CHECKING:
    from artifacts.record import Record
    from artifacts.store import Store
    from tests.artifacts.conftest import Build


@pytest.fixture
def chain(store: Store, build: Build) -> dict[str, Record]:
    """Give a model and all it was made from."""
    external = ExternalFile("train.txt", "/home/me/train.txt", 3, "ab" * 32)
    corpus = build(
        store, {}, stage="download", external_files=[external], labels={"corpus": "tiny"}
    )
    text = reference_of(store, corpus)
    tokenizer = build(store, {"v": b"1"}, stage="train_tokenizer", inputs={"text": text})
    vocabulary = reference_of(store, tokenizer)
    shards = build(
        store, {"s": b"2"}, stage="encode_shards", inputs={"text": text, "tokenizer": vocabulary}
    )
    inputs = {"shards": reference_of(store, shards), "tokenizer": vocabulary}
    model = build(store, {"m": b"3"}, stage="train_lm", inputs=inputs)
    return {record.stage: record for record in (corpus, tokenizer, shards, model)}


def _lines(store: Store, record: Record) -> list[str]:
    return format_lineage(lineage(store, record)).splitlines()


def test_lineage_names_every_artifact_up_to_the_corpus(
    store: Store, chain: dict[str, Record]
) -> None:
    """The tree holds each ancestor under the name it has as an input, and the files outside."""
    names = {stage: record.place for stage, record in chain.items()}
    assert _lines(store, chain["train_lm"]) == [
        names["train_lm"],
        f"  shards: {names['encode_shards']}",
        f"    text: {names['download']} tiny",
        "      train.txt: /home/me/train.txt sha256 abababababababab",
        f"    tokenizer: {names['train_tokenizer']}",
        f"      text: {names['download']} (as above)",
        f"  tokenizer: {names['train_tokenizer']} (as above)",
    ]


def test_missing_and_damaged_ancestors_are_shown(store: Store, chain: dict[str, Record]) -> None:
    """A gap in the lineage is part of the answer."""
    quarantine(store, chain["train_tokenizer"], "test")
    filesystem.write_bytes(store.fs, record_path(store, chain["download"]), b"{")
    tokenizer = reference_of(store, chain["train_tokenizer"])
    lines = _lines(store, chain["train_lm"])
    assert lines[-1] == f"  tokenizer: {tokenizer.place} (missing, was at {tokenizer.uri})"
    assert lines[2].endswith("(its record is damaged)")


def test_lineage_needs_no_published_file(store: Store, chain: dict[str, Record]) -> None:
    """Records are enough: the files may be gone."""
    before = _lines(store, chain["train_lm"])
    for record in chain.values():
        filesystem.remove_below(store.fs, published_path(store, record))
    assert _lines(store, chain["train_lm"]) == before
