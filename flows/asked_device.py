"""Is the device that a run asks for on this machine? Looked at before the first stage."""

from artifacts.store import Store
from flows.config import PipelineConfig
from flows.plan import in_selection, plan_stages
from flows.selection import Selection
from flows.settings import data_root

ON_DEVICE = frozenset({"train_lm", "evaluate", "generate"})


def refuse_missing_device(config: PipelineConfig, store: Store, selection: Selection) -> None:
    """Raise `ValueError` where a stage must be built that this machine cannot build.

    What is cached needs no device. So the plan decides, but only where something is missing.
    """
    if config.run.device in {"auto", "cpu"} and config.train_lm.precision != "tf32":
        return  # torch takes seconds to load
    from lm.machine.probe import check_precision, choose_device

    stages = ON_DEVICE
    try:
        device = choose_device(config.run.options)
        stages = frozenset({"train_lm"})
        check_precision(device, config.train_lm.precision)
    except ValueError:
        rows = in_selection(plan_stages(config, store, data_root()), selection)
        if any(row.stage in stages and row.status != "HIT" for row in rows):
            raise
