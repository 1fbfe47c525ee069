"""What the shell completes: stages, presets, fields, artifacts. Nothing here may take long."""

from collections.abc import Iterable

from flows.presets import PRESETS
from flows.settings import data_root
from flows.stage_names import stage_names


def complete_preset(incomplete: str) -> list[str]:
    """Complete the name of a preset."""
    return _starting(PRESETS, incomplete)


def complete_stage(incomplete: str) -> list[str]:
    """Complete the name of a stage."""
    return _starting(stage_names(), incomplete)


def complete_setting(incomplete: str) -> list[str]:
    """Complete `section.field=`."""
    return [f"{key}=" for key in complete_field(incomplete)]


def complete_field(incomplete: str) -> list[str]:
    """Complete `section.field`."""
    from flows.explaining.fields import all_fields

    return _starting([field.key for field in all_fields()], incomplete)


def complete_artifact(incomplete: str) -> list[str]:
    """Complete the place of an artifact of the local store."""
    records = (data_root() / "artifacts").glob("[!.]*/*/record.json")
    return _starting(["/".join(path.parts[-3:-1]) for path in records], incomplete)


def complete_model(incomplete: str) -> list[str]:
    """Complete the place of a trained model of the local store."""
    from tasks.text_model import MODEL_STAGE

    return [name for name in complete_artifact(incomplete) if name.startswith(f"{MODEL_STAGE}/")]


def _starting(names: Iterable[str], start: str) -> list[str]:
    return [name for name in names if name.startswith(start)]
