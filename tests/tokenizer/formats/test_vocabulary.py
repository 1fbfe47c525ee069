"""The tokenizer's folder: every file read back by the tool it is for, with the same ids."""

import json
from pathlib import Path

import pytest
import tiktoken
import tokenizers
from hypothesis import given
from tiktoken.load import load_tiktoken_bpe
from transformers import PreTrainedTokenizerFast

from tests.strategies import SPECIAL_TOKENS, texts
from tests.tokenizer.samples import END_OF_TEXT, tiktoken_encoding, train_sample
from tokenizer.encoding.tokenizer import Tokenizer
from tokenizer.formats.loading import load_vocabulary
from tokenizer.formats.vocabulary import save_vocabulary
from tokenizer.patterns import PATTERNS

BYTES = {byte: bytes([byte]) for byte in range(256)}
OWN_REGEX = r"[a-zé]+|\s"
CASES = {
    "gpt2": ("gpt2", [END_OF_TEXT]),
    "gpt2 with overlapping special tokens": ("gpt2", list(SPECIAL_TOKENS)),
    "cl100k with overlapping special tokens": ("cl100k", list(SPECIAL_TOKENS)),
    "o200k": ("o200k", [END_OF_TEXT]),
    "own regex that leaves text out": (OWN_REGEX, [END_OF_TEXT]),
}


def save(tokenizer: Tokenizer, folder: Path) -> Path:
    """Save a tokenizer and return the folder."""
    parts = (tokenizer.vocab, tokenizer.merges, tokenizer.special_tokens, tokenizer.pattern)
    save_vocabulary(folder, *parts)
    return folder


@pytest.fixture(scope="module", params=list(CASES.values()), ids=list(CASES))
def saved(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, Path]:
    """A tokenizer and the folder it was saved in."""
    tokenizer = train_sample(*request.param)
    return tokenizer, save(tokenizer, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def hugging_face(saved: tuple[Tokenizer, Path]) -> tokenizers.Tokenizer:
    """What `tokenizers` makes of the folder."""
    return tokenizers.Tokenizer.from_file(str(saved[1] / "tokenizer.json"))


@pytest.fixture(scope="module")
def transformers_tokenizer(saved: tuple[Tokenizer, Path]) -> PreTrainedTokenizerFast:
    """What `transformers` makes of the folder."""
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call] # theirs
        tokenizer_file=str(saved[1] / "tokenizer.json")
    )


@pytest.fixture(scope="module")
def ranks_encoding(saved: tuple[Tokenizer, Path]) -> tiktoken.Encoding:
    """What tiktoken makes of the folder's ranks."""
    tokenizer, folder = saved
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", "")  # reads the file itself, keeps no copy
        ranks = load_tiktoken_bpe(str(folder / "ranks.tiktoken"))
    # tiktoken drops the text that a pattern leaves out, so ours gets an alternative for it.
    whole = dict(PATTERNS) | {OWN_REGEX: OWN_REGEX + r"|[^a-zé\s]+"}
    return tiktoken.Encoding(
        "ours",
        pat_str=whole[tokenizer.pattern],
        mergeable_ranks=ranks,
        special_tokens=tokenizer.special_token_ids,
    )


def test_our_own_files_give_the_same_tokenizer(saved: tuple[Tokenizer, Path]) -> None:
    """A tokenizer read from its folder is in every part the one that was saved."""
    tokenizer, folder = saved
    loaded = load_vocabulary(folder)
    assert loaded.vocab == tokenizer.vocab
    assert loaded.merges == tokenizer.merges
    assert (loaded.special_tokens, loaded.pattern) == (tokenizer.special_tokens, tokenizer.pattern)
    again = Tokenizer.from_folder(folder)
    assert again.special_token_ids == tokenizer.special_token_ids


@given(texts(assigned=True))
def test_hugging_face_tokenizers_gives_the_same_ids(
    saved: tuple[Tokenizer, Path], hugging_face: tokenizers.Tokenizer, text: str
) -> None:
    """`tokenizers` encodes and decodes any text as we do, special tokens included."""
    tokenizer, _ = saved
    token_ids = hugging_face.encode(text).ids
    assert token_ids == tokenizer.encode(text)
    assert hugging_face.decode(token_ids, skip_special_tokens=False) == text


@given(texts(assigned=True))
def test_transformers_gives_the_same_ids(
    saved: tuple[Tokenizer, Path], transformers_tokenizer: PreTrainedTokenizerFast, text: str
) -> None:
    """`transformers` loads the same file to the same ids."""
    tokenizer, _ = saved
    assert transformers_tokenizer(text)["input_ids"] == tokenizer.encode(text)


@given(texts(assigned=True))
def test_tiktoken_gives_the_same_ids(
    saved: tuple[Tokenizer, Path], ranks_encoding: tiktoken.Encoding, text: str
) -> None:
    """With our ranks tiktoken encodes as we do; of special tokens that overlap it takes any."""
    tokenizer, _ = saved
    ordinary = Tokenizer(tokenizer.vocab, tokenizer.merges, pattern=tokenizer.pattern)
    assert ranks_encoding.encode_ordinary(text) == ordinary.encode(text)
    if len(tokenizer.special_tokens) == 1:
        assert ranks_encoding.encode(text, allowed_special="all") == tokenizer.encode(text)


