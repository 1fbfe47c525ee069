"""The answers to the course's questions about Unicode are what Python does."""

from tokenizer.unicode_answers import (
    decode_byte_by_byte,
    encoding_sizes,
    null_character,
    undecodable_pairs,
    wrong_decoding,
)


def test_the_null_character_is_seen_in_its_representation_only() -> None:
    """`repr` escapes it; printed it shows nothing, but the text has it."""
    found = null_character()
    assert (found.code_point, found.category, found.is_printable) == ("U+0000", "Cc", False)
    assert found.representation == r"'\x00'"
    assert found.text == r"'this is a test\x00string'"
    assert found.text_length == 21


def test_utf8_is_the_shortest_and_has_no_zero_bytes() -> None:
    """UTF-32 takes four bytes a character and UTF-16 two; for English, half or more are zero."""
    for name, (utf8, utf16, utf32) in encoding_sizes().items():
        assert utf8.num_zero_bytes == 0
        assert utf32.num_bytes >= utf16.num_bytes
        if name == "English":
            assert 4 * utf8.num_bytes == 2 * utf16.num_bytes == utf32.num_bytes
            assert 2 * utf16.num_zero_bytes == utf16.num_bytes
    (utf8, utf16, _) = encoding_sizes({"Chinese": "你好"})["Chinese"]
    assert (utf8.num_bytes, utf16.num_bytes) == (6, 4)


def test_decoding_byte_by_byte_is_right_for_ascii_alone() -> None:
    """The first character of two bytes is the first that fails."""
    assert decode_byte_by_byte(b"hello") == "hello"
    found = wrong_decoding(1000)
    assert (found.num_right, found.num_wrong) == (128, 872)
    assert wrong_decoding().num_wrong == 12_288 - 128
    assert (found.example, found.example_bytes) == ("\x80", b"\xc2\x80")
    assert "can't decode byte 0xc2" in found.error


def test_most_pairs_of_bytes_are_no_text() -> None:
    """Two ASCII characters or one of U+0080 to U+07FF; C0 80, an overlong U+0000, is neither."""
    found = undecodable_pairs()
    assert found.num_pairs == 65_536
    assert found.num_decodable == 128 * 128 + (0x800 - 0x80)
    assert found.example == b"\xc0\x80"
    assert "invalid start byte" in found.error
