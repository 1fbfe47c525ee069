"""Bytes that a stage gives do not change without a new stage version: golden hashes.

`make golden` writes `tests/golden/stages.json` anew; a changed hash is reviewed as code, and goes
with a bumped `VERSION` in the stage's file. Weights are left out, which differ between machines,
and so are Parquet files, whose bytes carry pyarrow's version; their rows are hashed instead.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from artifacts.identity import Reference
from artifacts.record import Record
from artifacts.store import find_record, open_store

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "stages.json"
MACHINE_INDEPENDENT = ("download", "count_pretokens", "train_tokenizer", "encode_shards")


def test_every_stage_gives_its_golden_bytes(
    first: dict[str, Any], shared_root: Path, pytestconfig: pytest.Config
) -> None:
    """Fingerprints of all stages, and files of those whose bytes no machine changes."""
    store = open_store(shared_root / "artifacts")
    found = {}
    for stage in first["stages"]:
        record = find_record(store, Reference.from_json(stage))
        assert record is not None
        name = f"{stage['stage']} {stage['label']}".strip()
        found[name] = describe(record, Path(stage["uri"]) / record.folder)
    if pytestconfig.getoption("--write-golden"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def describe(record: Record, folder: Path) -> dict[str, Any]:
    """Return what must not change: version, fingerprint, and the files' hashes."""
    files = {}
    if record.stage in MACHINE_INDEPENDENT:
        for entry in record.files:
            path = folder / entry.name
            is_parquet = path.suffix == ".parquet"
            files[entry.name] = hash_rows(path) if is_parquet else entry.sha256
    return {"version": record.stage_version, "fingerprint": record.fingerprint, "files": files}


def hash_rows(path: Path) -> str:
    """Return the sha256 of a Parquet file's rows."""
    rows = pq.read_table(path).to_pylist()
    return hashlib.sha256(repr([tuple(row.values()) for row in rows]).encode()).hexdigest()
