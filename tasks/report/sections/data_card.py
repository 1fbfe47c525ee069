"""Sections: the text and the tokenizer."""

from artifacts.record import Record
from tasks.report.blocks import Block, NotRun, Section, Table, Text
from tasks.report.evidence import Evidence
from tasks.report.sections.tokenizer_comparison import comparison_blocks
from tasks.report.wording import NOTHING, count, loss, seconds, share

SPLITS = ("train", "valid")
PHASES = {"build": "counting pairs", "merge": "merging"}
"""Phases of the merges' training, as the record names them, in words."""


def data_section(evidence: Evidence) -> Section:
    """Describe both splits: hashes, documents, what repeats, what is odd."""
    texts = {split: evidence.records.get(f"download {split}") for split in SPLITS}
    found = {split: record for split, record in texts.items() if record}
    if not found:
        return _nothing(evidence, "data", "Data card", "the texts")
    columns = [_facts(evidence, split, record) for split, record in found.items()]
    rows = tuple((name, *(column[name] for column in columns)) for name in columns[0])
    table = Table(
        header=("", *found),
        rows=rows,
        caption="Copies are documents equal byte for byte; the first of several is not counted.",
        origin=evidence.origin("run --only download", (f"download {split}" for split in found)),
    )
    hashes = ", ".join(f"{split} {text_hash(record)}" for split, record in found.items())
    return Section(
        key="data",
        title="Data card",
        finding=_data_finding(evidence, found),
        blocks=(table, Text(f"sha256 of the texts: {hashes}.")),
    )


def _facts(evidence: Evidence, split: str, record: Record) -> dict[str, str]:
    facts = record.statistics
    shards = evidence.statistics(f"encode_shards {split}")
    num_tokens, size_bytes = shards.get("num_tokens"), int(facts["size_bytes"])
    copies = evidence.num_train_copies if split == "train" else None
    return {
        "bytes": count(size_bytes),
        "documents": count(facts["num_documents"]),
        "bytes a document, mean": count(size_bytes / max(int(facts["num_documents"]), 1)),
        "copies of an earlier document": count(copies),
        "documents that are in the training text": count(facts.get("num_train_duplicates")),
        "stretches of invalid UTF-8": count(facts["num_invalid_utf8_spans"]),
        "line feeds, carriage returns": f"{count(facts['num_lf'])}, {count(facts['num_cr'])}",
        "tokens": count(num_tokens),
        "bytes a token": f"{size_bytes / num_tokens:.3f}" if num_tokens else NOTHING,
    }


def text_hash(record: Record) -> str:
    """Return the sha256 of a split's text."""
    files = {entry.name: entry.sha256 for entry in record.files}
    files |= {file.name: file.sha256 for file in record.external_files}
    return next((sha for name, sha in files.items() if name.endswith(".txt")), NOTHING)


def _data_finding(evidence: Evidence, found: dict[str, Record]) -> str:
    overlap = found["valid"].statistics.get("num_train_duplicates") if "valid" in found else None
    documents = count(found["train"].statistics["num_documents"]) if "train" in found else NOTHING
    line = f"{evidence.settings.corpus}: {documents} training documents."
    if overlap == 0:
        return f"{line} No validation document is in the training text."
    if overlap:
        return f"{line} {count(overlap)} validation documents are in the training text too."
    return line


def tokenizer_section(evidence: Evidence) -> Section:
    """Describe the vocabulary, and which part of its training took the time."""
    record = evidence.records.get("train_tokenizer")
    if record is None:
        return _nothing(evidence, "tokenizer", "Tokenizer card", "the tokenizer")
    facts, config = record.statistics, record.config
    longest = ", ".join(repr(token) for token in facts["longest_tokens"])
    rows = (
        ("vocabulary", count(config["vocab_size"])),
        ("merges", count(facts["num_merges"])),
        ("split pattern", str(config["pattern"])),
        ("special tokens", ", ".join(map(str, config["special_tokens"]))),
        ("bytes a token, training text", f"{facts['bytes_per_token']:.3f}"),
        ("pretokens, distinct", count(facts["num_distinct_pretokens"])),
        ("pretokens, all", count(facts["num_pretokens"])),
        ("longest token", longest),
        ("against public merges", str(facts["public_verdict"])),
    )
    names = ("count_pretokens", "train_tokenizer")
    card = Table(
        header=("", ""), rows=rows, origin=evidence.origin("run --only train_tokenizer", names)
    )
    finding = (
        f"{count(config['vocab_size'])} tokens; one holds {facts['bytes_per_token']:.2f} bytes "
        "of the training text."
    )
    return Section(
        key="tokenizer",
        title="Tokenizer card",
        finding=finding,
        blocks=(card, _phases(evidence, record), *comparison_blocks(evidence)),
    )


def _phases(evidence: Evidence, record: Record) -> Table:
    """Return the time of each phase of training, from counting to the last merge."""
    phases = {
        PHASES.get(name, name): float(value) for name, value in record.statistics["seconds"].items()
    }
    counts = evidence.records.get("count_pretokens")
    if counts is not None:
        phases = {"counting pretokens": counts.seconds, **phases}
    total = sum(phases.values())
    rows = tuple(
        (name, seconds(s), share(s / total if total else None)) for name, s in phases.items()
    )
    return Table(
        header=("phase of training", "time", "share"),
        rows=rows,
        caption="Where the time of training goes. The first run on a machine compiles kernels "
        "too, which is in the phase that uses them first.",
        origin=evidence.origin(
            "run --only train_tokenizer", ("count_pretokens", "train_tokenizer")
        ),
    )


def _nothing(evidence: Evidence, key: str, title: str, what: str) -> Section:
    blocks: tuple[Block, ...] = (
        NotRun(what=what, command=f"owt run {evidence.settings.arguments}"),
    )
    return Section(key=key, title=title, blocks=blocks)


def entropies(evidence: Evidence) -> tuple[str, str]:
    """Return the unigram and the bigram entropy of the training tokens, in words."""
    return (
        loss(evidence.evaluation.get("unigram_entropy")),
        loss(evidence.evaluation.get("bigram_entropy")),
    )
