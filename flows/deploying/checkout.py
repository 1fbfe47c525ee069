"""The pull step of every deployment: a run works in the checkout that its code comes from."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
"""The checkout, or the working directory of an image: the packages are installed editable."""


def enter_checkout() -> dict[str, str]:
    """Make the checkout the working directory, as `prefect.yaml` asks.

    Prefect starts each run of a process pool in a temporary folder and removes that afterwards;
    the default data root and all relative paths would be in there.
    """
    os.chdir(CHECKOUT)
    return {"directory": str(CHECKOUT)}
