"""Publishing: how staged parts become an artifact, whole or not at all.

All parts get second names in a folder of this attempt. Then the record is created, exclusively and
last. So at every moment there is no artifact or a whole one, and the first of several publishers
wins. One that was paused and wakes up late finds the record and removes only its own attempt. A
builder with a lease publishes only if it still has it at the moment of publishing (`decision`).
"""

import errno
import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace

from artifacts import filesystem
from artifacts.building.staging import StagedPart, Staging, clear, intact_parts
from artifacts.content_hash import stamps_below
from artifacts.fingerprint import canonical_json
from artifacts.identity import Identity
from artifacts.lease.lease import Lease, LeaseLostError
from artifacts.published.checking import check, quarantine, remember_stamps
from artifacts.record import BuildFacts, JsonObject, Record
from artifacts.store import Store, find_record, published_path, record_path


def publish(staging: Staging, identity: Identity, facts: BuildFacts) -> Record:
    """Make all staged parts visible as one artifact, or return the one that is there already.

    Of several publishers the first wins and the others get its record.

    Raises:
        ValueError: The parts were staged for another identity, a volatile name is no file, or there
            is nothing to publish.
        FileNotFoundError: A part that was added is gone; build again.
        LeaseLostError: Another builder has the lease now; no record was made.
        OSError: No space is left; no record was made.
    """
    # Parts first, then the record: who clears the staging place has created the record before.
    parts = sorted(intact_parts(staging), key=lambda part: part.entry.name)
    earlier = find_record(staging.store, staging.key)
    if earlier is not None:
        return earlier
    _check_promise(staging, parts)
    record = _new_record(parts, identity, facts)
    _check_record(staging, record)
    return _publish_and_clear(staging, parts, record)


def _new_record(parts: Sequence[StagedPart], identity: Identity, facts: BuildFacts) -> Record:
    facts = replace(
        facts,
        statistics=_plain_json(facts.statistics),
        environment=_plain_json(facts.environment),
    )
    return Record(
        stage=identity.stage,
        stage_version=identity.version,
        fingerprint=identity.fingerprint,
        config=_plain_json(identity.config),
        inputs=dict(identity.inputs),
        files=tuple(part.entry for part in parts),
        folder=f"attempt-{uuid.uuid4().hex}",
        **{item.name: getattr(facts, item.name) for item in fields(facts)},
    )


def _publish_and_clear(staging: Staging, parts: Sequence[StagedPart], record: Record) -> Record:
    store = staging.store
    with filesystem.storage_explained(store.url):
        winner = _publish_first(staging, parts, record)
    if winner == record:
        with suppress(OSError):  # it is published: the rest only saves time and space
            remember_stamps(store, record)
            clear(staging, parts)
    return winner


def _check_promise(staging: Staging, parts: Sequence[StagedPart]) -> None:
    missing = staging.promised.keys() - {part.entry.name for part in parts}
    if missing:
        raise FileNotFoundError(
            f"staged parts {sorted(missing)} of {staging.key.place} under "
            f"{staging.store.url} are gone or damaged; run the stage again to build them"
        )


def _plain_json(value: Mapping[str, object]) -> JsonObject:
    """Return what the value will be when the record is read again."""
    plain: JsonObject = json.loads(canonical_json(value))
    return plain


def _check_record(staging: Staging, record: Record) -> None:
    # From the record, as everybody will read it, not from the identity that was given.
    expected = record.identity
    if staging.key.fingerprint != expected.fingerprint:
        raise ValueError(
            f"the parts were staged for {staging.key.place}, but config and inputs are those of "
            f"{expected.place}; publish with what was fingerprinted"
        )
    names = record.file_names
    if not names:
        raise ValueError(f"{record.stage} has no files to publish; add_part them first")
    if len(set(names)) < len(names):
        raise ValueError(f"file names of {record.stage} must differ: {sorted(names)}")
    unknown = set(record.volatile) - set(names)
    if unknown:
        raise ValueError(f"volatile names {sorted(unknown)} are not among the files {names}")


def _publish_first(staging: Staging, parts: Sequence[StagedPart], record: Record) -> Record:
    """Copy, then create the record. Return it, or the one of a publisher that was faster."""
    store = staging.store
    folder = published_path(store, record)
    try:
        names = {part.path: f"{folder}/{part.entry.name}" for part in parts}
        filesystem.copy_within(store.fs, names)
    except FileNotFoundError:
        # Another publisher may have won, and then cleared the staging place.
        return _give_way(store, record)
    except BaseException:
        filesystem.remove_below(store.fs, folder)
        raise
    _check_copies(store, record)
    text = json.dumps(record.to_json(), indent=2, allow_nan=False)
    if staging.lease is not None:
        _decide(staging.lease, record, text)
    # If this raises, the server may have created the record all the same: so the files stay.
    while not filesystem.create_exclusive(store.fs, record_path(store, record), text.encode()):
        if staging.lease is None or not _set_aside_damaged(store, record):
            return _give_way(store, record)
    return record


def _check_copies(store: Store, record: Record) -> None:
    """Raise an error that may pass where a store took a copy and does not have it."""
    if filesystem.local_path(store.fs, store.root) is not None:
        return
    found = stamps_below(store.fs, published_path(store, record))
    for entry in record.files:
        stamp = found.get(entry.name)
        if stamp is None or stamp.size_bytes != entry.size_bytes:
            filesystem.remove_below(store.fs, published_path(store, record))
            raise OSError(errno.EIO, f"the store lost {entry.name} while it was published")


def _decide(lease: Lease, record: Record, text: str) -> None:
    try:
        lease.publish(text)
    except LeaseLostError:
        # A successor that found the decision has created the record before it took the lease.
        if find_record(lease.store, record) == record:
            return
        filesystem.remove_below(lease.store.fs, published_path(lease.store, record))
        raise


def _set_aside_damaged(store: Store, record: Record) -> bool:
    """Move a damaged artifact away that somebody who slept for long has published meanwhile."""
    found = check(store, record)
    return found.status == "stale" and bool(
        quarantine(store, record, found.reason, expected=found.record)
    )


def _give_way(store: Store, record: Record) -> Record:
    filesystem.remove_below(store.fs, published_path(store, record))
    winner = find_record(store, record)
    if winner is None:
        raise FileNotFoundError(
            f"parts or record of {record.place} under {store.url} were "
            "removed while this run published them; run again"
        )
    return winner
