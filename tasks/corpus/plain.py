"""A source of any form as one plain text file, for the stage `download` and `owt tokenizer`."""

from collections.abc import Callable
from pathlib import Path

from tasks.corpus.config import STDLIB_SCHEME
from tasks.corpus.folder import join_folder
from tasks.corpus.form import write_unpacked
from tasks.corpus.source import Source, fetched_file
from tasks.corpus.stdlib import stdlib_text
from tasks.watching.progress import no_guard, progress


def plain_text(
    source: Source, root: Path, destination: Path, guard: Callable[[], None] = no_guard
) -> Path:
    """Return the file with a source's text; one that is plain already is not copied.

    Args:
        source: Where the text is.
        root: The data root, below which a remote source is fetched.
        destination: Where the text is written if it is not a plain file.
        guard: Called with each report of progress; raises to stop the work.
    """
    if source.is_stdlib:
        with destination.open("wb") as file:
            split = source.uri.removeprefix(STDLIB_SCHEME)
            file.writelines(stdlib_text(split, source.document_separator))
        return destination
    original = source.local_path or fetched_file(source, root)
    if source.form == "text":
        return original
    unit = "rows" if source.form == "parquet" else "bytes"
    write = join_folder if source.form == "folder" else write_unpacked
    with progress(f"unpack {source.split}", unit=unit, guard=guard) as on_progress:
        write(
            original,
            destination,
            separator=source.document_separator,
            text_column=source.text_column,
            on_progress=on_progress,
        )
    return destination
