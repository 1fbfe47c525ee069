"""Can this machine do what a stage asks of it? Answered before the first stage, and in the plan."""

from lm.config import Precision, RunOptions


def missing_device(options: RunOptions, precision: Precision | None = None) -> str:
    """Return why this machine has no such device, or one without the precision; "": it has."""
    if options.device in ("auto", "cpu") and precision != "tf32":
        return ""  # torch takes seconds to load
    from lm.machine.probe import check_precision, choose_device

    try:
        device = choose_device(options)
        if precision is not None:
            check_precision(device, precision)
    except ValueError as error:
        return str(error)
    return ""
