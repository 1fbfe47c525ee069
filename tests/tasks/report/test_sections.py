"""Tests of the sections that say what a run found."""

from dataclasses import replace

import pytest

from artifacts.identity import Reference
from artifacts.record import JsonObject, Record
from flows.presets import smoke, tinystories
from tasks.report.blocks import NotRun, Table
from tasks.report.content import study_sections
from tasks.report.evidence import Evidence, Generation
from tasks.report.figures.pipeline_picture import direct_sources
from tasks.report.sections.costs import costs_section, throughput_section
from tasks.report.sections.curves import elapsed_at, series_of
from tasks.report.sections.data_card import data_section
from tasks.report.sections.generations import generations_section
from tasks.report.sections.recipe import recipe_section
from tasks.report.sections.targets import TARGETS, targets_section, why_not
from tasks.report.sections.verdict import verdict
from tests.made_up_evidence import record_of_stage, settings_of, trained

EVALUATION = {"loss": 4.0, "unigram_entropy": 6.0, "bigram_entropy": 3.5, "bits_per_byte": 1.9}


def test_without_any_artifact_every_section_says_how_to_get_it() -> None:
    """The page of an empty store is a list of commands, not an error."""
    sections = study_sections(Evidence(settings=settings_of()))
    waiting = {s.key for s in sections if any(isinstance(b, NotRun) for b in s.blocks)}
    expected = {"pipeline", "data", "tokenizer", "curves", "loss", "costs", "throughput", "samples"}
    assert expected <= waiting


def test_the_recipe_lists_what_differs_and_nothing_else() -> None:
    """Equal settings are counted, not shown."""
    (table,) = recipe_section(Evidence(settings=settings_of())).blocks
    assert isinstance(table, Table)
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["model.num_layers"] == ("4", "2")
    assert "train_lm.betas" not in rows
    same = replace(settings_of(), baseline=settings_of().config)
    assert recipe_section(Evidence(settings=same)).blocks == ()


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (6.5, "no better than single-token frequencies"),
        (4.0, "not yet than frequencies of pairs"),
        (3.0, "better than frequencies of pairs of tokens"),
    ],
)
def test_the_verdict_holds_the_loss_against_entropies(loss: float, words: str) -> None:
    """A loss alone says nothing to a reader."""
    evidence = Evidence(settings=settings_of(), evaluation={**EVALUATION, "loss": loss})
    assert words in verdict(evidence)


def test_validation_documents_in_the_training_text_are_said_first() -> None:
    """A loss on seen documents flatters the model."""
    facts = {"size_bytes": 100, "num_documents": 5, "num_invalid_utf8_spans": 0}
    facts |= {"num_lf": 3, "num_cr": 0}
    texts = {
        "download train": record_of_stage("download", statistics=facts),
        "download valid": record_of_stage(
            "download", statistics={**facts, "num_train_duplicates": 2}
        ),
    }
    section = data_section(Evidence(settings=settings_of(), records=texts, num_train_copies=1))
    assert section.finding.endswith("2 validation documents are in the training text too.")


def test_predicted_seconds_stand_beside_the_measured() -> None:
    """The share of the machine's peak is their ratio."""
    config = smoke()
    evidence = Evidence(
        settings=settings_of(), records={"train_lm": trained(config, tokens=614_400)}
    )
    # 614,400 tokens x 4,521,984 FLOPs at 1e11 FLOP/s are 27.8 s
    faster = trained(config, tokens=614_400, seconds=55.6)
    assert "138.9 % of this machine's peak" in costs_section(evidence).finding
    evidence = replace(evidence, records={"train_lm": faster})
    assert "50.0 % of this machine's peak" in costs_section(evidence).finding


