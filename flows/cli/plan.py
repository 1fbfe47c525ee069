"""`owt plan`: what `owt run` would do."""

from flows.cli.options import ConfigFile, Force, From, Only, Preset, Settings


def plan(
    preset: Preset = "smoke",
    config: ConfigFile = None,
    settings: Settings = None,
    only: Only = "",
    start_from: From = "",
    force: Force = None,
) -> None:
    """Say what would be built, from what, and why; run nothing."""
