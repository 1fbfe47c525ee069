"""The one configuration of a run, and the one place where outside input becomes one.

Everything but the section `run` determines what comes out. Imports nothing heavy.
"""

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from lm.config import EvaluateConfig, GenerateConfig, ModelConfig, RunOptions, TrainConfig
from tasks.corpus.config import CorpusConfig
from tasks.execution.cluster import Cluster
from tokenizer.config import TokenizerConfig

if TYPE_CHECKING:
    from pydantic import ValidationError

FOLLOWING = {
    "model.vocab_size": ("tokenizer.vocab_size", "the same number"),
    "train_lm.min_learning_rate": ("train_lm.max_learning_rate", "at the preset's ratio"),
    "train_lm.warmup_steps": ("train_lm.max_steps", "a tenth, where those are fewer"),
    "corpus.valid": ("corpus.train", "a part of another text than the preset's"),
    "corpus.name": ("corpus.train", "the name of the file or folder"),
}
"""Fields that follow another one as long as they are not given, and how."""

RawConfig = dict[str, Any]
"""Sections and fields as they come from outside; of any type until pydantic has looked at them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig(RunOptions):
    """How and where a run is done; never fingerprinted."""

    store: str = ""
    """Artifact store: a folder or any fsspec URL; "": `artifacts` under the data root."""
    workers: int = 0
    """Byte ranges that are counted or encoded at a time; 0: one per CPU core."""
    runner: Literal["threads", "dask"] = "threads"
    """What counts and encodes byte ranges: threads of this process, or the workers of Dask."""
    dask_address: str = ""
    """Scheduler of a Dask cluster, as in tcp://host:8786; its workers need a store they reach."""
    dask_workers: int = 0
    """Processes of a Dask cluster that this machine starts for the run, where no address is set."""
    retries: int = 3
    """Times a stage is tried again after a storage or network error."""
    retry_delay_s: float = 2.0
    """Seconds before the first retry; each further one waits twice as long."""

    def __post_init__(self) -> None:
        """Refuse values that no run can use."""
        # The zero-argument form needs the class cell, which `slots=True` replaces.
        super(RunConfig, self).__post_init__()
        for name in ("workers", "dask_workers", "retries", "retry_delay_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 0")
        if self.runner == "dask" and bool(self.dask_address) == bool(self.dask_workers):
            raise ValueError(
                "runner (dask) needs either dask_address, a scheduler's, or dask_workers, a number "
                "of processes on this machine"
            )
        if self.runner != "dask" and (self.dask_address or self.dask_workers):
            raise ValueError(
                f"runner ({self.runner}) has no use for dask_address or dask_workers; "
                "set run.runner=dask"
            )

    @property
    def cluster(self) -> Cluster | None:
        """Where byte ranges are worked on; `None`: in threads."""
        if self.runner == "threads":
            return None
        return Cluster(address=self.dask_address, workers=self.dask_workers)

    @property
    def options(self) -> RunOptions:
        """The part that the language model's library takes."""
        names = [item.name for item in dataclasses.fields(RunOptions)]
        return RunOptions(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineConfig:
    """From raw text to a model that writes text: one section a stage, and how to run them."""

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train_lm: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        """Check what no section can check alone."""
        if self.model.vocab_size != self.tokenizer.vocab_size:
            raise ValueError(
                f"model.vocab_size ({self.model.vocab_size}) must equal tokenizer.vocab_size "
                f"({self.tokenizer.vocab_size}); leave it out, it follows the tokenizer"
            )
        if self.train_lm.batch_size % self.run.num_processes:
            raise ValueError(
                f"train_lm.batch_size ({self.train_lm.batch_size}) must be a multiple of "
                f"run.num_processes ({self.run.num_processes})"
            )
        if self.corpus.document_separator not in self.tokenizer.special_tokens:
            raise ValueError(
                f"corpus.document_separator ({self.corpus.document_separator!r}) must be one of "
                f"tokenizer.special_tokens {list(self.tokenizer.special_tokens)}; add it there"
            )


def resolve_config(
    preset: PipelineConfig,
    overlay: RawConfig | None = None,
    settings: Sequence[str] = (),
) -> PipelineConfig:
    """Lay a nested mapping, then `section.field=value` settings, over a preset.

    What was not given follows what was, as `FOLLOWING` says.

    Raises `ValueError` that names the field, and for an unknown key the nearest right one.
    """
    # A tenth of a second, which no help page should wait for.
    from pydantic import TypeAdapter, ValidationError

    merged = dataclasses.asdict(preset)
    del merged["model"]["vocab_size"]
    given: set[str] = set()
    for layer in (overlay or {}, *map(parse_setting, settings)):
        given |= _merge(merged, layer, whole=merged)
    merged["model"].setdefault("vocab_size", merged["tokenizer"]["vocab_size"])
    if merged["corpus"]["train"] != preset.corpus.train:
        _follow_training_text(merged["corpus"], given)
    _follow_maximum(merged, preset, given)
    _follow_steps(merged, given)
    try:
        # Strict: `true` is no number, and "3" is none. As JSON, which has lists where we have
        # tuples; a date of TOML is its text, as it would be in quotes.
        text = json.dumps(merged, default=str)
        return TypeAdapter(PipelineConfig).validate_json(text, strict=True, extra="forbid")
    except ValidationError as error:
        raise ValueError(_explain(error)) from None


def recipe_of(config: PipelineConfig) -> dict[str, Any]:
    """Return the settings that determine the result, apart from the text's place."""
    sections = dataclasses.asdict(config)
    return {name: sections[name] for name in sections if name not in ("corpus", "run")}


def parse_setting(setting: str) -> RawConfig:
    """Turn `section.field=value` into a nested mapping; the value is TOML, else a plain string.

    >>> parse_setting("model.d_model=512")
    {'model': {'d_model': 512}}
    """
    key, equals, text = setting.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ValueError(
            f"setting ({setting!r}) must look like section.field=value, as in model.d_model=512"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    for part in reversed(parts):
        value = {part: value}
    return dict(value)


def read_overlay(path: Path) -> RawConfig:
    """Read a TOML file of sections and fields."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"config file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"config file {path} is not valid TOML: {error}") from error


def nearest(name: str, allowed: Sequence[str], *, place: str = "") -> str:
    """Name the allowed key that is nearest to `name`, after the `place` it has, or list them all.

    >>> nearest("d_mdel", ["d_ff", "d_model"])
    'did you mean d_model?'
    """
    if close := closest(name, allowed):
        return f"did you mean {place}{close}?"
    return f"allowed: {', '.join(sorted(allowed))}"


def closest(name: str, allowed: Iterable[str]) -> str:
    """Return the key that is most like `name`, of several the first; "" where none is.

    >>> closest("learning_rate", ["max_learning_rate", "min_learning_rate"])
    'max_learning_rate'
    >>> closest("max_lr", ["max_l2_norm", "max_learning_rate"])
    'max_learning_rate'
    """
    words = "_".join("learning_rate" if word == "lr" else word for word in name.split("_"))
    alike = {key: difflib.SequenceMatcher(None, key, words).ratio() for key in allowed}
    best = max(alike, key=alike.__getitem__, default="")
    return best if best and alike[best] >= 0.5 else ""


def _merge(target: RawConfig, overlay: RawConfig, *, whole: RawConfig, place: str = "") -> set[str]:
    """Lay `overlay` over `target`, a section of `whole`, refusing keys that it does not have.

    Returns:
        The names of the fields that were laid over, such as `model.d_model`.
    """
    given = set()
    for key, value in overlay.items():
        name = f"{place}{key}"
        if key not in target and name != "model.vocab_size":
            raise ValueError(f"unknown key {name}; {_suggest(key, value, target, whole, place)}")
        if isinstance(target.get(key), dict):
            if not isinstance(value, dict):
                raise ValueError(f"{name} ({value!r}) must be a section; set a field of it")
            given |= _merge(target[key], value, whole=whole, place=f"{name}.")
        else:
            target[key] = value
            given.add(name)
    return given


def _suggest(key: str, value: Any, target: RawConfig, whole: RawConfig, place: str) -> str:
    """Name the key that was meant: a field of this name in another section, or a similar one."""
    sections = {name: list(section) for name, section in whole.items()}
    if same := [f"{name}.{key}" for name, fields in sections.items() if key in fields]:
        return f"did you mean {' or '.join(same)}?"
    if place or isinstance(value, dict):
        return nearest(key, list(target), place=place)
    if close := closest(key, (field for fields in sections.values() for field in fields)):
        return _suggest(close, value, target, whole, place)
    return nearest(key, list(target))


def _follow_training_text(corpus: RawConfig, given: set[str]) -> None:
    """Hold documents out of a text of the user's own, and name the corpus by it."""
    if "corpus.valid" not in given:
        corpus["valid"] = ""
    if "corpus.name" not in given:
        name = PurePosixPath(urlsplit(str(corpus["train"])).path).name
        corpus["name"] = name.partition(".")[0] or "own"


def _follow_maximum(merged: RawConfig, preset: PipelineConfig, given: set[str]) -> None:
    """Keep the preset's ratio of the two learning rates where only the maximum was changed."""
    before = preset.train_lm
    for name, section in merged.items():
        maximum = section.get("max_learning_rate", before.max_learning_rate)
        is_given = f"{name}.min_learning_rate" in given
        if maximum == before.max_learning_rate or is_given or not isinstance(maximum, (int, float)):
            continue
        minimum = maximum * before.min_learning_rate / before.max_learning_rate
        # 12 digits: a product such as 0.00030000000000000003 is not what anyone would give.
        section["min_learning_rate"] = float(f"{minimum:.12g}")


def _follow_steps(merged: RawConfig, given: set[str]) -> None:
    """Let the preset's warm-up end before a training that was made shorter than it."""
    for name, section in merged.items():
        if "warmup_steps" not in section or f"{name}.warmup_steps" in given:
            continue
        max_steps, is_by_clock = section["max_steps"], section["max_minutes"]
        if not is_by_clock and isinstance(max_steps, int) and max_steps < section["warmup_steps"]:
            section["warmup_steps"] = max(0, max_steps // 10)


def _explain(error: "ValidationError") -> str:
    """Put the first complaint of pydantic in one line: field, rule, value."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":  # half a character, as in a file name that is not UTF-8
        return "a setting is not valid Unicode text; rename the file, or write the text in UTF-8"
    name = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{name}: {message}" if name else message
    return f"{name} ({first['input']!r}): {message[0].lower()}{message[1:]}"
