"""An identity's fingerprint is made of what matters and nothing else."""

import pytest

from artifacts.identity import Identity, Reference


def identity(**changes: object) -> Identity:
    fields: dict[str, object] = {
        "stage": "encode_shards",
        "version": 1,
        "config": {"split": "train", "range_bytes": 8},
        "inputs": {"text": Reference("download", "a" * 64, "/here/download/aaaa")},
    }
    return Identity(**(fields | changes))  # type: ignore[arg-type] # fields of one test


def test_identity_and_reference_name_the_same_place() -> None:
    """The stage and the first 16 digits of the fingerprint, below any store's URL."""
    one = identity()
    reference = one.reference("s3://bucket/store/")
    assert one.place == reference.place == f"encode_shards/{one.fingerprint[:16]}"
    assert reference.uri == f"s3://bucket/store/{one.place}"
    assert Reference.from_json(reference.to_json() | {"label": "train"}) == reference


def test_stage_that_is_no_folder_has_no_place() -> None:
    """A reference from outside cannot lead out of the store."""
    with pytest.raises(ValueError, match="stage name"):
        _ = Reference("../elsewhere", "a" * 64, "").place


def test_the_place_of_an_input_does_not_count() -> None:
    """The same work in another store has the same fingerprint."""
    elsewhere = {"text": Reference("download", "a" * 64, "s3://bucket/download/aaaa")}
    assert identity(inputs=elsewhere).fingerprint == identity().fingerprint


def test_stage_version_config_and_inputs_count() -> None:
    """Each of them alone changes the fingerprint."""
    others = [
        identity(stage="download"),
        identity(version=2),
        identity(config={"split": "valid", "range_bytes": 8}),
        identity(inputs={"text": Reference("download", "b" * 64, "/here/download/aaaa")}),
    ]
    assert len({item.fingerprint for item in [identity(), *others]}) == 5
