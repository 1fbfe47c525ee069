"""Versioned artifacts over any filesystem: fingerprint, record, store, publish, lineage, fetch.

The functions `fingerprint`, `lineage` and `fetch` are imported from their modules of the same name.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifacts.checking import Check, check, quarantine, verify
    from artifacts.fingerprint import canonical_json
    from artifacts.lease import LeaseHeldError, hold_lease, wait_for_lease
    from artifacts.publishing import publish
    from artifacts.record import ExternalFile, FileEntry, Record, Reference
    from artifacts.sources import ContentHash, content_hash
    from artifacts.staging import Staging, add_part, open_staging, staged_parts
    from artifacts.store import (
        DamagedRecordError,
        Store,
        file_uri,
        find_record,
        list_records,
        open_store,
        reference_of,
        resolve,
    )

_MODULES = {
    "checking": ("Check", "check", "quarantine", "verify"),
    "fingerprint": ("canonical_json",),
    "lease": ("LeaseHeldError", "hold_lease", "wait_for_lease"),
    "publishing": ("publish",),
    "record": ("ExternalFile", "FileEntry", "Record", "Reference"),
    "sources": ("ContentHash", "content_hash"),
    "staging": ("Staging", "add_part", "open_staging", "staged_parts"),
    "store": (
        "DamagedRecordError",
        "Store",
        "file_uri",
        "find_record",
        "list_records",
        "open_store",
        "reference_of",
        "resolve",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Check",
    "ContentHash",
    "DamagedRecordError",
    "ExternalFile",
    "FileEntry",
    "LeaseHeldError",
    "Record",
    "Reference",
    "Staging",
    "Store",
    "add_part",
    "canonical_json",
    "check",
    "content_hash",
    "file_uri",
    "find_record",
    "hold_lease",
    "list_records",
    "open_staging",
    "open_store",
    "publish",
    "quarantine",
    "reference_of",
    "resolve",
    "staged_parts",
    "verify",
    "wait_for_lease",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"artifacts.{_HOME[name]}"), name)
