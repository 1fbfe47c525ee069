"""Fingerprints: the identity of an artifact, from what determines its bytes and nothing else.

A fingerprint is the sha256 of canonical JSON of the stage, its version, the config that changes the
output, and the inputs' fingerprints. No path, host, time or worker count is in it, so two machines
that would produce the same bytes look for them under the same name.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum

_ALLOWED = "dict with str keys, list, tuple, str, int, float, bool, None, dataclass, Enum"

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_STAGE = re.compile(r"[a-z][a-z0-9_]{0,63}")


def fingerprint(
    *, stage: str, stage_version: int, config: Mapping[str, object], inputs: Mapping[str, str]
) -> str:
    """Return the 64 hex digits that identify what a stage makes from this config and these inputs.

    Args:
        stage: Name of the stage; also the folder its artifacts lie in.
        stage_version: Raised by hand when the stage's code changes what comes out.
        config: Only what changes the output.
        inputs: Fingerprint (or content hash) of each input by its name, 64 hex digits.

    Raises:
        TypeError: A config value has no stable bytes; the message names its place.
        ValueError: The stage name or an input's fingerprint is malformed.
    """
    check_stage(stage)
    for name, value in inputs.items():
        if not _FINGERPRINT.fullmatch(value):
            raise ValueError(
                f"input {name!r} of stage {stage} is {value!r}; give its fingerprint, "
                "64 lower-case hex digits"
            )
    identity = {
        "stage": stage,
        "stage_version": stage_version,
        "config": dict(config),
        "inputs": dict(inputs),
    }
    return hashlib.sha256(canonical_json(identity)).hexdigest()


def check_stage(stage: str) -> None:
    """Raise ValueError unless the name can be a folder beside the store's own dot folders."""
    if not _STAGE.fullmatch(stage):
        raise ValueError(
            f"stage name {stage[:100]!r} must be lower-case letters, digits and underscores, "
            "starting with a letter, at most 64"
        )


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of a value: sorted keys, no blanks, ASCII only, no NaN.

    Tuples become lists, dataclasses become dicts of their fields, an Enum becomes its value. An int
    and the float of the same value differ.

    Raises:
        TypeError: A value of any other type, or a dict key that is no str. The `str(x)` of such an
            object can contain addresses or change with the hash seed.
        ValueError: NaN or an infinity, which JSON does not have.
    """
    plain = _plain(value, "value")
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _plain(value: object, path: str) -> object:
    """Return the value in JSON's own types; `path` is the value's place for the error message."""
    if isinstance(value, Enum):
        return _plain(value.value, path)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{path} is {value}; a fingerprint takes finite numbers only")
        return value
    if isinstance(value, Mapping):
        return {_key(key, path): _plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value)]
        return {name: _plain(getattr(value, name), f"{path}.{name}") for name in names}
    raise TypeError(
        f"{path} is a {type(value).__name__}, which has no stable bytes; allowed: {_ALLOWED}"
    )


def _key(key: object, path: str) -> str:
    if not isinstance(key, str) or isinstance(key, Enum):
        raise TypeError(f"{path} has the key {key!r}; keys must be plain str")
    return key
