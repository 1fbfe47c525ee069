"""Walks for one trial: which artifacts it is, and making those that only it has."""

from pathlib import Path

from artifacts.identity import Identity, Reference
from artifacts.store import Store
from flows.config import PipelineConfig
from flows.pipeline import Performing
from flows.selection import Selection
from flows.stages import MODEL, TRIAL_STAGES, placeholder, walk_stages
from tasks.context import RunContext, store_of
from tasks.corpus.source import Source, with_known_hash
from tasks.stage import S, Stage


def identify_trial(config: PipelineConfig, store: Store, root: Path) -> dict[str, Identity]:
    """Return the identities of a trial's stages; none while the corpus is unknown."""
    identifying = Identifying(store, root)
    walk_stages(config, identifying)
    return {name: found for name, found in identifying.found.items() if name in TRIAL_STAGES}


def train_and_evaluate(config: PipelineConfig, context: RunContext) -> dict[str, Reference]:
    """Train and evaluate one configuration; the stages before must be there."""
    training = TrainingAlone(context, config)
    walk_stages(config, training)
    return training.made


class Identifying:
    """A visitor that knows artifacts by what they are made from, and looks at none."""

    def __init__(self, store: Store, root: Path) -> None:
        self.store = store
        self.root = root
        self.found: dict[str, Identity] = {}

    def pin(self, source: Source) -> Source:
        """Return the source with its hash, as far as it is known without fetching."""
        return with_known_hash(source, self.root)

    def visit(
        self, stage: Stage[S], settings: S, label: str = "", **inputs: Reference
    ) -> Reference:
        """Return the reference that the artifact has, or will have."""
        del label
        is_known = all(reference.fingerprint for reference in inputs.values())
        identity = stage.identify(settings, **inputs) if is_known else None
        if identity is None:
            return placeholder(stage)
        self.found[stage.name] = identity
        return identity.reference(self.store.url)


class TrainingAlone(Identifying):
    """A visitor that performs the stages of a trial and takes the others as they are."""

    def __init__(self, context: RunContext, config: PipelineConfig) -> None:
        super().__init__(store_of(context), Path(context.root))
        selection = Selection(wanted=frozenset(TRIAL_STAGES), required=(), force=())
        self.performing = Performing(context, selection, config)
        self.made: dict[str, Reference] = {}

    def visit(
        self, stage: Stage[S], settings: S, label: str = "", **inputs: Reference
    ) -> Reference:
        """Perform a stage of the trial; name any other."""
        if stage.name not in TRIAL_STAGES:
            return super().visit(stage, settings, label, **inputs)
        self.made[stage.name] = self.performing.visit(stage, settings, label, **inputs)
        return self.made[stage.name]


def shards_of(identities: dict[str, Identity]) -> frozenset[str]:
    """Return the fingerprints of the token shards that a trial trains on."""
    return frozenset(item.fingerprint for item in identities[MODEL].inputs.values())
