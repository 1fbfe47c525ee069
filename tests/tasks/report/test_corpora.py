"""Tests of `tasks/report/sections/corpora.py` and `sections/progress.py`."""

from dataclasses import replace

from artifacts.record import JsonObject
from flows.presets import openwebtext, tinystories
from tasks.report.blocks import Excerpt, NotRun, Table, Text
from tasks.report.evidence import Evidence, Generation, ProgressText
from tasks.report.other_corpora import CorpusRun, likeness
from tasks.report.sections.corpora import bytes_per_token, corpora_section
from tasks.report.sections.progress import MAX_ROWS, progress_blocks
from tests.made_up_evidence import record_of_stage, settings_of, trained

STORIES = {"loss": 1.4, "unigram_entropy": 5.9, "bigram_entropy": 3.5, "bits_per_byte": 0.5}
WEB = {"loss": 3.6, "unigram_entropy": 7.7, "bigram_entropy": 5.5, "bits_per_byte": 1.2}
CURVE: list[JsonObject] = [{"step": 100, "valid/loss": 5.0}, {"step": 300, "valid/loss": 3.6}]


def evidence(*others: CorpusRun) -> Evidence:
    """Return a finished run on TinyStories beside others."""
    model = trained(tinystories(), tokens=1000)
    generation = Generation(
        record=record_of_stage("generate"), samples=[{"prompt": "Once", "text": " upon"}]
    )
    return Evidence(
        settings=replace(settings_of(tinystories()), corpus="tinystories"),
        records={"train_lm": model, "evaluate": record_of_stage("evaluate")},
        metrics=CURVE,
        evaluation=STORIES,
        generations=(generation,),
        others=others,
    )


def web(tokens: int = 1000) -> CorpusRun:
    """Return a finished run on OpenWebText."""
    return CorpusRun(
        corpus="openwebtext",
        model=trained(openwebtext(), tokens=tokens),
        evaluated=record_of_stage("evaluate"),
        evaluation=WEB,
        metrics=CURVE,
        samples=[{"prompt": "The", "text": " law"}],
    )


def texts(found: Evidence) -> str:
    """Return the paragraphs of the section."""
    return "\n".join(b.text for b in corpora_section(found).blocks if isinstance(b, Text))


def test_two_corpora_are_compared_in_bits_a_byte_only() -> None:
    """Both curves, both samples, one table; and why the web is harder, with what was counted."""
    section = corpora_section(evidence(web()))
    assert section.finding == (
        "Bits a byte of the validation text: tinystories 0.500, openwebtext 1.200."
    )
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["vocabulary"] == ("10,000", "32,000")
    # 1.4 nats are 2.02 bits; at half a bit a byte, that is 4.04 bytes.
    assert rows["bytes a token"] == ("4.040", "4.328")
    assert rows["unigram entropy, bits a byte"] == ("2.107", "2.567")
    assert [b.title for b in section.blocks if isinstance(b, Excerpt)] == [
        "tinystories, its first sample",
        "openwebtext, its first sample",
    ]
    words = texts(evidence(web()))
    assert "the run on openwebtext is equal in all of these" in words
    assert "Why openwebtext has the higher loss" in words
    assert "leaves 2.57 bits of each byte unknown there and 2.11 on tinystories" in words
    assert bytes_per_token(STORIES) * 0.5 * 0.693147 - 1.4 < 1e-5


def test_what_is_not_equal_is_said() -> None:
    """Another number of tokens would otherwise pass for a difference of the texts."""
    assert "2,000 instead of 1,000 training tokens" in texts(evidence(web(tokens=2000)))
    own = trained(tinystories(), tokens=1000)
    assert likeness(web().model, own) == 2
    assert likeness(web(tokens=2000).model, own) == 1


def test_without_another_corpus_the_command_that_trains_it_is_given() -> None:
    """The course's other corpus has a preset."""
    (missing,) = corpora_section(evidence()).blocks
    assert isinstance(missing, NotRun)
    assert missing.command == "owt run --preset openwebtext"


def test_texts_of_a_training_are_shown_from_the_first_to_the_last() -> None:
    """Many validations are thinned to some rows; each has the loss of its own step."""
    progress = tuple(
        ProgressText(step=step, prompt="Once", text=f" text {step}") for step in range(0, 310, 10)
    )
    (table,) = progress_blocks(replace(evidence(), progress=progress))
    assert isinstance(table, Table)
    assert len(table.rows) == MAX_ROWS
    assert table.rows[0] == ("0", "–", "text 0")
    assert table.rows[-1] == ("300", "3.600", "text 300")
    assert progress_blocks(evidence()) == ()
