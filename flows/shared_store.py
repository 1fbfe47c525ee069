"""May several builders share this store? Two of one artifact rely on that the first one wins."""

import uuid

from artifacts import filesystem
from artifacts.store import Store

WAY_OUT = "take a store with conditional writes (docs/stores.md names some)"


def refuse_careless_store(store: Store) -> None:
    """Raise `ValueError` where a second writer would replace what the first created.

    Tries it with a small file. A local disk is careful. A store that cannot be written is not
    judged: whoever only reads harms nobody, and whoever builds is told there.
    """
    if filesystem.local_path(store.fs, store.root) is not None:
        return
    path = f"{store.root}/.try-{uuid.uuid4().hex}"
    try:
        is_careful = first_wins(store, path)
        filesystem.remove(store.fs, path)
    except OSError:
        return
    if not is_careful:
        raise ValueError(
            f"{store.url} lets a second writer replace what the first created, so two runs could "
            f"damage each other's artifacts; {WAY_OUT}"
        )


def first_wins(store: Store, path: str) -> bool:
    """Tell whether a file can be created once only; leaves it there."""
    first = filesystem.create_exclusive(store.fs, path, b"first")
    second = filesystem.create_exclusive(store.fs, path, b"second")
    return first and not second
