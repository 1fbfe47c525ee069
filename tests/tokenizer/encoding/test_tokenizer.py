"""The tokenizer: exact ids, exact bytes back, and clear words about what it cannot take."""

import gzip
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import SPECIAL_TOKENS, byte_strings, special_token_lists, split_texts, texts
from tests.tokenizer.samples import END_OF_TEXT, train_sample
from tokenizer import reference
from tokenizer.encoding import tokenizer as tokenizer_module
from tokenizer.encoding.merging import merge_pretoken
from tokenizer.encoding.tokenizer import Tokenizer
from tokenizer.formats.vocabulary import save_vocabulary

BYTES = {byte: bytes([byte]) for byte in range(256)}
TOKENIZERS = {
    name: train_sample(name, list(SPECIAL_TOKENS))
    for name in ("gpt2", "cl100k", "o200k", r"\w+|\s")
}

KERNEL_TOKENIZER = train_sample("gpt2", list(SPECIAL_TOKENS))


@given(byte_strings(), special_token_lists(), st.sampled_from(["gpt2", "cl100k", r"[a-z]+"]))
def test_ids_are_those_of_the_reference(data: bytes, special: list[str], pattern: str) -> None:
    """On any bytes, trained on the bytes themselves, all ids equal the slow encoder's."""
    vocab, merges = reference.train_bpe(data, 300, special, pattern=pattern)
    expected = reference.encode(data, vocab, merges, special, pattern=pattern)
    assert Tokenizer(vocab, merges, special, pattern=pattern).encode_bytes(data) == expected


@given(texts(), st.sampled_from(sorted(TOKENIZERS)))
def test_decoding_gives_the_text_back(text: str, pattern: str) -> None:
    """For any Unicode text and any pattern, decode(encode(x)) == x."""
    tokenizer = TOKENIZERS[pattern]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(byte_strings(), st.sampled_from(sorted(TOKENIZERS)))
def test_decoding_gives_invalid_bytes_back(data: bytes, pattern: str) -> None:
    """Bytes that are not UTF-8 survive encoding and decoding."""
    tokenizer = TOKENIZERS[pattern]
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data


@given(split_texts(), st.sampled_from(sorted(TOKENIZERS)))
def test_streaming_equals_encoding_at_once(split: tuple[str, list[str]], pattern: str) -> None:
    """However a text is cut, even inside a special token, encode_iterable gives encode's ids."""
    text, pieces = split
    tokenizer = TOKENIZERS[pattern]
    assert list(tokenizer.encode_iterable(pieces)) == tokenizer.encode(text)


@pytest.mark.parametrize("pattern", sorted(TOKENIZERS))
def test_streaming_equals_encoding_at_every_split(pattern: str) -> None:
    """Each way to cut a hard text in two, and into single characters, gives the same ids."""
    text = "it's  we'll !\n\n ab cé!<|endoftext|><|endoftext|> \n<|end of aaaa\r\n 12345 x<|endo"
    tokenizer = TOKENIZERS[pattern]
    expected = tokenizer.encode(text)
    for cut in range(len(text) + 1):
        assert list(tokenizer.encode_iterable([text[:cut], text[cut:]])) == expected
    assert list(tokenizer.encode_iterable(text)) == expected


STREAM = """
import sys, tracemalloc
from tokenizer.encoding.tokenizer import Tokenizer
from tokenizer.formats.vocabulary import save_vocabulary

lines_read = 0

def lines():
    global lines_read
    for _ in range(20_000):
        lines_read += 1
        yield "Once upon a time there was a tiny ship.\\n"

token_ids = Tokenizer.from_folder(sys.argv[1]).encode_iterable(lines())
next(token_ids)
print(lines_read)
tracemalloc.start()
print(sum(1 for _ in token_ids))
print(tracemalloc.get_traced_memory()[1])
"""


