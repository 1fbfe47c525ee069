"""Section: the pipeline as a picture, with the time and the size of each artifact."""

from tasks.report.blocks import Block, Figure, NotRun, Section, Table
from tasks.report.evidence import Evidence
from tasks.report.figures.pipeline_picture import pipeline_picture, size_bytes
from tasks.report.wording import count, seconds
from tasks.watching.progress import format_bytes


def pipeline_section(evidence: Evidence) -> Section:
    """Show each stage with its artifact, and what is not there."""
    records = evidence.records
    missing = [name for name in evidence.settings.stages if name not in records]
    blocks: list[Block] = []
    if records:
        blocks = [_picture(evidence), _table(evidence)]
    if missing:
        command = f"owt run {evidence.settings.arguments}"
        blocks.append(NotRun(what=", ".join(missing), command=command))
    total = sum(record.seconds for record in records.values())
    finding = (
        f"{len(records)} of {len(evidence.settings.stages)} artifacts are in the store; "
        f"building them took {seconds(total)} in all."
    )
    return Section(key="pipeline", title="Pipeline", finding=finding, blocks=tuple(blocks))


def _table(evidence: Evidence) -> Table:
    rows = tuple(
        (
            name,
            record.place,
            seconds(record.seconds),
            format_bytes(size_bytes(record)),
            format_bytes(record.peak_rss_bytes),
            count(len(record.file_names)),
            record.code_version,
        )
        for name, record in evidence.records.items()
    )
    return Table(
        header=("stage", "artifact", "time", "size", "peak memory", "files", "code"),
        rows=rows,
        caption="Time is that of the build, whoever made it; peak memory is the whole process's.",
        origin=evidence.origin("run", evidence.records),
    )


def _picture(evidence: Evidence) -> Figure:
    records = evidence.records
    chain = "; ".join(f"{name} took {seconds(record.seconds)}" for name, record in records.items())
    return Figure(
        name="pipeline",
        svg=pipeline_picture(records),
        alt=f"The stages from corpus to samples. {chain}.",
        caption="Each box is an artifact: time of its build, size of its files. A line leads from "
        "what was read to what was made of it; one that follows from others is left out.",
        origin=evidence.origin("run", records),
        is_wide=True,
    )
