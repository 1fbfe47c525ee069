"""How MLflow's list stays short: runs that repeat another one, or led to it, are its children.

MLflow folds the runs whose tag names a parent. Runs of the same settings are one family.
"""

import hashlib
import json
from typing import Any

from tasks.tracking.runs import PARENT_TAG, TrackedRun

FAMILY_TAG = "owt.settings"
"""Tag of a flow run's MLflow run: a hash of its settings."""
MAX_RUNS = 1000
DIGITS = 12


def family_tag(settings: dict[str, Any]) -> dict[str, str]:
    """Return the tag that runs of these settings share."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return {FAMILY_TAG: hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}


def join_family(run: TrackedRun, settings: dict[str, Any], *, built_nothing: bool) -> None:
    """Fold what is no result of its own.

    A run that built nothing goes below the finished one that it repeats; otherwise the attempts
    that did not end well go below the run that did.
    """

    def join(client: Any) -> None:
        (name, value), *_ = family_tag(settings).items()
        found = client.search_runs(
            [run.experiment_id], filter_string=f"tags.`{name}` = '{value}'", max_results=MAX_RUNS
        )
        family = [
            other
            for other in found  # the newest first
            if other.info.run_id != run.run_id and PARENT_TAG not in other.data.tags
        ]
        if built_nothing:
            finished = [other for other in family if other.info.status == "FINISHED"]
            if finished:
                client.set_tag(run.run_id, PARENT_TAG, finished[0].info.run_id)
            return
        for other in family:
            if other.info.status in ("KILLED", "FAILED"):
                client.set_tag(other.info.run_id, PARENT_TAG, run.run_id)

    run.attempt(join)
