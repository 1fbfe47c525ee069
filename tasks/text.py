"""Where the text of a corpus artifact can be read, in place, by any stage."""

from artifacts.identity import Reference
from artifacts.store import Store, file_uri


def text_name(split: str) -> str:
    """Return the name of a split's text in its corpus artifact."""
    return f"{split}.txt"


def text_location(store: Store, text: Reference, split: str) -> str:
    """Return the local path or the URL of a split's text; large texts are read by byte range."""
    return file_uri(store, text, text_name(split)).removeprefix("file://")
