"""The assertion of a sweep that each of its variants differs from the baseline."""

from flows.config import PipelineConfig
from flows.sweeps.design import Design
from flows.sweeps.trials import overridden


def refuse_arms_without_effect(design: Design, base: PipelineConfig) -> None:
    """Compare weights after three steps, and the rates of the whole run, with the baseline's.

    Raises:
        ValueError: An arm trains exactly as the baseline does, so the sweep would find nothing.
    """
    from lm.training.effect import training_effect

    if not design.against:
        return
    effects = {}
    for arm in design.arms:
        config = overridden(base, arm.overrides)
        batch = (config.train_lm.batch_size, config.train_lm.max_steps)
        effects[arm.name] = (training_effect(config.model, config.train_lm), batch)
    for name, effect in effects.items():
        if name != design.against and effect == effects[design.against]:
            overrides = next(dict(arm.overrides) for arm in design.arms if arm.name == name)
            raise ValueError(
                f"the arm {name} {overrides} changes nothing: weights after 3 steps and all rates "
                f"are those of {design.against}; leave it out, or start from another preset"
            )
