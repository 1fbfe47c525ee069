"""The readers that `fuzz_readers` tries, each with a sound example."""

import gzip
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import zstandard

Files = dict[str, bytes]


@dataclass(frozen=True)
class Reader:
    """How a sound set of files is made, and how one is read."""

    make: Callable[[Path], Files]
    read: Callable[[Files, Path], object]


def _record(folder: Path) -> Files:
    from artifacts.record import ExternalFile, FileEntry, Record

    del folder
    record = Record(
        stage="encode_shards",
        stage_version=1,
        fingerprint="a" * 64,
        config={"range_bytes": 1},
        inputs={},
        files=(FileEntry("shard-00000.npy", 10, "b" * 64),),
        folder="attempt-1",
        external_files=(ExternalFile("train.txt", "/data/train.txt", 3, "c" * 64),),
    )
    return {"record.json": json.dumps(record.to_json()).encode()}


def _read_record(files: Files, folder: Path) -> object:
    from artifacts.json_text import parse_json
    from artifacts.record import Record

    del folder
    return Record.from_json(parse_json(files["record.json"]))


def _entry(folder: Path) -> Files:
    """Make an entry whose artifacts have no files but the text."""
    from artifacts.identity import Identity, Reference
    from artifacts.record import FileEntry, Record

    del folder
    made: dict[str, Record] = {}
    for name, stage, inputs in (
        ("text", "download", ()),
        ("tokenizer", "train_tokenizer", ("text",)),
        ("valid", "encode_shards", ("text", "tokenizer")),
        ("model", "train_lm", ("valid",)),
        ("evaluation", "evaluate", ("model", "tokenizer", "valid")),
    ):
        config = {"train_lm": {"max_minutes": 90.0}}
        references = {key: Reference(stage, made[key].fingerprint, "/x") for key in inputs}
        identity = Identity(stage=stage, version=1, config=config, inputs=references)
        made[name] = Record(
            stage=stage,
            stage_version=1,
            fingerprint=identity.fingerprint,
            config=config,
            inputs=references,
            files=(FileEntry("valid.txt", 10, "b" * 64),) if stage == "download" else (),
            folder="attempt-1",
            statistics={"seconds": 5400.0},
        )
    claim = {"loss": 3.5, "context_length": 512, "text_sha256": "b" * 64, "num_tokens": 9}
    return {
        "entry.json": json.dumps({"format": 1, "claim": claim}).encode(),
        "lineage.json": json.dumps([record.to_json() for record in made.values()]).encode(),
    }


def _read_entry(files: Files, folder: Path) -> object:
    from tasks.leaderboard.entry import read_claim, read_lineage
    from tasks.leaderboard.lineage import check_lineage, describe_training

    place = _written(files, folder)
    return describe_training(check_lineage(place, read_lineage(place), read_claim(place)))


def _tokenizer(folder: Path) -> Files:
    from tokenizer.formats.vocabulary import save_vocabulary

    merges = [(b"t", b"h"), (b"th", b"e"), (b" ", b"the")]
    vocab = {i: bytes([i]) for i in range(256)}
    vocab |= {256 + i: left + right for i, (left, right) in enumerate(merges)}
    vocab[259] = b"<|endoftext|>"
    made = folder / "tokenizer"
    save_vocabulary(made, vocab, merges, ["<|endoftext|>"], "gpt2")
    return {path.name: path.read_bytes() for path in made.iterdir()}


def _tokenizer_json(folder: Path) -> Files:
    return {"tokenizer.json": _tokenizer(folder)["tokenizer.json"]}


def _read_tokenizer(files: Files, folder: Path) -> object:
    from tokenizer.formats.loading import load_vocabulary

    return load_vocabulary(_written(files, folder))


def _shard(folder: Path) -> Files:
    path = folder / "made.npy"
    np.save(path, np.arange(20, dtype=np.uint16))
    return {"shard.npy": path.read_bytes()}


def _read_shard(files: Files, folder: Path) -> object:
    from lm.data.shards import open_shards

    return open_shards([_written(files, folder) / "shard.npy"])


def _checkpoint(folder: Path) -> Files:
    import torch

    from lm.checkpoint.durable import Checkpoint, write_checkpoint

    made = folder / "checkpoint"
    write_checkpoint(made, Checkpoint(step=3, tensors={"w": torch.ones(2)}, facts={"a": 1}))
    return {path.name: path.read_bytes() for path in made.iterdir()}


def _read_checkpoint(files: Files, folder: Path) -> object:
    from lm.checkpoint.durable import read_checkpoint

    return read_checkpoint(_written(files, folder))


def _model_config(folder: Path) -> Files:
    from lm.config import ModelConfig

    del folder
    return {"config.json": json.dumps(asdict(ModelConfig())).encode()}


def _read_model_config(files: Files, folder: Path) -> object:
    from lm.checkpoint.weights import load_config

    return load_config(_written(files, folder))


def _toml(folder: Path) -> Files:
    del folder
    lines = ("[model]", "d_model = 64", "[train_lm]", "warmup_steps = 5", "max_steps = 10")
    return {"run.toml": "\n".join((*lines, "betas = [0.9, 0.95]\n")).encode()}


def _read_toml(files: Files, folder: Path) -> object:
    from flows.config import read_overlay, resolve_config
    from flows.presets import find_preset

    return resolve_config(find_preset("smoke"), read_overlay(_written(files, folder) / "run.toml"))


def _parquet(folder: Path) -> Files:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "made.parquet"
    pq.write_table(pa.table({"text": ["one", "two", None]}), path)
    return {"text.parquet": path.read_bytes()}


def _read_parquet(files: Files, folder: Path) -> object:
    from tokenizer.text.documents import write_text_from_parquet

    place = _written(files, folder)
    return write_text_from_parquet(place / "text.parquet", place / "text")


def _gzip(folder: Path) -> Files:
    del folder
    return {"text.gz": gzip.compress(b"a text of some words " * 20)}


def _zstd(folder: Path) -> Files:
    del folder
    return {"text.zst": zstandard.compress(b"a text of some words " * 20)}


def _read_archive(files: Files, folder: Path) -> object:
    from artifacts.fetching.unpacking import unpack

    place, (name,) = _written(files, folder), files
    return unpack(place / name, place / "unpacked")


def _written(files: Files, folder: Path) -> Path:
    place = folder / "input"
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    for name, data in files.items():
        (place / name).write_bytes(data)
    return place


READERS = {
    "record": Reader(_record, _read_record),
    "entry": Reader(_entry, _read_entry),
    "tokenizer folder": Reader(_tokenizer, _read_tokenizer),
    "tokenizer.json": Reader(_tokenizer_json, _read_tokenizer),
    "shard": Reader(_shard, _read_shard),
    "checkpoint": Reader(_checkpoint, _read_checkpoint),
    "model config": Reader(_model_config, _read_model_config),
    "TOML": Reader(_toml, _read_toml),
    "Parquet": Reader(_parquet, _read_parquet),
    "gzip": Reader(_gzip, _read_archive),
    "zstd": Reader(_zstd, _read_archive),
}
