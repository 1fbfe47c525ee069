"""An entry: a folder with a model, its tokenizer, and what is claimed of them.

    entry.json     the claim, and how the model was made, for people
    lineage.json   the records of all artifacts that it was made from; may be missing
    model/         model.safetensors, config.json; ours has the curve too, metrics.jsonl
    tokenizer/     a vocabulary in any form that `tokenizer/formats/loading.py` reads
    evaluation/    evaluation.json, with the losses by position and length; may be missing

All of it is JSON, text and safetensors: nothing that is read can run code.
"""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from artifacts.json_text import as_object, parse_json, typed
from artifacts.record import JsonObject, Record

FORMAT = 1
ENTRY_FILE, LINEAGE_FILE = "entry.json", "lineage.json"
MODEL, TOKENIZER, EVALUATION = "model", "tokenizer", "evaluation"
FOLDERS = {MODEL: "train_lm", TOKENIZER: "train_tokenizer", EVALUATION: "evaluate"}
"""Each folder of an entry is a copy of the artifact of this stage."""

T = TypeVar("T")

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What an entry says that an evaluation gives."""

    loss: float
    """Nats a token, over every token of the validation text but the first."""
    context_length: int
    """Tokens of a window of the evaluation."""
    text_sha256: str
    """Hash of the validation text."""
    num_tokens: int | None = None
    """Tokens that are predicted; None: not said."""
    bits_per_byte: float | None = None
    """None: not said."""

    def to_json(self) -> JsonObject:
        """Return a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: JsonObject) -> "Claim":
        """Return the claim that `to_json` described; `ValueError` names a field that is wrong."""
        claim = cls(
            loss=typed(data, "loss", float),
            context_length=typed(data, "context_length", int),
            text_sha256=typed(data, "text_sha256", str),
            num_tokens=_optional(data, "num_tokens", int),
            bits_per_byte=_optional(data, "bits_per_byte", float),
        )
        if not _SHA256.fullmatch(claim.text_sha256):
            raise ValueError(
                f"'text_sha256' is {claim.text_sha256[:80]!r}, but must be 64 hex digits"
            )
        if claim.context_length < 1:
            raise ValueError(f"'context_length' is {claim.context_length}, but must be at least 1")
        return claim


def _optional(data: JsonObject, name: str, kind: type[T]) -> T | None:
    return None if data.get(name) is None else typed(data, name, kind)


def read_claim(folder: Path) -> Claim:
    """Read what an entry claims.

    Raises:
        FileNotFoundError: The folder, or its `entry.json`, is not there.
        ValueError: The file does not say what it must.
    """
    path = folder / ENTRY_FILE
    if not folder.is_dir():
        raise FileNotFoundError(f"no entry {folder}: there is no such folder")
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no entry: it has no {ENTRY_FILE}")
    try:
        entry = as_object(parse_json(path.read_bytes()))
        if (found := entry.get("format")) != FORMAT:
            raise ValueError(f"'format' is {found!r}, and this version reads {FORMAT}")
        return Claim.from_json(typed(entry, "claim", dict))
    except ValueError as error:
        raise ValueError(f"{path} is not that of an entry: {error}") from error


def read_lineage(folder: Path) -> list[Record]:
    """Read the records of an entry; none where it has no `lineage.json`."""
    path = folder / LINEAGE_FILE
    if not path.is_file():
        return []
    try:
        content = parse_json(path.read_bytes())
        if not isinstance(content, list) or not content:
            raise ValueError("it must be a list of records")
        return [Record.from_json(item) for item in content]
    except ValueError as error:
        raise ValueError(f"{path} is not that of an entry: {error}") from error
