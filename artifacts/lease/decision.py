"""The decision which record an artifact gets: a link of its chain that holds the whole record.

A builder that publishes and one that takes over want to create the same number of the chain, so
only one of them can. After the decision `record.json` is a copy. Whoever finds it missing creates
it with the same bytes, so nobody has to wait for a builder that died or sleeps in between.
"""

from dataclasses import replace

from artifacts import filesystem
from artifacts.content_hash import stamps_below
from artifacts.identity import ArtifactKey
from artifacts.json_text import parse_json
from artifacts.lease import lease_chain
from artifacts.lease.lease_chain import Link, Note
from artifacts.record import Record
from artifacts.store import Store, published_path, record_path


def decide(store: Store, key: ArtifactKey, after: Link, note: Note, record: str) -> bool:
    """Make this the text of the record, and return whether the builder still had the lease.

    The files that the record names must be there.
    """
    decided = replace(note, state="publishing", record=record)
    return lease_chain.append(store, key, after, decided)


def complete(store: Store, key: ArtifactKey, link: Link) -> None:
    """Create the record of a decided link, unless its files went away since (quarantine)."""
    assert link.note is not None
    try:
        record = Record.from_json(parse_json(link.note.record))
    except ValueError:
        return  # a damaged note decides nothing
    if (record.stage, record.fingerprint) != (key.stage, key.fingerprint):
        return
    found = stamps_below(store.fs, published_path(store, record))
    sizes = {name: stamp.size_bytes for name, stamp in found.items()}
    if all(sizes.get(entry.name) == entry.size_bytes for entry in record.files):
        path = record_path(store, key)
        filesystem.create_exclusive(store.fs, path, link.note.record.encode())
