"""Small files of artifacts, read as JSON."""

import json
from typing import Any

from artifacts.published.reading import local_file
from artifacts.record import JsonObject, Record
from artifacts.store import Store, reference_of


def read_json(store: Store, record: Record, name: str) -> Any:  # an object or a list, by the file
    """Return what a JSON file of an artifact holds."""
    text = local_file(store, reference_of(store, record), name).read_text(encoding="utf-8")
    return json.loads(text)


def read_json_lines(store: Store, record: Record | None, name: str) -> list[JsonObject]:
    """Return the lines of a file; none where there is no artifact, or no such file in it."""
    if record is None or name not in record.file_names:
        return []
    text = local_file(store, reference_of(store, record), name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]
