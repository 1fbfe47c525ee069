"""The unfinished file of a download, what it must become, and where it goes in the end."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from artifacts import filesystem
from artifacts.content_hash import ContentHash, content_hash


@dataclass(frozen=True, slots=True)
class Pin:
    """Expected hash and size of a file; None where unknown."""

    sha256: str | None
    size_bytes: int | None

    def content_of(self, path: Path) -> ContentHash | None:
        """Return the content of a file if it is the expected one; None if not, or if unknown."""
        if (self.sha256 is None and self.size_bytes is None) or not path.is_file():
            return None
        if self.size_bytes not in (None, path.stat().st_size):
            return None
        content = content_hash(path, memo_dir=None)
        return content if self.sha256 in (None, content.sha256) else None

    def problem(self, content: ContentHash) -> str:
        """Return what is wrong with a file's content, or nothing."""
        if self.size_bytes not in (None, content.size_bytes):
            return f"size: expected {self.size_bytes:,} bytes, found {content.size_bytes:,} bytes"
        if self.sha256 not in (None, content.sha256):
            return f"sha256: expected {self.sha256}, found {content.sha256}"
        return ""


class Part:
    """The file under its temporary name, with the hash of what it holds so far."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.note_path = path.with_name(f"{path.name}.json")
        self.file = file
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self.farthest = 0
        """The most bytes that were ever here. Only more than that is progress."""
        self.joined = False
        """Whether it holds pieces of several connections."""
        self.validator, self.total_bytes = self._read_note()
        file.seek(0)
        while block := file.read(filesystem.BLOCK_BYTES):
            self._count(block)

    def _read_note(self) -> tuple[str, int | None]:
        try:
            note = json.loads(self.note_path.read_bytes())
            return str(note["validator"]), note["total_bytes"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return "", None

    def describe(self, validator: str, total_bytes: int | None) -> None:
        """Remember which version of which file this is a part of."""
        self.validator, self.total_bytes = validator, total_bytes
        note = {"validator": validator, "total_bytes": total_bytes}
        self.note_path.write_text(json.dumps(note))

    def append(self, block: bytes) -> None:
        """Add what has arrived."""
        self.file.write(block)
        self._count(block)

    def _count(self, block: bytes) -> None:
        self.digest.update(block)
        self.size_bytes += len(block)
        self.farthest = max(self.farthest, self.size_bytes)

    def restart(self) -> None:
        """Forget all content."""
        self.file.seek(0)
        self.file.truncate()
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self.joined = False

    def content(self) -> ContentHash:
        """Return what the file holds now, safely on disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        return ContentHash(self.digest.hexdigest(), self.size_bytes)


@contextmanager
def locked_part(destination: Path) -> Iterator[Part]:
    """Open the part file of a destination once no other process has it open here."""
    path = destination.with_name(f"{destination.name}.part")
    while True:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # The process that had the lock may have renamed the file: then it is no part any more.
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                yield Part(path, file)
                return


def move_aside(path: Path, content: ContentHash) -> Path:
    """Rename a file that is not the expected one, and return its new path."""
    name = path.name.removesuffix(".part")
    aside = path.with_name(f"{name}.bad-{content.sha256[:8]}")
    path.replace(aside)
    return aside


def put_in_place(part: Part, destination: Path) -> None:
    """Give the finished file its name; another file of that name is moved aside."""
    if destination.is_file():
        move_aside(destination, content_hash(destination, memo_dir=None))
    part.path.replace(destination)
    part.note_path.unlink(missing_ok=True)
