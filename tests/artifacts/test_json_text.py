"""JSON from a store is parsed or refused, and says in short what is wrong with it."""

from typing import Any

import pytest

from artifacts.json_text import as_object, parse_json, typed


@pytest.mark.parametrize("brackets", ["[]", '{"a":}'], ids=["lists", "objects"])
def test_brackets_within_brackets_have_a_limit(brackets: str) -> None:
    """64 levels are read, and 65 are not, of lists as of objects."""

    def nested(levels: int) -> str:
        opening, closing = brackets[:-1], brackets[-1]
        return opening * levels + "1" + closing * levels

    assert parse_json(nested(64)) == parse_json(nested(64).encode())
    with pytest.raises(ValueError, match="more than 64 brackets"):
        parse_json(nested(65))


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[" * 100_000, "", "{"])
def test_text_that_is_no_json_is_refused(text: str) -> None:
    """With the same kind of error, whatever is wrong."""
    with pytest.raises(ValueError, match=r"JSON|Expecting"):
        parse_json(text)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("text", int, "'a' is 'text', but must be of type int"),
        (True, int, "'a' is True, but must be of type int"),
        (None, str, "'a' is None, but must be of type str"),
        (1.5, int, "'a' is 1.5, but must be of type int"),
        (["large"], str, "'a' is a list, but must be of type str"),
        ({}, float, "'a' is a dict, but must be of type float"),
        (10**400, float, "'a' is 1000"),
        ("x" * 1000, int, f"'a' is '{'x' * 59}, but must"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_field_of_another_type_is_shown_in_short(value: Any, kind: type, message: str) -> None:
    """A small value itself, and of a large one its type or its beginning."""
    with pytest.raises(ValueError, match="but must be") as caught:
        typed({"a": value}, "a", kind)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 120


def test_number_must_be_finite() -> None:
    """Also one that JSON can write and a float cannot hold."""
    with pytest.raises(ValueError, match="'a' is inf, but must be finite"):
        typed(as_object(parse_json('{"a": 1e999}')), "a", float)
    assert typed({"a": 1}, "a", float) == 1.0