def test_ranks_file_holds_what_the_vocabulary_does(
    saved: tuple[Tokenizer, Path], ranks_encoding: tiktoken.Encoding
) -> None:
    """The ranks as tiktoken reads them are our tokens without the special ones."""
    tokenizer, _ = saved
    assert ranks_encoding._mergeable_ranks == tiktoken_encoding(tokenizer)._mergeable_ranks
    assert ranks_encoding.n_vocab == tokenizer.vocab_size


def test_vocabularies_of_awkward_bytes_survive(tmp_path: Path) -> None:
    """Tokens with line ends, blanks and half characters are in every file and come back."""
    merges = [(b"\n", b"\n"), (b" ", b"\n"), (b"\xe4", b"\xb8"), (b"\xff", b"\xfe"), (b"<", b"|")]
    vocab = BYTES | {256 + index: left + right for index, (left, right) in enumerate(merges)}
    folder = save(Tokenizer(vocab, merges, [END_OF_TEXT]), tmp_path / "deep" / "folder")
    tokenizer = Tokenizer.from_folder(folder)
    assert tokenizer.merges == merges
    assert tokenizer.vocab == vocab | {261: END_OF_TEXT.encode()}
    assert "\ufffd" not in "".join(path.read_text("utf-8") for path in folder.iterdir())
    hugging_face = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "\n\n <|endoftext|>\n<| 一中"
    assert hugging_face.encode(text).ids == tokenizer.encode(text)


def test_gpt2_itself_is_saved_in_every_format(
    gpt2_tokenizer: Tokenizer, gpt2_tiktoken: tiktoken.Encoding, tmp_path: Path
) -> None:
    """GPT-2's numbering, in which bytes are not in order, survives all formats."""
    folder = save(gpt2_tokenizer, tmp_path)
    text = "Hello world, it's naïve 世界!\n\n<|endoftext|>  42"
    expected = gpt2_tiktoken.encode(text, allowed_special="all")
    assert Tokenizer.from_folder(folder).encode(text) == expected
    hugging_face = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert hugging_face.encode(text).ids == expected


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("merges.txt", "h e\n", "", "joins token b'he', which no earlier merge makes"),
        ("merges.txt", "Ġ didn\n", "", "token b' didn' .* is neither a byte, nor made by a merge"),
        ("merges.txt", "h e\n", "h e\nQ Q\n", "refers to token b'QQ'"),
        ("vocab.json", '"A": 65', '"A": 66', "both have id 66"),
        ("vocab.json", '"A": 65,', "", "must run from 0 to"),
        ("vocab.json", '"<|endoftext|>": 339', '"<|endof|>": 339', "neither a byte, nor made by"),
        ("owt.json", "<|endoftext|>", "<|end|>", "neither a byte, nor made by a merge"),
        ("owt.json", '"pattern"', '"split"', 'must be a JSON object with "pattern"'),
        ("owt.json", "gpt2", "gpt3", "'gpt3' must be gpt2, cl100k, o200k"),
        ("owt.json", '"pattern": "gpt2"', '"pattern": 3', "must be a JSON object"),
        ("owt.json", "]", ', "<|more|>"]', "special token '<|more|>' is not in the vocabulary"),
    ],
)
def test_files_that_disagree_are_refused(
    small_tokenizer: Tokenizer, tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    """One changed line is an error that says what does not fit, never another tokenizer."""
    path = save(small_tokenizer, tmp_path) / name
    content = path.read_text("utf-8")
    assert old in content
    path.write_text(content.replace(old, new), "utf-8")
    with pytest.raises(ValueError, match=message.replace("|>", r"\|>").replace("<|", r"<\|")):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_missing_file_is_named(small_tokenizer: Tokenizer, tmp_path: Path, name: str) -> None:
    """A folder of ours without one of the files is no tokenizer."""
    (save(small_tokenizer, tmp_path) / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_vocabulary(tmp_path)


def test_what_a_format_cannot_express_is_refused(tmp_path: Path) -> None:
    """A special token that looks like another, ids against the merges, a token without a merge."""
    merges = [(b" ", b"t")]
    with pytest.raises(ValueError, match=r"'Ġt' is how tokenizer\.json writes another token"):
        save_vocabulary(tmp_path, BYTES | {256: b" t", 257: "Ġt".encode()}, merges, ["Ġt"], "gpt2")
    merges = [(b"a", b"b"), (b"c", b"d")]
    with pytest.raises(ValueError, match="only ids that rise with the merges"):
        save_vocabulary(tmp_path, BYTES | {256: b"cd", 257: b"ab"}, merges, [], "gpt2")
    with pytest.raises(ValueError, match=r"token b'ab' .* is neither a byte, nor made by a merge"):
        save_vocabulary(tmp_path, BYTES | {256: b"ab"}, [], [], "gpt2")
    with pytest.raises(ValueError, match="'<a>' is not in the vocabulary"):
        save_vocabulary(tmp_path, BYTES, [], ["<a>"], "gpt2")
    assert not list(tmp_path.iterdir())


def test_files_of_one_training_are_the_same_bytes_again(tmp_path: Path) -> None:
    """Saving twice gives the same files, so that the artifact's hashes are stable."""
    first = save(train_sample("gpt2", [END_OF_TEXT]), tmp_path / "first")
    second = save(train_sample("gpt2", [END_OF_TEXT]), tmp_path / "second")
    names = sorted(path.name for path in first.iterdir())
    assert names == ["merges.txt", "owt.json", "ranks.tiktoken", "tokenizer.json", "vocab.json"]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    assert json.loads((first / "owt.json").read_text())["special_tokens"] == [END_OF_TEXT]