def test_streaming_holds_little_and_yields_early(
    small_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """A long stream is encoded in constant memory, its first ids before its second line is read.

    In a process of its own, because memory is counted over all threads.
    """
    vocab, merges = small_tokenizer.vocab, small_tokenizer.merges
    special_tokens, pattern = small_tokenizer.special_tokens, small_tokenizer.pattern
    save_vocabulary(tmp_path, vocab, merges, special_tokens, pattern)
    command = [sys.executable, "-c", STREAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines_read, num_tokens, peak_bytes = map(int, done.stdout.split())
    assert lines_read == 1
    assert num_tokens > 100_000
    assert peak_bytes < 100_000


def test_streaming_a_text_without_a_cut_is_linear(small_tokenizer: Tokenizer) -> None:
    """Many small pieces with no whitespace are looked at few times, not once a piece."""
    assert len(list(small_tokenizer.encode_iterable("ab" for _ in range(50_000)))) > 0


@given(byte_strings())
def test_kernels_and_python_give_the_same_ids(data: bytes) -> None:
    """Long texts go through the kernels, short ones do not, and the ids are the same."""
    python = TOKENIZERS["gpt2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer_module, "FAST_BYTES", 0)
        assert KERNEL_TOKENIZER.encode_bytes(data) == python.encode_bytes(data)


def test_long_texts_go_through_the_kernels() -> None:
    """A long text has the ids of its lines, encoded one by one in Python."""
    tokenizer = train_sample("gpt2", list(SPECIAL_TOKENS))
    line = "Once upon a time there was a tiny ship.<|endoftext|><|endoftext|>\n"
    token_ids = tokenizer.encode(line * 10_000)
    assert token_ids == TOKENIZERS["gpt2"].encode(line) * 10_000


@pytest.fixture(scope="module")
def gpt2_ordinary(gpt2_tokenizer: Tokenizer) -> Tokenizer:
    """GPT-2's tokenizer without special tokens."""
    return Tokenizer(gpt2_tokenizer.vocab, gpt2_tokenizer.merges)


@given(texts(assigned=True))
def test_ids_are_those_of_tiktoken_with_the_gpt2_vocabulary(
    gpt2_tokenizer: Tokenizer,
    gpt2_ordinary: Tokenizer,
    gpt2_tiktoken: tiktoken.Encoding,
    text: str,
) -> None:
    """GPT-2's own files give tiktoken's ids on hard texts, special tokens included."""
    assert gpt2_tokenizer.encode(text) == gpt2_tiktoken.encode(text, allowed_special="all")
    assert gpt2_ordinary.encode(text) == gpt2_tiktoken.encode_ordinary(text)


def test_gpt2_files_keep_their_ids(gpt2_tokenizer: Tokenizer) -> None:
    """Loading GPT-2 renumbers nothing: its bytes and its end of text are where OpenAI put them."""
    assert gpt2_tokenizer.vocab_size == 50257
    assert gpt2_tokenizer.eot_id == 50256
    assert gpt2_tokenizer.encode("!hello world<|endoftext|>") == [0, 31373, 995, 50256]


def test_special_tokens_are_recognised_as_in_the_course() -> None:
    """All special tokens of the constructor count, and of those that overlap the longest."""
    tokenizer = Tokenizer(BYTES, [], ["<|a|>", "<|a|><|a|>"])
    assert tokenizer.encode("<|a|><|a|><|a|>") == [257, 256]
    assert tokenizer.special_token_ids == {"<|a|>": 256, "<|a|><|a|>": 257}
    assert list(tokenizer.encode_iterable("<|a|><|a|><|a|>")) == [257, 256]


@pytest.mark.parametrize("text", ["", "\x00", "a\x00\x00b", "\ufeff", "\ufffd"])
def test_odd_texts_are_kept(small_tokenizer: Tokenizer, text: str) -> None:
    """The empty text, NUL bytes, byte order marks and replacement characters are text."""
    assert small_tokenizer.decode(small_tokenizer.encode(text)) == text


def test_lone_surrogates_are_refused(small_tokenizer: Tokenizer) -> None:
    """UTF-8 cannot express half a surrogate pair, so it has no ids."""
    with pytest.raises(ValueError, match=r"lone surrogate U\+D83D at character 1"):
        small_tokenizer.encode("a\ud83d")
    with pytest.raises(ValueError, match=r"lone surrogate U\+DC80"):
        list(small_tokenizer.encode_iterable(["a", "\udc80"]))


@given(byte_strings())
def test_invalid_bytes_decode_to_replacement_characters(data: bytes) -> None:
    """Text that is not UTF-8 shows U+FFFD, just as Python's own decoding does."""
    tokenizer = TOKENIZERS["gpt2"]
    assert tokenizer.decode(tokenizer.encode_bytes(data)) == data.decode(errors="replace")


@pytest.mark.parametrize("token_id", [-1, 340, 10**9])
def test_unknown_ids_are_named(small_tokenizer: Tokenizer, token_id: int) -> None:
    """An id out of range is an error that names it and the range."""
    with pytest.raises(ValueError, match=f"token id {token_id} .* ids are 0 to 339"):
        small_tokenizer.decode([65, token_id])


def test_arrays_of_ids_decode(small_tokenizer: Tokenizer) -> None:
    """What a shard or a model gives can be decoded as it is."""
    token_ids = np.array(small_tokenizer.encode("a tiny ship"), dtype=np.uint16)
    assert small_tokenizer.decode(token_ids) == "a tiny ship"


def test_token_lengths_are_indexed_by_id(small_tokenizer: Tokenizer) -> None:
    """token_num_bytes gives each token's bytes; a special token counts its text's."""
    sizes = small_tokenizer.token_num_bytes()
    assert sizes.dtype == np.int64
    assert sizes.tolist() == [len(small_tokenizer.vocab[index]) for index in range(340)]
    assert sizes[small_tokenizer.eot_id] == len(END_OF_TEXT)


def test_end_of_text_must_be_a_special_token() -> None:
    """Asking for its id where there is none is an error, not another token's id."""
    with pytest.raises(ValueError, match="not among the special tokens"):
        _ = Tokenizer(BYTES, []).eot_id


@pytest.mark.parametrize(
    ("vocab", "merges", "special", "message"),
    [
        (BYTES, [(b"a", b"b")], [], "refers to token b'ab'"),
        (BYTES | {256: b"ab"}, [(b"a", b"b"), (b"ab", b"?!")], [], r"refers to token b'\?!'"),
        (BYTES | {256: b"ab"}, [(b"a", b"b"), (b"a", b"b")], [], "merge 1 .* is given twice"),
        (
            BYTES | {256: b"ab", 257: b"abc"},
            [(b"ab", b"c"), (b"a", b"b")],
            [],
            "merge 0 .* joins token b'ab', which no earlier merge makes",
        ),
        (BYTES | {256: b""}, [], [], "token with id 256 is empty"),
        (BYTES | {257: b"ab"}, [(b"a", b"b")], [], "must run from 0 to 256"),
        (BYTES | {256: b"a"}, [], [], "b'a' has two ids"),
        ({0: b"a"}, [], [], "byte 0 has no token"),
        (BYTES, [], [""], "special token is empty"),
        (BYTES, [], ["<a>", "<a>"], "'<a>' is given twice"),
        (BYTES, [], ["a"], "'a' is a single byte"),
        (BYTES, [], ["\ud800!"], "lone surrogate"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    vocab: dict[int, bytes], merges: list[tuple[bytes, bytes]], special: list[str], message: str
) -> None:
    """A vocabulary that could give a wrong id is an error when it is made."""
    with pytest.raises(ValueError, match=message):
        Tokenizer(vocab, merges, special)


def test_one_text_is_no_list_of_special_tokens() -> None:
    """A forgotten pair of brackets does not make every character a special token."""
    with pytest.raises(TypeError, match="is one text, not a list"):
        Tokenizer(BYTES, [], "<|endoftext|>")


@pytest.mark.parametrize("pattern", sorted(TOKENIZERS))
@pytest.mark.parametrize("part", ["a", "ab", "the", "aaaab", "世"])
def test_long_runs_stay_near_linear(pattern: str, part: str) -> None:
    """A pretoken of hundreds of thousands of letters takes a second, with any pattern."""
    tokenizer = TOKENIZERS[pattern]
    size = 300_000 // len(part)
    token_ids = tokenizer.encode(part * size)
    assert tokenizer.decode(token_ids) == part * size


def test_very_long_pretokens_have_the_ids_of_shorter_code() -> None:
    """Beyond a length the kernels merge, for any pattern, to the ids that Python gives."""
    letters = "".join(random.Random(0).choices("theabs", k=140_000))
    tokenizer = train_sample("cl100k", [])
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    expected = merge_pretoken(letters.encode(), ranks)
    token_ids = tokenizer.encode(letters)
    assert [tokenizer.vocab[token_id] for token_id in token_ids] == expected


@given(st.text("abc", min_size=100, max_size=300))
def test_long_pretokens_have_the_ids_of_the_reference(text: str) -> None:
    """Hundreds of letters of a small alphabet, full of overlapping pairs, are merged in order."""
    data = text.encode()
    vocab, merges = reference.train_bpe(data, 290, [])
    expected = reference.encode(data, vocab, merges)
    assert Tokenizer(vocab, merges).encode(text) == expected


def test_a_short_encode_imports_no_compiler() -> None:
    """Encoding a word imports neither Numba nor the kernels, so that it starts at once."""
    program = (
        "import sys; from tokenizer.encoding.tokenizer import Tokenizer;"
        "Tokenizer({b: bytes([b]) for b in range(256)}, []).encode('word');"
        "sys.exit(bool({'numba', 'pyarrow', 'fsspec', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_ids_do_not_depend_on_what_was_encoded_before() -> None:
    """The cache of pretokens changes nothing but time."""
    tokenizer = train_sample("gpt2", [])
    first = tokenizer.encode("the ship's crew")
    tokenizer.encode("something else entirely, the shipping crew")
    assert tokenizer.encode("the ship's crew") == first


def test_merges_are_numbered_in_order() -> None:
    """Ids are the bytes, then the merges in order, then the special tokens."""
    tokenizer = train_sample("gpt2", [END_OF_TEXT])
    merged = [left + right for left, right in tokenizer.merges]
    assert [tokenizer.vocab[256 + index] for index in range(len(merged))] == merged
    assert all(later - earlier == 1 for earlier, later in pairwise(tokenizer.vocab))
    assert tokenizer.eot_id == 256 + len(merged)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("tinystories-train", "tinystories-valid", "openwebtext-train", "openwebtext-valid"),
        *("webtext-standin-train", "webtext-standin-valid", "tinystories_sample_5M"),
    ],
)
def test_all_real_text_has_the_ids_of_tiktoken(
    shared_data: Path, gpt2_tokenizer: Tokenizer, gpt2_tiktoken: tiktoken.Encoding, name: str
) -> None:
    """Every document of every shared file has tiktoken's ids, in Python and in the kernels."""
    text = gzip.decompress((shared_data / f"{name}.txt.gz").read_bytes()).decode()
    whole: list[int] = []
    for document in text.split(END_OF_TEXT):
        expected = gpt2_tiktoken.encode(document)
        python = gpt2_tokenizer.encode(document)
        assert python == expected
        whole += [*expected, gpt2_tokenizer.eot_id]
    assert gpt2_tokenizer.encode(text) == whole[:-1]
