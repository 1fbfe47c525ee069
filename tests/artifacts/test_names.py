"""Names from a store stay inside their folder, and places outside it are local files."""

from pathlib import Path

import pytest

from artifacts.names import check_file_name, check_folder, local_place

LONGEST = "/".join(["a" * 204] * 5)
"""A name of 1,024 bytes."""

HARMLESS = ["a", "sub/b.txt", "a b", "a%20b", "ä.txt", "..a", "a..", "ab:c", "a" * 255, LONGEST]
OUTSIDE = [
    "",
    ".",
    "..",
    "/etc/passwd",
    "../a",
    "a/../../b",
    "a//b",
    "./a",
    "a/",
    "a/.",
    "C:a",
    "c:/windows",
    "..\\a",
    "a\\b",
    "a\0b",
    "a\nb",
    "\x7f",
    "\ud800",
    "a" * 256,
    LONGEST + "a",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_name_that_leads_out_is_refused(name: str) -> None:
    """Absolute, upwards, or something else on another system."""
    with pytest.raises(ValueError, match="must be relative"):
        check_file_name(name)


@pytest.mark.parametrize("name", HARMLESS)
def test_odd_but_harmless_name_is_taken(name: str) -> None:
    """Only what leads out is refused."""
    check_file_name(name)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../../victim", "record.json", "a\0", "-"])
def test_folder_is_one_plain_word(name: str) -> None:
    """It is made by the store, so it need not be anything else."""
    with pytest.raises(ValueError, match="must be letters"):
        check_folder(name)


@pytest.mark.parametrize(
    "uri", ["a.txt", "s3://bucket/a", "http://a/b", "file://host/a", "file:a", "memory://a", "\0"]
)
def test_place_elsewhere_is_refused(uri: str) -> None:
    """A record cannot make its reader fetch something."""
    with pytest.raises(ValueError, match="must be an absolute path"):
        local_place(uri)


def test_local_place_is_the_path() -> None:
    """A path is taken as it is, a URL is decoded."""
    assert local_place("/a b%20#?") == Path("/a b%20#?")
    assert local_place("file:///a%20b%23") == Path("/a b#")
