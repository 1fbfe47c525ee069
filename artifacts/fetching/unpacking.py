"""Unpacking: from a compressed file to a plain one, in small blocks, whole or not at all."""

import hashlib
import os
import re
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Literal, Protocol

import zstandard

from artifacts import filesystem
from artifacts.content_hash import ContentHash
from artifacts.filesystem import OnProgress

Compression = Literal["infer", "none", "gzip", "zstd"]

_BLOCK_BYTES = {"none": 2**20, "gzip": 64 * 2**10, "zstd": 2 * 2**10}
"""Small, because a decoder returns all that a block unpacks to: gzip up to a thousand times its
size, zstd 32 thousand times (4 bytes say "128 KiB of this byte", RFC 8878 section 3.1.1.2)."""

_MAGIC = {"gzip": rb"\x1f\x8b", "zstd": rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"}
"""First bytes of a file: RFC 1952 section 2.3.1, RFC 8878 sections 3.1.1 and 3.1.2 (the latter for
skippable frames: pzstd writes one first)."""

_SUFFIXES = {".gz": "gzip", ".zst": "zstd"}

_ZLIB_GZIP_BITS = 31
"""16 + 15 reads one gzip member and its checksum (zlib's manual, inflateInit2)."""

_ZSTD_WINDOW_BYTES = 2**27
"""Memory that a file may ask for: what the zstd program allows, too, unless it is told more."""


class _Decoder(Protocol):
    """One gzip member or zstd frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def unpack(
    source: Path,
    destination: Path,
    *,
    compression: Compression = "infer",
    on_progress: OnProgress | None = None,
) -> ContentHash:
    """Write the unpacked content of a file, and return its hash and size.

    Args:
        source: A plain, gzip (any number of members) or zstd (any number of frames) file.
        destination: Written under a temporary name, then renamed.
        compression: `infer` looks at the name's `.gz` or `.zst`, else at the first bytes.
        on_progress: Called with bytes of the source done and in all.

    Raises:
        ValueError: The content is cut off or damaged, or not what the name says.
        OSError: No space is left.
    """
    kind = _kind(source, compression)
    temporary = destination.parent / f".{destination.name}.{uuid.uuid4().hex}"
    destination.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size_bytes = 0
    try:
        with (
            filesystem.storage_explained(str(destination.parent)),
            source.open("rb") as packed,
            temporary.open("xb") as plain,
        ):
            blocks = _blocks(packed, source, _BLOCK_BYTES[kind], on_progress)
            for block in _unpacked(blocks, kind, source):
                digest.update(block)
                size_bytes += len(block)
                plain.write(block)
            plain.flush()
            os.fsync(plain.fileno())
        temporary.replace(destination)
    finally:
        temporary.unlink(missing_ok=True)
    return ContentHash(digest.hexdigest(), size_bytes)


def _kind(source: Path, compression: Compression) -> str:
    if compression not in ("infer", "none", "gzip", "zstd"):
        raise ValueError(f"compression ({compression!r}) must be infer, none, gzip or zstd")
    if compression == "none":
        return "none"
    with source.open("rb") as file:
        start = file.read(4)
    found = next((kind for kind, magic in _MAGIC.items() if re.match(magic, start)), "none")
    said = _SUFFIXES.get(source.suffix, found) if compression == "infer" else compression
    if said != found:
        raise ValueError(
            f"{source} should be {said}, but its first bytes are {start!r}; it may be an error "
            'page under the name of a file. Fetch it again, or give compression="none"'
        )
    return found


def _blocks(
    file: IO[bytes], source: Path, block_bytes: int, on_progress: OnProgress | None
) -> Iterator[bytes]:
    total = source.stat().st_size
    done = 0
    while block := file.read(block_bytes):
        yield block
        done += len(block)
        if on_progress:
            on_progress(done, total)


def _unpacked(blocks: Iterator[bytes], kind: str, source: Path) -> Iterator[bytes]:
    if kind == "none":
        yield from blocks
        return
    new_decoder: Callable[[], _Decoder] = _gzip_decoder if kind == "gzip" else _zstd_decoder
    try:
        yield from _decoded(blocks, new_decoder, source)
    except (zlib.error, zstandard.ZstdError) as error:
        if "too much memory" in str(error):
            raise ValueError(
                f"{source} asks for more than {_ZSTD_WINDOW_BYTES // 2**20} MiB of memory to be "
                "unpacked; unpack it yourself (zstd -d --long=31), and give the plain file"
            ) from error
        raise ValueError(f"{source} is damaged ({error}); fetch it again") from error


def _gzip_decoder() -> _Decoder:
    return zlib.decompressobj(_ZLIB_GZIP_BITS)


def _zstd_decoder() -> _Decoder:
    return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()


def _decoded(
    blocks: Iterator[bytes], new_decoder: Callable[[], _Decoder], source: Path
) -> Iterator[bytes]:
    """Yield the content of all members or frames, one after the other."""
    decoder: _Decoder | None = None
    for block in blocks:
        data = block
        while data:
            if decoder is None:
                # gzip files may be padded with zeros (as tapes were), between and after members.
                data = data.lstrip(b"\0")
                if not data:
                    break
                decoder = new_decoder()
            yield decoder.decompress(data)
            data = decoder.unused_data if decoder.eof else b""
            if decoder.eof:
                decoder = None
    if decoder is not None:
        raise ValueError(f"{source} ends in the middle: it is cut off; fetch it again")
