"""What a run will need soon, begun beside its start: imports, MLflow's database, kernels.

On two cores this hides what a first run would wait for: Prefect's server takes seconds to start,
and so do the libraries' imports and the compiling of kernels.
"""

import gc
import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.settings import (
    COLLECT_AFTER,
    EXPERIMENT,
    artifact_location,
    numba_cache_dir,
    spares_folder,
    tracking_uri,
)
from tasks.execution.kernels import begin_to_compile

LIBRARIES = ("flows.pipeline", "mlflow.tracking")
"""Modules that take seconds to import, in the order in which a run needs them."""


def begin_in_background(root: Path) -> threading.Thread:
    """Begin; the thread ends when everything is imported, and the database is there."""
    begin_to_compile(numba_cache_dir())
    loading = threading.Thread(target=_load, args=(root,), name="load", daemon=True)
    loading.start()
    return loading


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Hold Python's collector of garbage back, which takes a fifth of the time of imports."""
    usual = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _load(root: Path) -> None:
    # Whatever fails here is tried again, and explained, where it is needed.
    with suppress(Exception), collecting_seldom():
        for name in LIBRARIES:
            importlib.import_module(name)
        from flows.logs import quiet_engines
        from tasks.tracking.runs import TrackingTarget, prepare_experiment

        uri = tracking_uri(root)
        target = TrackingTarget(
            uri=uri, experiment=EXPERIMENT, artifact_location=artifact_location(root, uri)
        )
        with quiet_engines():  # Prefect, just loaded, shows everybody's records
            prepare_experiment(target, spares_folder())
