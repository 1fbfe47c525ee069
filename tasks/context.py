"""Facts of a run that change no result, as the tasks get them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect.tasks import exponential_backoff

from artifacts.store import Store, open_store
from lm.config import RunOptions
from tasks.execution.cluster import Cluster
from tasks.tracking.runs import TrackingTarget


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Facts of this run that change no result; plain data that travels between tasks."""

    store_url: str
    """The artifact store."""
    root: str
    """The data root, a local folder: downloads, caches, remembered hashes."""
    workers: int
    """Byte ranges worked on at a time."""
    tracking: TrackingTarget
    labels: Mapping[str, str] = field(default_factory=dict)
    """Names for people that go into the records."""
    code_version: str = ""
    options: RunOptions = field(default_factory=RunOptions)
    """How the language model's library uses this machine."""
    retries: int = 0
    """Times a stage is tried again after a storage or network error."""
    retry_delay_s: float = 0.0
    """Seconds before the first retry; each further one waits twice as long."""
    cluster: Cluster | None = None
    """Where byte ranges are worked on; `None`: in threads of this process."""
    force: tuple[str, ...] = ()
    """Stages that are built again though their artifact is there."""
    required: tuple[str, ...] = ()
    """Stages that must be cached: this run was asked not to build them."""
    flow_run_id: str = ""
    kernel_cache: str = ""
    """Folder of compiled kernels; "": beside their sources."""
    predicted: Mapping[str, float] = field(default_factory=dict)
    """What the stage that is performed is expected to take; goes into its record."""
    source_closure: str = ""
    """Hash of the code of the stage that is performed; goes into its record."""


def store_of(context: RunContext) -> Store:
    """Open the run's artifact store, with its read-through cache under the data root."""
    return open_store(context.store_url, cache_dir=Path(context.root) / "cache")


def retry_options(context: RunContext) -> dict[str, Any]:
    """Return Prefect's options for the retries of this run."""
    delay = exponential_backoff(context.retry_delay_s)
    return {
        "retries": context.retries,
        "retry_delay_seconds": delay,
        "retry_jitter_factor": 0.5,  # those that failed together do not come back together
    }
