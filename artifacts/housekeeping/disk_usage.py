"""How much of the store what takes: artifacts by stage, and what is not published."""

from collections import Counter
from dataclasses import dataclass

from artifacts import filesystem
from artifacts.record import Record
from artifacts.store import Store, scan_records

AREAS = {
    ".staging": "work that is not published",
    ".quarantine": "set aside as damaged",
    ".cache": "copies of files from elsewhere",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """One line of the list."""

    what: str
    count: int
    """Artifacts; 0 where there are none to count."""
    size_bytes: int
    note: str = ""


def disk_usage(store: Store) -> list[Usage]:
    """Return the size of each stage's artifacts, as their records say, and of the rest.

    On one disk a staged and a published file may be the same data, which is counted twice.
    """
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for record in scan_records(store):
        if isinstance(record, Record):
            counts[record.stage] += 1
            sizes[record.stage] += sum(entry.size_bytes for entry in record.files)
    found = [Usage(stage, counts[stage], size) for stage, size in sizes.most_common()]
    for area, note in AREAS.items():
        size_bytes, _ = filesystem.size_and_change(store.fs, f"{store.root}/{area}")
        if size_bytes:
            found.append(Usage(area, 0, size_bytes, note))
    return found
