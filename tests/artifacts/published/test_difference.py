"""What makes two artifacts differ is told as facts, each once, however deep it lies."""

from dataclasses import replace

from artifacts.identity import Identity, Reference
from artifacts.published.difference import Difference, differences, nearest
from artifacts.record import Record

TEXT = Identity(stage="text", version=1, config={"sha256": "a"}, inputs={})
OTHER_TEXT = replace(TEXT, config={"sha256": "b"})


def made_from(text: Identity, **config: object) -> Identity:
    reference = text.reference("memory://x")
    inputs = {"train": reference, "again": reference}
    return Identity(stage="model", version=1, config={"steps": 1, **config}, inputs=inputs)


def find(reference: Reference) -> Identity | None:
    known = {identity.fingerprint: identity for identity in (TEXT, OTHER_TEXT)}
    return known.get(reference.fingerprint)


def record_of(identity: Identity) -> Record:
    return Record(
        stage=identity.stage,
        stage_version=identity.version,
        fingerprint=identity.fingerprint,
        config=dict(identity.config),
        inputs=dict(identity.inputs),
        files=(),
        folder="attempt",
    )


def test_fields_are_told_by_their_way() -> None:
    """Nested fields have dotted names; a list of JSON equals a tuple of the config."""
    old = made_from(TEXT, optimizer={"betas": [0.9, 0.95], "eps": 1})
    new = made_from(TEXT, optimizer={"betas": (0.9, 0.95), "eps": 2})
    assert differences(old, new, find) == [Difference("", "optimizer.eps", 1, 2)]


def test_an_input_is_followed_to_the_fact_once() -> None:
    """The same text by two ways is one reason."""
    found = differences(made_from(TEXT), made_from(OTHER_TEXT), find)
    assert found == [Difference("again", "sha256", "a", "b")]


def test_an_unknown_input_is_told_by_its_place() -> None:
    """Its record may have been removed."""
    gone = replace(TEXT, config={"sha256": "gone"})
    found = differences(made_from(gone), made_from(TEXT), find)
    assert [(d.field, d.old, d.new) for d in found] == [
        ("input again", gone.place, TEXT.place),
        ("input train", gone.place, TEXT.place),
    ]


def test_a_new_version_is_a_fact() -> None:
    """The stage's code was changed on purpose."""
    new = replace(made_from(TEXT), version=2)
    assert differences(made_from(TEXT), new, find) == [Difference("", "stage version", 1, 2)]


def test_the_nearest_differs_in_the_fewest_facts() -> None:
    """Two changed fields are farther than one."""
    far, near = made_from(OTHER_TEXT, steps=3), made_from(TEXT, steps=3)
    found = nearest(made_from(TEXT, steps=4), [record_of(far), record_of(near)], find)
    assert found == (record_of(near), [Difference("", "steps", 3, 4)])
    assert nearest(made_from(TEXT), [], find) is None
