"""JSON from a store: parsed or refused with one kind of error, and its types checked."""

import json
import math
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

_MAX_DEPTH = 64
"""Brackets within brackets. A config has 4; from 1,000 on Python's own recursion ends."""


def parse_json(data: bytes | str) -> object:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is none: damaged, nested too deeply, or with NaN, which JSON does not have.
    """
    try:
        value: object = json.loads(data, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("JSON with too many brackets within brackets") from error
    if _depth(value) > _MAX_DEPTH:
        raise ValueError(f"JSON with more than {_MAX_DEPTH} brackets within brackets")
    return value


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


def _depth(value: object) -> int:
    """Count the levels of lists and objects, level by level, so that no stack is used."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [
            child for item in level for child in (item.values() if isinstance(item, dict) else item)
        ]
    return depth


def as_object(value: object) -> dict[str, object]:
    """Return a value that is a JSON object.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{_short(value)} is no JSON object")
    return value


def typed(data: Mapping[str, object], name: str, kind: type[T]) -> T:
    """Return a field of an object; a bool is no number, and a whole number may be a float.

    Raises:
        ValueError: It is missing, of another type, or no finite number.
    """
    if name not in data:
        raise ValueError(f"{name!r} is missing")
    value = data[name]
    if kind is float and type(value) is int:
        value = _as_float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name!r} is {_short(value)}, but must be of type {kind.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name!r} is {value}, but must be finite")
    return value


def _as_float(value: int) -> object:
    try:
        return float(value)
    except OverflowError:
        return value


def _short(value: object) -> str:
    # Not the repr of a whole large value, which may be what makes it odd.
    return (
        repr(value)[:60]
        if isinstance(value, str | int | float | bool | None)
        else f"a {type(value).__name__}"
    )


def strings(data: Mapping[str, object], name: str) -> dict[str, str]:
    """Return a field that is an object of strings.

    Raises:
        ValueError: It is something else.
    """
    found = typed(data, name, dict)
    return {key: typed(found, key, str) for key in found}
