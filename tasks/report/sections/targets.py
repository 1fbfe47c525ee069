"""Section: the course's targets, each as met, not met, or not run."""

from dataclasses import dataclass

from tasks.report.blocks import Section, Table
from tasks.report.evidence import Evidence
from tasks.report.wording import count, loss


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A loss that the course asks for, and the run that it asks it of."""

    name: str
    limit: float
    """Validation loss in nats a token, at most."""
    corpus: str
    vocab_size: int
    """A loss a token can be compared at an equal vocabulary only."""
    num_tokens: int
    """Training tokens, at least; 0 where the time is limited instead."""
    command: str
    needs: str


TARGETS = (
    Target(
        name="TinyStories at most 1.45",
        limit=1.45,
        corpus="tinystories",
        vocab_size=10_000,
        num_tokens=327_680_000,
        command="owt run --preset tinystories",
        needs="a GPU: about half an hour on an H100, by the course",
    ),
    Target(
        name="TinyStories, few resources, at most 2.00",
        limit=2.0,
        corpus="tinystories",
        vocab_size=10_000,
        num_tokens=40_000_000,
        command="owt run --preset tinystories --set train_lm.max_steps=5000 "
        "--set train_lm.batch_size=32",
        needs="hours of CPU, or a laptop's GPU",
    ),
    Target(
        name="OpenWebText leaderboard below 5.0",
        limit=5.0,
        corpus="openwebtext",
        vocab_size=32_000,
        num_tokens=0,
        command="owt run --preset leaderboard --budget-minutes 90",
        needs="a GPU: 90 minutes of one H100, by the course",
    ),
)
"""CS336, assignment 1, sections 7.2 and 7.5 of the 2025 edition."""


def targets_section(evidence: Evidence) -> Section:
    """Hold the run against each target that it is a run of."""
    rows = tuple(_row(evidence, target) for target in TARGETS)
    met = sum(row[1].startswith("met") for row in rows)
    run = sum(not row[1].startswith("not run") for row in rows)
    table = Table(
        header=("target", "verdict", "this run", "command"),
        rows=rows,
        caption="A target is judged by a run on its corpus, with its vocabulary and at least its "
        "tokens. Another run's loss says nothing of it.",
        origin=evidence.origin("run", ("evaluate",)),
    )
    return Section(
        key="targets",
        title="The course's targets",
        finding=f"{met} met, {run - met} not met, {len(TARGETS) - run} not run.",
        blocks=(table,),
    )


def _row(evidence: Evidence, target: Target) -> tuple[str, str, str, str]:
    found = evidence.evaluation.get("loss")
    reason = why_not(evidence, target)
    if reason or found is None:
        verdict = f"not run: needs {target.needs}"
        return target.name, verdict, reason or "no evaluation", target.command
    verdict = "met" if found <= target.limit else "not met"
    return target.name, verdict, loss(found), target.command


def why_not(evidence: Evidence, target: Target) -> str:
    """Return why this run cannot be judged by a target; "" where it can."""
    settings, model = evidence.settings, evidence.model
    if settings.corpus != target.corpus:
        return f"on {settings.corpus}"
    vocab_size = settings.config["model"]["vocab_size"]
    if vocab_size != target.vocab_size:
        return f"a vocabulary of {count(vocab_size)}, not {count(target.vocab_size)}"
    if model is None:
        return "no training"
    tokens = int(model.statistics["tokens_seen"])
    if tokens < target.num_tokens:
        return f"{count(tokens)} of {count(target.num_tokens)} tokens"
    return ""
