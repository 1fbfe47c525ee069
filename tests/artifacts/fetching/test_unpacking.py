"""Compressed files come out whole and checked, or not at all."""

import gzip
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from artifacts.content_hash import ContentHash
from artifacts.fetching import unpacking
from artifacts.fetching.unpacking import unpack

TEXT = b"Once upon a time there was a byte.\n" * 10_000


def zstd(content: bytes) -> bytes:
    """Return one zstd frame."""
    return zstandard.ZstdCompressor().compress(content)


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstd}


def _content(data: bytes) -> ContentHash:
    return ContentHash(hashlib.sha256(data).hexdigest(), len(data))


@given(parts=st.lists(st.binary(max_size=200), min_size=1, max_size=4))
@pytest.mark.parametrize("kind", PACKERS)
def test_members_and_frames_are_joined(
    tmp_path_factory: pytest.TempPathFactory, kind: str, parts: list[bytes]
) -> None:
    """A file of several members or frames unpacks to their contents in a row, as zcat does."""
    folder = tmp_path_factory.getbasetemp()
    source = folder / f"a.{kind}"
    source.write_bytes(b"".join(PACKERS[kind](part) for part in parts))
    assert unpack(source, folder / "a") == _content(b"".join(parts))
    assert (folder / "a").read_bytes() == b"".join(parts)


@pytest.mark.parametrize("kind", PACKERS)
def test_first_bytes_tell_where_the_name_does_not(tmp_path: Path, kind: str) -> None:
    """A download without a suffix is recognised."""
    (tmp_path / "a").write_bytes(PACKERS[kind](TEXT))
    assert unpack(tmp_path / "a", tmp_path / "b") == _content(TEXT)


def test_plain_file_is_copied(tmp_path: Path) -> None:
    """What is not compressed stays as it is."""
    (tmp_path / "a.txt").write_bytes(TEXT)
    assert unpack(tmp_path / "a.txt", tmp_path / "b") == _content(TEXT)
    (tmp_path / "a.gz").write_bytes(gzip.compress(TEXT))
    packed = (tmp_path / "a.gz").read_bytes()
    assert unpack(tmp_path / "a.gz", tmp_path / "c", compression="none") == _content(packed)


def test_padding_and_skippable_frames_are_skipped(tmp_path: Path) -> None:
    """Zeros after a gzip member and zstd's skippable frames carry no content."""
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"a") + b"\0" * 512 + gzip.compress(b"b"))
    assert unpack(tmp_path / "a.gz", tmp_path / "a") == _content(b"ab")
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"note"
    (tmp_path / "b.zst").write_bytes(skippable + zstd(b"a") + skippable + zstd(b"b"))
    assert unpack(tmp_path / "b.zst", tmp_path / "b") == _content(b"ab")


@pytest.mark.parametrize("kept", [3, 10, 0.5, -1])
@pytest.mark.parametrize("kind", PACKERS)
def test_file_that_is_cut_off_is_refused(tmp_path: Path, kind: str, kept: float) -> None:
    """A cut file leaves nothing behind, and the message says so."""
    packed = PACKERS[kind](TEXT)
    end = int(kept * len(packed)) if kept == 0.5 else int(kept)
    (tmp_path / f"a.{kind}").write_bytes(packed[:end])
    with pytest.raises(ValueError, match=r"ends in the middle|should be"):
        unpack(tmp_path / f"a.{kind}", tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{kind}"]


def test_flipped_bit_is_refused(tmp_path: Path) -> None:
    """The checksum of a gzip member is checked, and an older destination stays."""
    packed = bytearray(gzip.compress(TEXT))
    packed[len(packed) // 2] ^= 1
    (tmp_path / "a.gz").write_bytes(packed)
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(ValueError, match="is damaged"):
        unpack(tmp_path / "a.gz", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("kind", PACKERS)
def test_garbage_after_the_end_is_refused(tmp_path: Path, kind: str) -> None:
    """What follows a member has to be a member."""
    (tmp_path / f"a.{kind}").write_bytes(PACKERS[kind](TEXT) + b"garbage")
    with pytest.raises(ValueError, match="is damaged"):
        unpack(tmp_path / f"a.{kind}", tmp_path / "a")


@pytest.mark.parametrize("content", [b"<html>Not found</html>", b""])
@pytest.mark.parametrize("kind", PACKERS)
def test_name_that_promises_too_much_is_refused(tmp_path: Path, kind: str, content: bytes) -> None:
    """An error page that was saved as a.gz is not a corpus."""
    (tmp_path / f"a.{kind}").write_bytes(content)
    with pytest.raises(ValueError, match="it may be an error page"):
        unpack(tmp_path / f"a.{kind}", tmp_path / "a")


def test_unknown_compression_is_refused(tmp_path: Path) -> None:
    """The message lists what is possible."""
    with pytest.raises(ValueError, match=r"compression \('bz2'\) must be infer, none"):
        unpack(tmp_path / "a", tmp_path / "b", compression="bz2")  # type: ignore[arg-type]


def test_progress_is_in_bytes_of_the_source(tmp_path: Path) -> None:
    """Progress ends at the packed size."""
    (tmp_path / "a.gz").write_bytes(gzip.compress(TEXT))
    size = (tmp_path / "a.gz").stat().st_size
    seen: list[tuple[int, int]] = []
    unpack(tmp_path / "a.gz", tmp_path / "a", on_progress=lambda *step: seen.append(step))
    assert seen[-1] == (size, size)


def _bomb(num_blocks: int, window_log: int) -> bytes:
    """Return a zstd frame of four bytes for each 128 KiB of zeros (RFC 8878, section 3.1.1)."""
    frame = zstandard.FRAME_HEADER + bytes([0, (window_log - 10) << 3])
    kinds = [1 << 1] * (num_blocks - 1) + [1 << 1 | 1]  # a repeated byte; the last one ends
    blocks = [(kind | 2**17 << 3).to_bytes(3, "little") + b"\0" for kind in kinds]
    return frame + b"".join(blocks)


def test_small_file_that_unpacks_to_gigabytes_takes_little_memory(tmp_path: Path) -> None:
    """It comes in pieces, each of which fits easily."""
    (tmp_path / "a.zst").write_bytes(_bomb(2000, window_log=20))
    with (tmp_path / "a.zst").open("rb") as file:
        blocks = unpacking._blocks(file, tmp_path / "a.zst", unpacking._BLOCK_BYTES["zstd"], None)
        sizes = [len(piece) for piece in unpacking._unpacked(blocks, "zstd", tmp_path / "a.zst")]
    assert sum(sizes) == 2000 * 2**17
    assert max(sizes) <= 2**26


def test_file_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    """It says so in its first bytes, and need not hold so much."""
    (tmp_path / "a.zst").write_bytes(_bomb(1, window_log=31))
    with pytest.raises(ValueError, match="asks for more than 128 MiB of memory"):
        unpack(tmp_path / "a.zst", tmp_path / "a")
