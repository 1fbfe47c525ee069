"""The head of the page: question and verdict in a line each, and what limits the numbers."""

from collections.abc import Sequence

from lm.accounting.parameters import num_parameters
from lm.config import ModelConfig
from tasks.report.blocks import Excerpt, NotRun, Section, Table
from tasks.report.evidence import Evidence, describe
from tasks.report.wording import count, difference, loss, seconds


def question(evidence: Evidence) -> str:
    """Ask what the run is to answer."""
    config = evidence.settings.config
    size = num_parameters(ModelConfig(**config["model"]))
    return (
        f"How well does a model of {count(size)} parameters learn {evidence.settings.corpus} "
        f"with the settings of {evidence.settings.preset}?"
    )


def verdict(evidence: Evidence) -> str:
    """Answer with the loss, held against what needs no model."""
    facts = evidence.evaluation
    if not facts:
        return "Not run yet: there is no evaluation in the store."
    value = float(facts["loss"])
    error = facts.get("standard_error_over_documents")
    unigram, bigram = float(facts["unigram_entropy"]), float(facts["bigram_entropy"])
    if value >= unigram:
        place = "no better than single-token frequencies"
    elif value >= bigram:
        place = "better than single-token frequencies, not yet than frequencies of pairs"
    else:
        place = "better than frequencies of pairs of tokens"
    bits = facts.get("bits_per_byte")
    in_bits = f" ({bits:.3f} bits a byte)" if bits is not None else ""
    return (
        f"{loss(value, error)} nats a token{in_bits}: {place} "
        f"(unigram entropy {loss(unigram)}, bigram {loss(bigram)})."
    )


def facts(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """Return what a reader must know first."""
    settings, record = evidence.settings, evidence.model
    config = settings.config
    found = [
        ("Corpus", settings.corpus),
        ("Preset", settings.preset),
        ("Vocabulary", count(config["model"]["vocab_size"])),
        ("Context", f"{count(config['model']['context_length'])} tokens"),
    ]
    if record is not None:
        environment = record.environment
        found += [
            ("Trained on", f"{count(record.statistics['tokens_seen'])} tokens"),
            ("Training time", seconds(float(record.statistics["seconds"]))),
            ("Device", str(record.statistics["environment"]["device"])),
            (
                "Machine",
                f"{str(environment.get('platform', '')).partition('-')[0]} "
                f"{environment.get('machine', '')}".strip(),
            ),
            ("Code", record.code_version or "unknown"),
            ("Trained at", record.started_at[:16].replace("T", " ") + " UTC"),
        ]
    return tuple(found)


def negative_section(evidence: Evidence) -> Section:
    """List what did not work, did not matter or could not be decided."""
    rows = [
        *_lost_trials(evidence),
        *_undecided(evidence),
        *_flaws(evidence),
    ]
    if not evidence.sweeps and not rows:
        command = f"owt sweep ablations {evidence.settings.arguments}"
        blocks: tuple[Table | NotRun, ...] = (NotRun(what="any sweep", command=command),)
    else:
        blocks = (Table(header=("what", "result"), rows=tuple(rows)),) if rows else ()
    return Section(
        key="negative",
        title="Negative results",
        finding=f"{len(rows)} things failed, did not help, or could not be decided.",
        blocks=blocks,
    )


def _lost_trials(evidence: Evidence) -> list[tuple[str, str]]:
    return [
        (f"{sweep.result.kind}, {trial.label}", trial.failure or trial.status)
        for sweep in evidence.sweeps
        for trial in sweep.result.trials
        if trial.status != "finished"
    ]


def _undecided(evidence: Evidence) -> list[tuple[str, str]]:
    """Return the comparisons whose arm is not better."""
    return [
        (
            f"{found.arm} against {found.against}, {sweep.result.corpus}",
            f"{difference(found.difference)} nats: {found.verdict}",
        )
        for sweep in evidence.sweeps
        for found in sweep.result.comparisons
        if found.interval[1] >= 0
    ]


def _flaws(evidence: Evidence) -> list[tuple[str, str]]:
    """Return what is wrong with the run itself."""
    found = []
    overlap = evidence.statistics("download valid").get("num_train_duplicates")
    if overlap:
        found.append(
            ("validation text", f"{count(overlap)} documents are in the training text too")
        )
    if evidence.statistics("train_lm").get("diverged"):
        found.append(("the run itself", "training diverged"))
    if spikes := [line for line in evidence.metrics if "spike/num_skipped" in line]:
        found.append(("the run itself", f"{len(spikes)} steps were skipped as spikes"))
    return found


def provenance_section(evidence: Evidence) -> Section:
    """Return the commands that make all of it again, and the artifacts that the page shows."""
    settings = evidence.settings
    records = [*evidence.records.values()]
    records += [generation.record for generation in evidence.generations[1:]]
    records += [sweep.record for sweep in evidence.sweeps]
    records += [evidence.comparison] if evidence.comparison else []
    records += [record for run in evidence.others for record in (run.model, run.evaluated)]
    command = " ".join(
        ("owt report", *(["--course"] if settings.order == "course" else []), settings.arguments)
    )
    versions = _libraries(records)
    tables = (
        Table(
            header=("artifact", "fingerprint, code, libraries, machine, date"),
            rows=tuple((record.place, describe(record)) for record in records),
            is_wide=True,
        ),
        Table(header=("library", "version"), rows=versions),
    )
    return Section(
        key="again",
        title="How to get this again",
        finding="This command makes the page again, from nothing or from what is in the store.",
        blocks=(Excerpt(text=command), *tables) if records else (Excerpt(text=command),),
    )


def _libraries(records: Sequence[object]) -> tuple[tuple[str, str], ...]:
    """Return each library with all versions that were used."""
    found: dict[str, set[str]] = {}
    for record in records:
        environment = getattr(record, "environment", {})
        for name, value in environment.items():
            found.setdefault(name, set()).add(str(value))
    return tuple((name, ", ".join(sorted(values))) for name, values in sorted(found.items()))