def test_a_resumed_training_is_an_event() -> None:
    """The clock of a training counts all attempts, its record the last one."""
    record = trained(smoke(), tokens=1, seconds=110.0)
    timing = {"step": 10, "perf/tokens_per_second": 1.0, "perf/elapsed_s": 1.0, "perf/mfu": 0.1}
    spike = {"step": 4, "spike/num_skipped": 1, "spike/is_rolled_back": False}
    evidence = Evidence(
        settings=settings_of(), records={"train_lm": record}, timings=[timing], metrics=[spike]
    )
    events = throughput_section(evidence).blocks[-1]
    assert isinstance(events, Table)
    rows = {row[0]: row[1] for row in events.rows}
    assert rows["resumed after an interruption"] == "yes; 1 min 40 s before the last attempt"
    assert rows["steps skipped as spikes"] == "1: step 4"


def test_seconds_between_timed_steps_are_in_proportion() -> None:
    """Losses and timings are logged at steps of their own."""
    timings = [{"step": 10, "perf/elapsed_s": 2.0}, {"step": 20, "perf/elapsed_s": 6.0}]
    assert elapsed_at(timings, [5, 10, 15]) == [1.0, 2.0, 4.0]
    assert elapsed_at([], [5]) == []


def test_a_curve_leaves_out_what_was_not_finite() -> None:
    """Such values are null in the log."""
    lines: list[JsonObject] = [
        {"step": 1, "train/loss": 2.0},
        {"step": 2, "train/loss": None},
        {"step": 3},
    ]
    assert series_of(lines, "train/loss").steps == [1]


def test_arrows_that_follow_from_others_are_left_out() -> None:
    """A picture with every input drawn cannot be read."""
    a = record_of_stage("a", fingerprint="a" * 64)
    b = record_of_stage("b", fingerprint="b" * 64, inputs={"x": reference(a)})
    c = record_of_stage("c", fingerprint="c" * 64, inputs={"x": reference(a), "y": reference(b)})
    assert direct_sources({"a": a, "b": b, "c": c}) == {"a": [], "b": ["a"], "c": ["b"]}


def reference(record: Record) -> Reference:
    """Return a reference to a record."""
    return Reference(record.stage, record.fingerprint, "")


def test_targets_are_judged_by_the_run_that_they_ask_for() -> None:
    """The same loss on another corpus or with fewer tokens is not run."""
    config = tinystories()
    settings = settings_of(config, corpus="tinystories")
    whole = Evidence(
        settings=settings,
        records={"train_lm": trained(config, tokens=327_680_000)},
        evaluation={**EVALUATION, "loss": 1.5},
    )
    (table,) = targets_section(whole).blocks
    assert isinstance(table, Table)
    assert [row[1].partition(":")[0] for row in table.rows] == ["not met", "met", "not run"]
    short = replace(whole, records={"train_lm": trained(config, tokens=41_000_000)})
    assert why_not(short, TARGETS[0]) == "41,000,000 of 327,680,000 tokens"
    assert why_not(short, TARGETS[1]) == ""
    assert why_not(replace(whole, settings=settings_of()), TARGETS[0]) == "on stdlib"


def test_each_factor_of_fluency_is_varied_alone() -> None:
    """Temperature at one top-p, top-p at one temperature, at equal length."""
    found = [
        generation(0.8, 0.95, distinct=0.7, tokens=96),
        generation(0.0, 1.0, distinct=0.2),
        generation(1.0, 1.0, distinct=0.9),
        generation(1.0, 0.5, distinct=0.5),
    ]
    section = generations_section(Evidence(settings=settings_of(), generations=tuple(found)))
    assert section.finding == (
        "Temperature 0 to 1: different 2-grams 20.0 % to 90.0 %. "
        "Top-p 0.5 to 1: different 2-grams 50.0 % to 90.0 %."
    )


def generation(
    temperature: float, top_p: float, *, distinct: float, tokens: int = 256
) -> Generation:
    """Return samples of one setting."""
    statistics = {f"distinct_{n}": distinct for n in (1, 2, 3)}
    statistics |= {"num_samples": 1, "seen_share": 0.0, "seen_ngram": 8}
    config = {"temperature": temperature, "top_p": top_p, "max_new_tokens": tokens}
    record = record_of_stage("generate", config=config, statistics=statistics)
    sample = {"prompt": "The ", "text": "cat", "seed": 0, "token_ids": [1, 2]}
    return Generation(record=record, samples=[sample])
