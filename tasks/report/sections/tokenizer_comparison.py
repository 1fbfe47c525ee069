"""Blocks of the tokenizer's section: compression, speed, overlap, and the type of the ids."""

from artifacts.record import JsonObject, Record
from tasks.report.blocks import Block, Origin, Table, Text
from tasks.report.evidence import Evidence, origin_of
from tasks.report.wording import count, loss, seconds, share
from tasks.watching.progress import format_bytes


def comparison_blocks(evidence: Evidence) -> tuple[Block, ...]:
    """Show each tokenizer of the store on documents of each corpus; nothing without one."""
    record = evidence.comparison
    if record is None:
        return ()
    facts = record.statistics
    origin = origin_of(f"owt report {evidence.settings.arguments}".strip(), [record])
    blocks: list[Block] = [_compression(record, origin), _throughput(facts["throughput"], origin)]
    blocks.append(_vocabularies(facts["vocabularies"], origin))
    blocks += [Text(_overlap(overlap)) for overlap in facts["overlaps"]]
    blocks += [Text(_why_this_type(name, one)) for name, one in facts["vocabularies"].items()]
    return tuple(blocks)


def _compression(record: Record, origin: Origin) -> Table:
    facts = record.statistics
    rows = tuple(
        (
            name,
            *(loss(cell["bytes_per_token"], cell["standard_error"]) for cell in row.values()),
        )
        for name, row in facts["compression"].items()
    )
    return Table(
        header=("tokenizer trained on", *(f"text: {name}" for name in facts["documents"])),
        rows=rows,
        caption=f"Bytes a token of {record.config['num_documents']} documents of each text, those "
        "with the smallest hashes; ± is the standard error over documents.",
        origin=origin,
        is_wide=True,
    )


def _throughput(found: JsonObject, origin: Origin) -> Table:
    rows = tuple(
        (
            name,
            text,
            format_bytes(cell["size_bytes"]),
            f"{format_bytes(cell['bytes_per_second'])}/s",
            seconds(3600 * cell["hours_for_825_gb"]),
            seconds(3600 * cell["hours_for_825_gib"]),
        )
        for name, row in found["encoding"].items()
        for text, cell in row.items()
    )
    threads = "1 thread" if found["num_threads"] == 1 else f"{found['num_threads']} threads"
    return Table(
        header=("tokenizer trained on", "text", "size", "speed", "825 GB", "825 GiB"),
        rows=rows,
        caption=f"Encoding of whole texts on {threads} of {found['processor']}, and what a text of "
        "825 GB would take at this speed. A small text shows less speed than a large one has.",
        origin=origin,
    )


def _vocabularies(found: JsonObject, origin: Origin) -> Table:
    rows = tuple(
        (
            name,
            count(one["vocab_size"]),
            ", ".join(repr(token["text"]) for token in one["longest_tokens"]),
            count(one["longest_num_bytes"]),
        )
        for name, one in found.items()
    )
    return Table(
        header=("tokenizer trained on", "vocabulary", "longest tokens", "bytes"),
        rows=rows,
        caption="All tokens of the greatest length.",
        origin=origin,
    )


def _overlap(found: JsonObject) -> str:
    return (
        f"{found['first']} and {found['second']} share {count(found['num_shared'])} tokens, "
        f"{share(found['jaccard'])} of all that either has; {count(found['num_only_first'])} are "
        f"only in the first and {count(found['num_only_second'])} only in the second. Their first "
        f"{count(found['num_common_merges'])} merges are the same."
    )


def _why_this_type(name: str, found: JsonObject) -> str:
    return (
        f"{name}: the largest id is {count(found['largest_id'])}, so {found['id_type']}, which "
        f"goes up to {count(found['largest_id_of_type'])}, is the smallest type for the token "
        f"files: {found['id_num_bytes']} bytes a token, where int32 would take 4."
    )
