"""What `owt config` says of a field is what its class and the stages' identities say."""

import json

import pytest
from typer.testing import CliRunner

from flows.cli.config import app
from flows.config import FOLLOWING, resolve_config
from flows.explaining.fields import all_fields, find_fields, value_of
from flows.explaining.influence import Influence, influence_of
from flows.presets import find_preset
from flows.stage_names import stage_names
from flows.stages import stage_ancestors

FIELDS = all_fields()


def test_the_names_of_the_stages_are_those_of_the_walk() -> None:
    """Help and completion read them off the text of the walk, which imports nothing."""
    assert stage_names() == tuple(stage_ancestors())


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.key)
def test_every_field_has_a_meaning_and_can_be_set(field: object) -> None:
    """The docstring is there, and `--set` takes the key."""
    (found,) = find_fields(field.key)  # type: ignore[attr-defined] # a Field
    assert len(found.meaning) > 10
    assert found.summary[0] == found.meaning[0]
    with pytest.raises(ValueError, match=found.section):
        resolve_config(find_preset("smoke"), None, [f"{found.key}={{}}"])


@pytest.mark.parametrize(
    ("key", "fingerprinted", "first_rebuilt"),
    [
        ("corpus.name", (), None),
        ("corpus.train", ("download",), "download"),
        ("corpus.text_column", ("download",), "download"),
        ("tokenizer.vocab_size", ("train_tokenizer",), "train_tokenizer"),
        ("tokenizer.range_bytes", ("count_pretokens", "encode_shards"), "count_pretokens"),
        ("model.d_model", ("train_lm",), "train_lm"),
        ("model.qk_norm", ("train_lm",), "train_lm"),
        ("evaluate.precision", ("evaluate",), "evaluate"),
        ("run.workers", (), None),
    ],
)
def test_what_a_field_changes_is_found_by_changing_it(
    key: str, fingerprinted: tuple[str, ...], first_rebuilt: str | None
) -> None:
    """The stages whose settings hold it, and all that build on them."""
    (field,) = find_fields(key)
    stages = stage_ancestors()
    rebuilt = tuple(
        name
        for name, ancestors in stages.items()
        if first_rebuilt and (name == first_rebuilt or first_rebuilt in ancestors)
    )
    assert influence_of(field) == Influence(fingerprinted=fingerprinted, rebuilt=rebuilt)


def test_no_field_of_how_a_run_is_done_is_fingerprinted() -> None:
    """What changes no result rebuilds nothing; everything else rebuilds something."""
    without = {field.key for field in FIELDS if not influence_of(field).rebuilt}
    run = {field.key for field in FIELDS if field.section == "run"}
    assert without == run | {"corpus.name", "corpus.train_sha256", "corpus.valid_sha256"}


@pytest.mark.parametrize(
    ("follower", "leader"), [(field, leader) for field, (leader, _) in FOLLOWING.items()]
)
def test_what_follows_another_field_is_said_of_both(follower: str, leader: str) -> None:
    """And it does follow, where it is not given."""
    value = {
        "corpus.train": "mine.txt",
        "tokenizer.vocab_size": "999",
        "train_lm.max_learning_rate": "0.5",
        "train_lm.max_steps": "20",
    }[leader]
    before = find_preset("smoke")
    after = resolve_config(before, None, [f"{leader}={value}"])
    (field,) = find_fields(follower)
    assert value_of(after, field) != value_of(before, field)
    told = CliRunner().invoke(app, ["explain", follower]).output
    assert f"follows      {leader} unless given: " in told
    told = CliRunner().invoke(app, ["explain", leader]).output
    assert f"followed by  {follower} unless given: " in told


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("max_learning_rate", ["train_lm.max_learning_rate"]),
        ("batch_size", ["train_lm.batch_size", "evaluate.batch_size"]),
        ("train_lm.max_steps", ["train_lm.max_steps"]),
    ],
)
def test_a_field_is_found_by_its_key_or_name(name: str, keys: list[str]) -> None:
    """A name that several sections have gives all of them."""
    assert [field.key for field in find_fields(name)] == keys


def test_an_unknown_field_names_the_nearest() -> None:
    """As for `--set`."""
    with pytest.raises(ValueError, match=r"no field 'max_lerning_rate'; did you mean max_learning"):
        find_fields("max_lerning_rate")
    with pytest.raises(ValueError, match=r"no field 'zzzz'; owt config has all"):
        find_fields("zzzz")


def test_the_command_lists_and_explains() -> None:
    """The list has every field; an explanation has unit, presets and what is rebuilt."""
    listed = CliRunner().invoke(app, ["--json"], catch_exceptions=False)
    assert [entry["key"] for entry in json.loads(listed.output)] == [field.key for field in FIELDS]
    table = CliRunner().invoke(app, ["--preset", "tinystories-cpu"], catch_exceptions=False).output
    assert all(field.name in table for field in FIELDS)
    told = CliRunner().invoke(app, ["explain", "train_lm.warmup_steps"], catch_exceptions=False)
    assert "int, in steps" in told.output
    assert "smoke: 30" in told.output
    assert "rebuilds train_lm, evaluate, generate" in told.output
