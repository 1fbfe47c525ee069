"""Versioned artifacts over any filesystem: fingerprint, record, store, publish, lineage, fetch.

The functions `fingerprint`, `lineage` and `fetch` are imported from their modules of the same name.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artifacts.checking import Check, check, quarantine, verify
    from artifacts.fetch import FetchError, FetchResult
    from artifacts.fingerprint import canonical_json
    from artifacts.lease import LeaseHeldError, hold_lease, wait_for_lease
    from artifacts.lineage import LineageNode, format_lineage
    from artifacts.publishing import publish
    from artifacts.reading import local_file, local_folder
    from artifacts.record import ExternalFile, FileEntry, Record, Reference
    from artifacts.sources import ContentHash, content_hash, recall, remember
    from artifacts.staging import Staging, add_part, open_part, open_staging, staged_parts
    from artifacts.store import (
        DamagedRecordError,
        Store,
        file_uri,
        find_record,
        list_records,
        open_store,
        record_of,
        reference_of,
        resolve,
    )
    from artifacts.unpacking import unpack

_MODULES = {
    "Check": "checking",
    "ContentHash": "sources",
    "DamagedRecordError": "store",
    "ExternalFile": "record",
    "FetchError": "fetch",
    "FetchResult": "fetch",
    "FileEntry": "record",
    "LeaseHeldError": "lease",
    "LineageNode": "lineage",
    "Record": "record",
    "Reference": "record",
    "Staging": "staging",
    "Store": "store",
    "add_part": "staging",
    "canonical_json": "fingerprint",
    "check": "checking",
    "content_hash": "sources",
    "file_uri": "store",
    "find_record": "store",
    "format_lineage": "lineage",
    "hold_lease": "lease",
    "list_records": "store",
    "local_file": "reading",
    "local_folder": "reading",
    "open_part": "staging",
    "open_staging": "staging",
    "open_store": "store",
    "publish": "publishing",
    "quarantine": "checking",
    "recall": "sources",
    "record_of": "store",
    "reference_of": "store",
    "remember": "sources",
    "resolve": "store",
    "staged_parts": "staging",
    "unpack": "unpacking",
    "verify": "checking",
    "wait_for_lease": "lease",
}

__all__ = [
    "Check",
    "ContentHash",
    "DamagedRecordError",
    "ExternalFile",
    "FetchError",
    "FetchResult",
    "FileEntry",
    "LeaseHeldError",
    "LineageNode",
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
    "format_lineage",
    "hold_lease",
    "list_records",
    "local_file",
    "local_folder",
    "open_part",
    "open_staging",
    "open_store",
    "publish",
    "quarantine",
    "recall",
    "record_of",
    "reference_of",
    "remember",
    "resolve",
    "staged_parts",
    "unpack",
    "verify",
    "wait_for_lease",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
