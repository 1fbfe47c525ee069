"""Publishing: how staged parts become an artifact, whole or not at all.

All parts get second names in a folder of this attempt, then the record is created, exclusively and
last. So at every moment there is no artifact or a whole one, the first of several publishers wins,
and one that was paused and wakes up late finds the record there and removes only its own attempt.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress

from artifacts import filesystem
from artifacts.checking import remember_stamps
from artifacts.fingerprint import canonical_json
from artifacts.fingerprint import fingerprint as fingerprint_of
from artifacts.record import ExternalFile, JsonObject, Record, Reference
from artifacts.staging import StagedPart, Staging, clear, intact_parts
from artifacts.store import Store, find_record, published_path, record_path


def publish(
    staging: Staging,
    *,
    stage_version: int,
    config: Mapping[str, object],
    inputs: Mapping[str, Reference],
    external_files: Sequence[ExternalFile] = (),
    volatile: Sequence[str] = (),
    statistics: Mapping[str, object] | None = None,
    labels: Mapping[str, str] | None = None,
    code_version: str = "",
    environment: Mapping[str, object] | None = None,
    started_at: str = "",
    seconds: float = 0.0,
    peak_rss_bytes: int = 0,
    deterministic: bool = True,
    prefect_flow_run_id: str | None = None,
    mlflow_run_id: str | None = None,
) -> Record:
    """Make all staged parts visible as one artifact, or return the one that is there already.

    Of several publishers the first wins and the others get its record. The arguments are the
    fields of `Record`.

    Raises:
        ValueError: The fingerprint is not that of config and inputs, a volatile name is no file,
            or there is nothing to publish.
        FileNotFoundError: A part that was added is gone; build again.
        OSError: No space is left; no record was made.
    """
    # In this order: whoever clears the staging place has made its record before.
    parts = sorted(intact_parts(staging), key=lambda part: part.entry.name)
    earlier = find_record(staging.store, staging.stage, staging.fingerprint)
    if earlier is not None:
        return earlier
    _check_promise(staging, parts)
    record = Record(
        stage=staging.stage,
        stage_version=stage_version,
        fingerprint=staging.fingerprint,
        config=_plain_json(config),
        inputs=dict(inputs),
        files=tuple(part.entry for part in parts),
        folder=f"attempt-{uuid.uuid4().hex}",
        external_files=tuple(external_files),
        volatile=tuple(volatile),
        statistics=_plain_json(statistics or {}),
        labels=dict(labels or {}),
        code_version=code_version,
        environment=_plain_json(environment or {}),
        started_at=started_at,
        seconds=seconds,
        peak_rss_bytes=peak_rss_bytes,
        deterministic=deterministic,
        prefect_flow_run_id=prefect_flow_run_id,
        mlflow_run_id=mlflow_run_id,
    )
    _check_record(record)
    return _publish_and_clear(staging, parts, record)


def _publish_and_clear(staging: Staging, parts: Sequence[StagedPart], record: Record) -> Record:
    store = staging.store
    with filesystem.disk_full_explained(store.url):
        winner = _publish_first(store, parts, record)
    if winner == record:
        with suppress(OSError):  # it is published: what follows only saves time and space
            remember_stamps(store, record)
            clear(staging, parts)
    return winner


def _check_promise(staging: Staging, parts: Sequence[StagedPart]) -> None:
    missing = staging.promised.keys() - {part.entry.name for part in parts}
    if missing:
        raise FileNotFoundError(
            f"staged parts {sorted(missing)} of {staging.stage}/{staging.fingerprint[:16]} under "
            f"{staging.store.url} are gone or damaged; run the stage again to build them"
        )


def _plain_json(value: Mapping[str, object]) -> JsonObject:
    """Return what the value will be when the record is read again."""
    plain: JsonObject = json.loads(canonical_json(value))
    return plain


def _check_record(record: Record) -> None:
    inputs = {name: reference.fingerprint for name, reference in record.inputs.items()}
    expected = fingerprint_of(
        stage=record.stage, stage_version=record.stage_version, config=record.config, inputs=inputs
    )
    if record.fingerprint != expected:
        raise ValueError(
            f"{record.stage} was staged as {record.fingerprint[:16]}, but its config and inputs "
            f"have the fingerprint {expected[:16]}; publish with what was fingerprinted"
        )
    names = record.file_names
    if not names:
        raise ValueError(f"{record.stage} has no files to publish; add_part them first")
    if len(set(names)) < len(names):
        raise ValueError(f"file names of {record.stage} must differ: {sorted(names)}")
    unknown = set(record.volatile) - set(names)
    if unknown:
        raise ValueError(f"volatile names {sorted(unknown)} are not among the files {names}")


def _publish_first(store: Store, parts: Sequence[StagedPart], record: Record) -> Record:
    """Copy, then create the record; return it or, if somebody was faster, the one that is there."""
    folder = published_path(store, record)
    try:
        names = {part.path: f"{folder}/{part.entry.name}" for part in parts}
        filesystem.copy_within(store.fs, names)
    except FileNotFoundError:
        # Somebody else may have published, and then cleared the staging place.
        return _give_way(store, record)
    except BaseException:
        filesystem.remove_below(store.fs, folder)
        raise
    # When this raises, it may still have happened on the server: then the attempt stays as it is.
    path = record_path(store, record.stage, record.fingerprint)
    data = json.dumps(record.to_json(), indent=2, allow_nan=False).encode()
    if not filesystem.create_exclusive(store.fs, path, data):
        return _give_way(store, record)
    return record


def _give_way(store: Store, record: Record) -> Record:
    filesystem.remove_below(store.fs, published_path(store, record))
    winner = find_record(store, record.stage, record.fingerprint)
    if winner is None:
        raise FileNotFoundError(
            f"parts or record of {record.stage}/{record.fingerprint[:16]} under {store.url} were "
            "removed while this run published them; run again"
        )
    return winner
