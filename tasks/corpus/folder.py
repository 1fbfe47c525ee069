"""A folder of texts as one corpus: which files belong to it, their hash, and the joined text.

Every file below the folder is a document or more, in the order of the paths. Left out are hidden
files, empty ones, and binary ones by git's rule: a zero byte among the first 8,000. What is packed
or Parquet counts as what it holds.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from artifacts.content_hash import ContentHash, content_hash
from tasks.corpus.form import form_of, write_unpacked

_SNIFFED_BYTES = 8000
_BLOCK_BYTES = 2**20


def text_files(folder: Path) -> list[Path]:
    """Return the files of a corpus folder, in the order in which they are joined.

    Raises:
        FileNotFoundError: There is no text in it.
    """
    below = sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: path.relative_to(folder).as_posix(),
    )
    found = [path for path in below if not _is_hidden(path, folder) and _is_text(path)]
    if not below:
        raise FileNotFoundError(f"folder {folder} is empty; put texts into it, or name another one")
    if not found:
        files = "its only file is" if len(below) == 1 else f"its {len(below)} files are all"
        raise FileNotFoundError(
            f"folder {folder} has no text: {files} hidden, empty or binary; put texts into it "
            "(plain, .gz, .zst or .parquet), or name another one"
        )
    return found


def folder_content(folder: Path, memo_dir: Path) -> ContentHash:
    """Return the hash over the texts in their order, and their size; names do not count."""
    digest, size_bytes = hashlib.sha256(), 0
    for path in text_files(folder):
        content = content_hash(path.resolve(), memo_dir=memo_dir)
        digest.update(f"{form_of(path)} {content.sha256}\n".encode())
        size_bytes += content.size_bytes
    return ContentHash(digest.hexdigest(), size_bytes)


def join_folder(
    folder: Path,
    destination: Path,
    *,
    separator: str,
    text_column: str,
    on_progress: Callable[[int, int], None],
) -> None:
    """Write the texts of a folder as one, with the separator between them."""
    files = text_files(folder)
    total = sum(path.stat().st_size for path in files)
    done = 0
    unpacked = destination.with_name(destination.name + ".one")
    with destination.open("wb") as output:
        for number, path in enumerate(files):
            output.write(f"\n{separator}\n".encode() if number else b"")
            form = form_of(path)
            if form != "text":
                write_unpacked(path, unpacked, separator=separator, text_column=text_column)
            with (path if form == "text" else unpacked).open("rb") as text:
                while block := text.read(_BLOCK_BYTES):
                    output.write(block)
            done += path.stat().st_size
            on_progress(done, total)
    unpacked.unlink(missing_ok=True)


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES)
    return bool(start) and (form_of(path) != "text" or b"\0" not in start)
