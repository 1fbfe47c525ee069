"""A split's source: its form, its pin, and the hash that is known before anything is fetched."""

import hashlib
from pathlib import Path

import pytest

from artifacts.fetching.fetch import UnreachableError
from tasks.corpus.config import OPENWEBTEXT_CORPUS, PINS, CorpusConfig
from tasks.corpus.source import fetched_file, source_of, with_known_hash
from tasks.download import text_identity


@pytest.mark.parametrize(
    ("uri", "form"),
    [
        ("stories.txt", "text"),
        ("stories", "text"),
        ("stories.txt.gz", "gzip"),
        ("https://example.org/a/stories.txt.zst?download=true", "zstd"),
        ("s3://bucket/stories.parquet", "parquet"),
    ],
)
def test_the_form_is_read_off_the_name(uri: str, form: str) -> None:
    """A query behind the name does not count."""
    assert source_of(CorpusConfig(train=uri), "train").form == form


def test_a_public_original_is_pinned_by_its_address() -> None:
    """Size and hash are those of the list of pins."""
    source = source_of(OPENWEBTEXT_CORPUS, "train")
    pin = PINS[OPENWEBTEXT_CORPUS.train]
    assert (source.expected_sha256, source.expected_size_bytes) == (pin.sha256, pin.size_bytes)


def test_a_local_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    """The place of the file does not matter, its content does."""
    path = tmp_path / "train.txt"
    path.write_bytes(b"once")
    config = CorpusConfig(train=str(path))
    expected = hashlib.sha256(b"once").hexdigest()
    assert with_known_hash(source_of(config, "train"), tmp_path).sha256 == expected


def test_a_local_file_with_another_hash_than_expected_is_refused(tmp_path: Path) -> None:
    """The message says what was expected and what was found."""
    path = tmp_path / "train.txt"
    path.write_bytes(b"once")
    config = CorpusConfig(train=str(path), train_sha256="0" * 64)
    with pytest.raises(ValueError, match=rf"has sha256 {hashlib.sha256(b'once').hexdigest()}"):
        with_known_hash(source_of(config, "train"), tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message says which field and what is allowed."""
    config = CorpusConfig(train="nowhere.txt")
    with pytest.raises(FileNotFoundError, match=r"no file or folder nowhere.txt \(corpus.train\)"):
        with_known_hash(source_of(config, "train"), tmp_path)


def test_without_a_network_the_way_out_is_named(tmp_path: Path) -> None:
    """Nobody listens on port 9: one short line, which tells how to take a text of one's own."""
    source = source_of(CorpusConfig(train="http://127.0.0.1:9/corpus.txt"), "train")
    with pytest.raises(UnreachableError) as caught:
        fetched_file(source, tmp_path)
    assert str(caught.value) == (
        "127.0.0.1, which has corpus.train, cannot be reached (Connection refused); "
        "for a text of your own set corpus.train=PATH"
    )


def test_without_a_validation_text_both_splits_are_parts_of_one(tmp_path: Path) -> None:
    """Both know the same bytes; whole texts have the fingerprints that they always had."""
    (tmp_path / "all.txt").write_text("once")
    config = CorpusConfig(train=str(tmp_path / "all.txt"), valid="")
    identities = [
        text_identity(with_known_hash(source_of(config, split), tmp_path))
        for split in ("train", "valid")
    ]
    configs = [dict(identity.config) for identity in identities if identity]
    assert [one.pop("split") for one in configs] == ["train", "valid"]
    assert (
        configs[0]
        == configs[1]
        == {
            "sha256": hashlib.sha256(b"once").hexdigest(),
            "form": "text",
            "document_separator": "<|endoftext|>",
            "valid_share": 16,
        }
    )
    whole = text_identity(with_known_hash(source_of(CorpusConfig(), "train"), tmp_path))
    assert whole
    assert set(whole.config) == {"split", "sha256", "form", "document_separator"}


def test_an_unknown_part_of_the_stdlib_is_refused() -> None:
    """There are two splits."""
    with pytest.raises(ValueError, match="must be stdlib:train or stdlib:valid"):
        source_of(CorpusConfig(train="stdlib:test"), "train")


@pytest.mark.parametrize("name", ["a#1.txt.gz", "a?b.gz", "a b.gz", "ü.GZ"])
def test_form_of_a_local_file_is_its_ending(tmp_path: Path, name: str) -> None:
    """Signs that mean something in an address belong to the name of a file."""
    path = tmp_path / name
    for uri in (str(path), path.as_uri()):
        source = source_of(CorpusConfig(train=uri, valid=uri), "train")
        assert (source.form, source.local_path) == ("gzip", path)
