"""Fingerprints are stable, complete, and refuse what has no stable bytes."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.fingerprint import canonical_json, fingerprint
from artifacts.store import open_store

if TYPE_CHECKING:
    from tests.artifacts.conftest import Build

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
KEYS = st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(KEYS, children, max_size=3),
    max_leaves=4,
)
CONFIGS = st.dictionaries(KEYS, VALUES, max_size=4)


class Color(enum.Enum):
    """An Enum, as configs have them."""

    RED = "red"


@dataclass(frozen=True)
class Size:
    """A dataclass, as configs have them."""

    width: int
    color: Color


def _reversed(value: Any) -> Any:
    """Return the same value with all dicts in the opposite order."""
    if isinstance(value, dict):
        return {key: _reversed(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return [_reversed(item) for item in value]
    return value


def test_fingerprint_of_fixed_inputs_is_golden() -> None:
    """Another hash here would orphan every artifact there is: only on purpose, with an entry."""
    found = fingerprint(
        stage="train_tokenizer",
        stage_version=3,
        config={"vocab_size": 10_000, "special_tokens": ("<|endoftext|>", "é"), "rate": 0.1},
        inputs={"counts": "ab" * 32},
    )
    # sha256sum of: {"config":{"rate":0.1,"special_tokens":["<|endoftext|>","\u00e9"],
    # "vocab_size":10000},"inputs":{"counts":"abab..."},"stage":"train_tokenizer","stage_version":3}
    assert found == "3c7f51bc780ac7c527db90eae3a82973fe6e6d4ac7c8570cf14e2c64f45dda32"


@given(CONFIGS)
def test_fingerprint_is_independent_of_key_order(config: dict[str, Any]) -> None:
    """The order in which a config was written down does not matter, at any depth."""
    fingerprints = {
        fingerprint(stage="encode", stage_version=1, config=value, inputs={})
        for value in (config, _reversed(config))
    }
    assert len(fingerprints) == 1


@given(CONFIGS)
def test_canonical_json_says_the_value(config: dict[str, Any]) -> None:
    """Canonical JSON is plain JSON of the same value, in ASCII without blanks around."""
    text = canonical_json(config)
    assert json.loads(text) == config
    assert text.isascii()


@given(CONFIGS, CONFIGS)
def test_different_configs_have_different_fingerprints(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """Two configs share a fingerprint only if they are the same JSON."""
    prints = [
        fingerprint(stage="encode", stage_version=1, config=config, inputs={})
        for config in (one, other)
    ]
    assert (prints[0] == prints[1]) == (canonical_json(one) == canonical_json(other))


def test_fingerprint_depends_on_each_of_its_parts() -> None:
    """Stage, version, config and inputs, and the names of the inputs, all count."""
    base: dict[str, Any] = {
        "stage": "encode",
        "stage_version": 1,
        "config": {"a": 1},
        "inputs": {"x": "a" * 64},
    }
    changed: list[dict[str, Any]] = [
        {"stage": "count"},
        {"stage_version": 2},
        {"config": {"a": 2}},
        {"config": {"a": 1.0}},
        {"config": {"a": True}},
        {"inputs": {"x": "b" * 64}},
        {"inputs": {"y": "a" * 64}},
        {"inputs": {}},
    ]
    prints = {fingerprint(**(base | change)) for change in [{}, *changed]}
    assert len(prints) == len(changed) + 1


def test_fingerprint_is_independent_of_the_root(tmp_path: Path, build: Build) -> None:
    """The same stage has the same fingerprint and file hashes under another root."""
    records = [build(open_store(tmp_path / root), {"a.bin": b"a"}) for root in ("one", "two")]
    assert records[0].fingerprint == records[1].fingerprint
    assert records[0].files == records[1].files


def test_containers_of_the_same_content_are_equal() -> None:
    """Tuples are lists, dataclasses dicts, and an Enum is its value."""
    assert canonical_json((1, "a")) == canonical_json([1, "a"])
    assert canonical_json(Size(2, Color.RED)) == canonical_json({"width": 2, "color": "red"})


@pytest.mark.parametrize(
    "value",
    [{1, 2}, Path("a"), b"a", object(), Size, 1j],
    ids=lambda value: type(value).__name__,
)
def test_value_without_stable_bytes_is_refused(value: object) -> None:
    """What could hash differently in another process is refused, naming where it is."""
    with pytest.raises(TypeError, match=r"value\.model\.layers\[1\] is a .*no stable bytes"):
        canonical_json({"model": {"layers": [0, value]}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_number_without_a_value_is_refused(value: float) -> None:
    """NaN and the infinities are no JSON."""
    with pytest.raises(ValueError, match=r"value\.rate is .*finite"):
        canonical_json({"rate": value})


@pytest.mark.parametrize("key", [1, None, ("a",), Color.RED], ids=repr)
def test_key_other_than_text_is_refused(key: object) -> None:
    """json.dumps would turn 1 and "1" into the same key."""
    with pytest.raises(TypeError, match=r"value\.a has the key .* must be plain str"):
        canonical_json({"a": {key: 1}})


@pytest.mark.parametrize("stage", ["", ".staging", "Train", "a/b", "a-b", "1a"])
def test_stage_name_must_be_a_visible_folder(stage: str) -> None:
    """A stage's name is a folder beside the store's own dot folders."""
    with pytest.raises(ValueError, match="stage name"):
        fingerprint(stage=stage, stage_version=1, config={}, inputs={})


@pytest.mark.parametrize("value", ["", "abc", "A" * 64, "s3://bucket/a"])
def test_input_must_be_a_fingerprint(value: str) -> None:
    """A path in place of an input's fingerprint is refused."""
    with pytest.raises(ValueError, match=r"input 'text' of stage encode is .*64 lower-case hex"):
        fingerprint(stage="encode", stage_version=1, config={}, inputs={"text": value})
