"""Is the device that a run asks for on this machine? Looked at before the first stage."""

from artifacts.store import Store
from flows.config import PipelineConfig
from flows.plan import in_selection, plan_stages
from flows.selection import Selection
from flows.settings import data_root
from tasks.execution.machine import missing_device


def refuse_missing_device(config: PipelineConfig, store: Store, selection: Selection) -> None:
    """Raise `ValueError` where a stage must be built that this machine cannot build.

    What is cached needs no device. So the plan decides, but only where something is missing.
    """
    if not missing_device(config.run.options, config.train_lm.precision):
        return
    for row in in_selection(plan_stages(config, store, data_root()), selection):
        if row.obstacle and row.status != "HIT":
            raise ValueError(row.obstacle)
