"""What a run for the leaderboard hands in: the audit bundle of its evaluation."""

from collections.abc import Sequence

from artifacts.record import JsonObject
from artifacts.store import record_of
from flows.config import PipelineConfig
from flows.context import tracked_settings
from flows.presets import LEADERBOARD, find_preset
from flows.stages import EVALUATION
from flows.summary import StageEnding
from tasks.context import RunContext, store_of
from tasks.corpus.text import text_location
from tasks.leaderboard.bundle import write_entry


def hand_in(
    config: PipelineConfig, context: RunContext, endings: Sequence[StageEnding]
) -> JsonObject | None:
    """Write the audit bundle; `None` where the run has no evaluation, or one without a loss.

    Returns:
        The bundle's folder, and the validation text where it is not the leaderboard's own.
    """
    evaluation = next((end.reference for end in endings if end.stage.name == EVALUATION), None)
    if evaluation is None:
        return None
    store = store_of(context)
    record = record_of(store, evaluation)
    if record.statistics["loss"] is None:
        return None
    folder = write_entry(context, evaluation, tracked_settings(config))
    text = ""
    if config.corpus.valid != find_preset(LEADERBOARD).corpus.valid:
        shards = record_of(store, record.inputs["valid"])
        text = text_location(store, shards.inputs["text"], "valid")
    return {"folder": folder, "text": text}
