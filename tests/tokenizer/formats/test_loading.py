"""Folders of other tools: read to the very tokenizer, or refused with what is missing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from tests.tokenizer.samples import END_OF_TEXT, SAMPLE, train_sample
from tokenizer.encoding.tokenizer import Tokenizer
from tokenizer.formats.loading import load_vocabulary
from tokenizer.formats.vocabulary import save_vocabulary

Written = Callable[..., tuple[Tokenizer, Path]]


def split_and_bytes(
    *, behavior: str = "Isolated", add_prefix_space: bool = False
) -> dict[str, dict[str, Any]]:
    """Return the pre-tokenizer of a tokenizer.json that has its own pattern."""
    split = {"type": "Split", "pattern": {"Regex": "x"}, "behavior": behavior}
    into_bytes = {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "use_regex": False}
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, into_bytes]}}


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Write a small tokenizer, and keep only the files that another tool would have."""

    def write(*names: str, pattern: str = "gpt2") -> tuple[Tokenizer, Path]:
        tokenizer = train_sample(pattern, [END_OF_TEXT])
        parts = (tokenizer.vocab, tokenizer.merges, tokenizer.special_tokens, tokenizer.pattern)
        save_vocabulary(tmp_path, *parts)
        for path in tmp_path.iterdir():
            if path.name not in names:
                path.unlink()
        return tokenizer, tmp_path

    return write


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["vocab.json", "merges.txt"], "gpt2"),
        (["tokenizer.json"], "gpt2"),
        (["tokenizer.json"], "cl100k"),
        (["tokenizer.json"], r"[a-zé]+|\s"),
        (["ranks.tiktoken", "owt.json"], "o200k"),
    ],
)
def test_a_folder_of_another_tool_is_the_same_tokenizer(
    written: Written, names: list[str], pattern: str
) -> None:
    """Vocabulary, merges, special tokens and pattern come out as they were saved."""
    tokenizer, folder = written(*names, pattern=pattern)
    loaded = load_vocabulary(folder)
    assert loaded.vocab == tokenizer.vocab
    assert loaded.merges == tokenizer.merges
    assert (loaded.special_tokens, loaded.pattern) == (tokenizer.special_tokens, pattern)


def test_the_names_of_openai_are_known(written: Written) -> None:
    """GPT-2's repository calls the two files otherwise, and tiktoken's files carry their name."""
    tokenizer, folder = written("vocab.json", "merges.txt", "ranks.tiktoken")
    (folder / "vocab.json").rename(folder / "encoder.json")
    (folder / "merges.txt").rename(folder / "vocab.bpe")
    assert load_vocabulary(folder).merges == tokenizer.merges
    (folder / "vocab.bpe").unlink()
    (folder / "encoder.json").unlink()
    (folder / "ranks.tiktoken").rename(folder / "r50k_base.tiktoken")
    loaded = load_vocabulary(folder)
    assert (loaded.vocab, loaded.merges) == (tokenizer.vocab, tokenizer.merges)


def test_gpt2s_own_files_load_to_its_tokenizer(shared_data: Path) -> None:
    """The folder as it is published gives GPT-2's ids, with the end of text as special token."""
    tokenizer = Tokenizer.from_folder(shared_data / "gpt2")
    assert tokenizer.special_token_ids == {END_OF_TEXT: 50_256}
    assert tokenizer.encode(f"Hello world{END_OF_TEXT}") == [15496, 995, 50_256]


def test_what_hugging_face_trained_gives_its_ids(tmp_path: Path) -> None:
    """A file of their trainer: bytes in another order, special tokens first."""
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "<pad>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    theirs.train_from_iterator([SAMPLE], trainer)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.from_folder(tmp_path)
    for text in (SAMPLE, "<s>naïve 世界<pad>"):
        assert ours.encode(text) == theirs.encode(text).ids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalizer": {"type": "NFC"}}, "it has a normalizer (NFC)"),
        ({"pre_tokenizer": {"type": "Metaspace"}}, "its pre-tokenizer (Metaspace) is not"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}}, "add_prefix_space"),
        (split_and_bytes(add_prefix_space=True), "add_prefix_space"),
        (split_and_bytes(behavior="Removed"), "its Split is 'Removed'"),
        ({"model": {"type": "WordPiece", "vocab": {}}}, "its model is WordPiece"),
        ({"model": {"type": "BPE", "byte_fallback": True}}, "uses byte_fallback (True)"),
        ({"model": {"type": "BPE", "vocab": {}}}, "is no tokenizer.json of a BPE"),
    ],
)
def test_what_we_do_not_have_is_refused_by_name(
    written: Written, change: dict[str, Any], message: str
) -> None:
    """A tokenizer that is nearly the same would give other ids."""
    path = written("tokenizer.json")[1] / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=r"tokenizer\.json") as caught:
        load_vocabulary(path.parent)
    assert message in str(caught.value)


def test_a_special_token_of_one_byte_is_refused(written: Written) -> None:
    """Theirs may have one; in ours it could not be told from the byte."""
    path = written("tokenizer.json")[1] / "tokenizer.json"
    content = json.loads(path.read_text())
    known = content["added_tokens"][0]
    content["added_tokens"].append(known | {"id": content["model"]["vocab"]["a"], "content": "a"})
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"tokenizer\.json cannot be used: .*'a'"):
        load_vocabulary(path.parent)


def test_merges_in_another_order_are_refused(written: Written) -> None:
    """They would give other ids."""
    path = written("tokenizer.json")[1] / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["merges"].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"tokenizer\.json cannot be used: .* no earlier merge"):
        load_vocabulary(path.parent)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "it has nothing; one has owt.json"),
        (["vocab.json"], "has vocab.json, but no merges.txt"),
        (["merges.txt"], "has merges.txt, but no vocab.json"),
        (["ranks.tiktoken"], "put a file owt.json beside it"),
    ],
)
def test_what_is_missing_is_named(written: Written, names: list[str], message: str) -> None:
    """The message says which file would make the folder a tokenizer."""
    _, folder = written(*names)
    with pytest.raises((FileNotFoundError, ValueError)) as caught:
        load_vocabulary(folder)
    assert message in str(caught.value)


def test_damaged_ranks_are_named_by_their_line(written: Written) -> None:
    """A token that no two earlier ones make belongs to no BPE."""
    _, folder = written("ranks.tiktoken", "owt.json")
    path = folder / "ranks.tiktoken"
    path.write_bytes(path.read_bytes() + b"not base64\n")
    with pytest.raises(ValueError, match=r"ranks\.tiktoken, line 340"):
        load_vocabulary(folder)
    path.write_bytes(path.read_bytes().replace(b"not base64", b"UVFRUQ== 999"))
    with pytest.raises(ValueError, match="b'QQQQ', is not made of two earlier tokens"):
        load_vocabulary(folder)
