"""What a report is drawn from: records and small files of artifacts, as plain data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import TypeAdapter

from artifacts.identity import Reference
from artifacts.published.reading import local_file
from artifacts.record import JsonObject, Record
from artifacts.store import Store, record_of, reference_of
from tasks.compare_tokenizers import STAGE as COMPARISON_STAGE
from tasks.compare_tokenizers import open_tokenizer
from tasks.experiments.sweep_results import SWEEP_FORMAT, SweepResult
from tasks.report.blocks import Origin
from tasks.report.files import read_json, read_json_lines
from tasks.report.other_corpora import CorpusRun, is_of_other_corpus, read_other_corpora
from tasks.report.settings import ReportSettings

SWEEP_STAGE = "sweep"
SWEEP_FILE = "sweep.json"

_SWEEP = TypeAdapter(SweepResult)


@dataclass(frozen=True, kw_only=True)
class FoundSweep:
    """A sweep's results with the artifact that holds them."""

    result: SweepResult
    record: Record


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Samples drawn with one setting, and how repetitive they are."""

    record: Record
    samples: list[JsonObject]

    @property
    def temperature(self) -> float:
        """Divides the logits."""
        return float(self.record.config["temperature"])

    @property
    def top_p(self) -> float:
        """Probability mass of the nucleus."""
        return float(self.record.config["top_p"])

    @property
    def length(self) -> int:
        """New tokens, at most."""
        return int(self.record.config["max_new_tokens"])


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressText:
    """What the weights of one step write after a prompt."""

    step: int
    prompt: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All artifacts of a report."""

    settings: ReportSettings
    records: Mapping[str, Record] = field(default_factory=dict)
    """By the stage's name in the walk: `encode_shards train`."""
    metrics: list[JsonObject] = field(default_factory=list)
    """Lines of the training's `metrics.jsonl`."""
    timings: list[JsonObject] = field(default_factory=list)
    evaluation: JsonObject = field(default_factory=dict)
    num_train_copies: int | None = None
    """Training documents that repeat an earlier one."""
    generations: tuple[Generation, ...] = ()
    """The run's own first."""
    sweeps: tuple[FoundSweep, ...] = ()
    comparison: Record | None = None
    """This tokenizer beside those of other corpora."""
    progress: tuple[ProgressText, ...] = ()
    """A text at each validation of the training."""
    others: tuple[CorpusRun, ...] = ()
    """Finished runs on other corpora."""

    @cached_property
    def model(self) -> Record | None:
        """The trained model."""
        return self.records.get("train_lm")

    def statistics(self, name: str) -> JsonObject:
        """Return what a stage found out; nothing where it was not run."""
        record = self.records.get(name)
        return record.statistics if record else {}

    def sweeps_of(self, *kinds: str) -> list[FoundSweep]:
        """Return the sweeps of these kinds."""
        return [sweep for sweep in self.sweeps if sweep.result.kind in kinds]

    def origin(self, command: str, names: Iterable[str]) -> Origin:
        """Return where numbers that come from these stages come from."""
        records = [self.records[name] for name in names if name in self.records]
        return origin_of(f"owt {command} {self.settings.arguments}".strip(), records)


def origin_of(command: str, records: Iterable[Record]) -> Origin:
    """Return the command that gives numbers again, and a line for each artifact they are from."""
    return Origin(command=command, lines=tuple(describe(record) for record in records))


def describe(record: Record) -> str:
    """Return an artifact's line: place, fingerprint, code, libraries, machine, date."""
    environment = record.environment
    libraries = ", ".join(
        f"{name} {environment[name]}" for name in ("torch", "numpy", "numba") if name in environment
    )
    parts = (
        record.place,
        f"sha256 {record.fingerprint}",
        f"code {record.code_version or 'unknown'}",
        f"Python {environment.get('python', 'unknown')}",
        libraries,
        str(environment.get("platform", "")),
        record.started_at,
    )
    return "; ".join(part for part in parts if part)


def gather(store: Store, settings: ReportSettings, inputs: Mapping[str, Reference]) -> Evidence:
    """Read everything that the page shows; large files stay where they are."""
    records = {name: record_of(store, reference) for name, reference in inputs.items()}
    walk = {name: records[name] for name in settings.stages if name in records}
    extra = [
        record
        for name, record in records.items()
        if name not in walk and not is_of_other_corpus(name)
    ]
    model, evaluation = walk.get("train_lm"), walk.get("evaluate")
    generations = [walk["generate"]] if "generate" in walk else []
    generations += [record for record in extra if record.stage == "generate"]
    return Evidence(
        settings=settings,
        records=walk,
        metrics=read_json_lines(store, model, "metrics.jsonl"),
        timings=read_json_lines(store, model, "timings.jsonl"),
        evaluation=read_json(store, evaluation, "evaluation.json") if evaluation else {},
        num_train_copies=_num_copies(store, walk.get("download train")),
        generations=tuple(
            Generation(record=record, samples=read_json(store, record, "samples.json"))
            for record in generations
        ),
        sweeps=tuple(
            FoundSweep(result=read_sweep(read_json(store, record, SWEEP_FILE)), record=record)
            for record in extra
            if record.stage == SWEEP_STAGE
        ),
        comparison=next((record for record in extra if record.stage == COMPARISON_STAGE), None),
        progress=_progress(store, model, inputs.get("train_tokenizer")),
        others=read_other_corpora(store, records),
    )


def read_sweep(data: JsonObject) -> SweepResult:
    """Return a sweep's result from its JSON.

    Raises:
        ValueError: It is in another form than this version reads.
    """
    found = data.get("format")
    if found != SWEEP_FORMAT:
        raise ValueError(
            f"the sweep's result has form {found}, and this version reads {SWEEP_FORMAT}; "
            "run the sweep again"
        )
    return _SWEEP.validate_python(data)


def _progress(
    store: Store, model: Record | None, tokenizer: Reference | None
) -> tuple[ProgressText, ...]:
    """Decode what a training wrote at its validations."""
    lines = read_json_lines(store, model, "samples.jsonl")
    if tokenizer is None or not lines:
        return ()
    decode = open_tokenizer(store, tokenizer).decode
    return tuple(
        ProgressText(
            step=line["step"], prompt=decode(line["prompt_ids"]), text=decode(line["token_ids"])
        )
        for line in lines
    )


def _num_copies(store: Store, record: Record | None) -> int | None:
    """Count the documents that repeat an earlier one of the same text."""
    import numpy as np

    if record is None:
        return None
    hashes = np.load(local_file(store, reference_of(store, record), "document_hashes.npy"))
    return len(hashes) - len(np.unique(hashes, axis=0))
