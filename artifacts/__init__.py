"""Versioned artifacts over any filesystem: identity, record, store, publish, lineage, fetch."""
