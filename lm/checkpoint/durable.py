"""Durable files: a checkpoint folder and JSON, whole or not at all, and checked when read.

A checkpoint is a folder with `tensors.safetensors` and `state.json`; the latter holds the SHA-256
of the former and of itself. Both are flushed to disk in a folder of another name, which is then
renamed. Nothing is pickled.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

JsonObject = dict[str, Any]
"""An object of JSON, parsed. Its values are Any: only the writer of a file knows their types."""

TENSORS_NAME, STATE_NAME = "tensors.safetensors", "state.json"
PARTIAL_PREFIX = ".partial-"
"""Begins the name of a file or folder that is still being written. A killed process leaves it."""


_DAMAGE = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
    SafetensorError,
)
"""What reading raises where a file is missing, cut off, or holds JSON of another shape."""


class DamagedCheckpointError(ValueError):
    """A checkpoint that is incomplete or does not have the content it was written with."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that is needed to resume from a step: tensors by name, and facts as JSON."""

    step: int
    tensors: dict[str, Tensor]
    facts: JsonObject


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint folder durably and under its name only when it is whole.

    An existing checkpoint at `path` is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(PARTIAL_PREFIX + uuid.uuid4().hex)
    partial.mkdir()
    try:
        save_tensors(checkpoint.tensors, partial / TENSORS_NAME)
        state = {
            "step": checkpoint.step,
            "facts": checkpoint.facts,
            "tensors_sha256": _sha256(partial / TENSORS_NAME),
        }
        text = json.dumps(state | {"sha256": _state_sha256(state)}, allow_nan=False, indent=1)
        (partial / STATE_NAME).write_text(text, encoding="utf-8")
        for name in (TENSORS_NAME, STATE_NAME, "."):
            flush(partial / name)
        _replace_folder(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    flush(path.parent)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors to a file.

    Raises:
        OSError: The disk refused it; the library's own error says so in its text alone.
    """
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        number = int(found.group(1)) if found else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error


def _replace_folder(source: Path, destination: Path) -> None:
    if destination.exists():  # a folder that is not empty cannot be renamed over
        old = destination.with_name(PARTIAL_PREFIX + uuid.uuid4().hex)
        destination.rename(old)
        source.rename(destination)
        shutil.rmtree(old, ignore_errors=True)
    else:
        source.rename(destination)


def flush(path: Path) -> None:
    """Ask the system to put a file's or folder's content on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _state_sha256(state: JsonObject) -> str:
    text = json.dumps(state, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder and check every byte of it.

    Raises:
        DamagedCheckpointError: A file is missing, cut off or not what was written.
    """
    try:
        state = json.loads((path / STATE_NAME).read_text(encoding="utf-8"))
        claimed = state.pop("sha256")
        if claimed != _state_sha256(state):
            raise DamagedCheckpointError(f"{path / STATE_NAME} does not have the hash it names")
        found = _sha256(path / TENSORS_NAME)
        if found != state["tensors_sha256"]:
            raise DamagedCheckpointError(
                f"{path / TENSORS_NAME} has SHA-256 {found}, expected {state['tensors_sha256']}"
            )
        step, facts = state["step"], state["facts"]
        if type(step) is not int or not isinstance(facts, dict):
            raise DamagedCheckpointError(f"{path / STATE_NAME} is of another shape")
        tensors = load_file(path / TENSORS_NAME)
    except json.JSONDecodeError as error:
        raise DamagedCheckpointError(f"{path / STATE_NAME} is no JSON: {error}") from error
    except DamagedCheckpointError:
        raise
    except _DAMAGE as error:
        raise DamagedCheckpointError(f"checkpoint {path} is damaged: {error!r}") from error
    return Checkpoint(step=step, tensors=tensors, facts=facts)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file durably, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(PARTIAL_PREFIX + uuid.uuid4().hex)
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    flush(partial)
    partial.replace(path)
