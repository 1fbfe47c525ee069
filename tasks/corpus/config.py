"""Which texts a run reads: the built-in corpora with their pins, and the user's own.

Imports nothing heavy, so that the command line starts at once.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

TINYSTORIES = (
    "https://huggingface.co/datasets/roneneldan/TinyStories/resolve/"
    "f54c09fd23315a6f9c86f9dc80f725de7d8f9c64/"
)
OWT_SAMPLE = (
    "https://huggingface.co/datasets/stanford-cs336/owt-sample/resolve/"
    "488afadefc224407de5645a3c8c53b64ed923537/"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """What a public file must be, byte for byte."""

    sha256: str
    size_bytes: int


PINS: dict[str, Pin] = {
    f"{TINYSTORIES}TinyStoriesV2-GPT4-train.txt": Pin(
        sha256="6418d412de72888f52b5142c761ac21a582f7d1166f0bfbdb5f03ccfdec90443",
        size_bytes=2_227_753_162,
    ),
    f"{TINYSTORIES}TinyStoriesV2-GPT4-valid.txt": Pin(
        sha256="6874bae9a4c1a4e7edcf0e53b86c17817e9cf881fc75ff2368da457b80c0585d",
        size_bytes=22_502_601,
    ),
    f"{OWT_SAMPLE}owt_train.txt.gz": Pin(
        sha256="b19ae88cfbc4016b304c348522455fe38ebac48fffed955adcc7191a89e38ccf",
        size_bytes=4_591_240_837,
    ),
    f"{OWT_SAMPLE}owt_valid.txt.gz": Pin(
        sha256="bc73db5da2f19c360836b9c8a88094e13346ec83798c2f40060be39135768c80",
        size_bytes=111_785_382,
    ),
}
"""The public originals at fixed revisions. Several unrelated public repositories have the same
sizes and hashes; `docs/corpora.md` says how sure each one is."""

STDLIB_SCHEME = "stdlib:"
"""Prefix of the text that every Python installation carries; see `tasks/corpus/stdlib.py`."""


VALID_SHARE = 16
"""Where no validation text is given, one document in so many of the training text validates: the
share that the built-in corpus has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusConfig:
    """Where the text comes from. The content is fingerprinted, never the place."""

    name: str = "stdlib"
    """Label in records, runs and reports."""
    train: str = "stdlib:train"
    """Training text: a path, any fsspec URL or http(s) address; plain, .gz, .zst or .parquet, or a
    folder of such files on this machine."""
    valid: str = "stdlib:valid"
    """Validation text, in the same forms; "": one document in 16 of the training text, by a hash of
    its content. It is "" where another training text is given alone."""
    train_sha256: str = ""
    """Hash that the training file must have as it lies at its address; "": as pinned, or any."""
    valid_sha256: str = ""
    """The same for the validation file."""
    document_separator: str = "<|endoftext|>"
    """Text between two documents. Default: GPT-2's, which TinyStories and OpenWebText use."""
    text_column: str = "text"
    """Column of a Parquet file that holds the documents."""

    def __post_init__(self) -> None:
        """Refuse a corpus without a place or a hash that cannot be one."""
        for name in ("train", "document_separator"):
            if not getattr(self, name):
                raise ValueError(f'corpus.{name} ("") must not be empty')
        for name in ("train", "valid"):
            refuse_credentials(f"corpus.{name}", getattr(self, name))
        for name in ("train_sha256", "valid_sha256"):
            value = getattr(self, name)
            if value and (len(value) != 64 or set(value) - set("0123456789abcdef")):
                raise ValueError(f"corpus.{name} ({value!r}) must be 64 lower-case hex digits")


SECRET_PARAMETERS = ("signature", "token", "secret", "credential", "password", "sig", "key")
"""Words in the name of a query parameter that is a way in: X-Amz-Signature, sig, access_token."""


def refuse_credentials(name: str, address: str) -> None:
    """Raise `ValueError`, without the address, where it holds a password or a signature.

    An address goes into records, MLflow and Prefect, which others read.
    """
    if "://" not in address:
        return
    parts = urlsplit(address)
    parameters = [key.lower() for key, _ in parse_qsl(parts.query, keep_blank_values=True)]
    is_signed = any(
        word in re.split(r"[-_]", key) for key in parameters for word in SECRET_PARAMETERS
    )
    if "@" in parts.netloc or is_signed:
        raise ValueError(
            f"{name} holds a password or a signature, which would be stored with the runs; keep "
            "it in the environment (for s3:// in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or "
            "fetch the file and give its path"
        )


STDLIB = CorpusConfig()

TINYSTORIES_CORPUS = CorpusConfig(
    name="tinystories",
    train=f"{TINYSTORIES}TinyStoriesV2-GPT4-train.txt",
    valid=f"{TINYSTORIES}TinyStoriesV2-GPT4-valid.txt",
)

OPENWEBTEXT_CORPUS = CorpusConfig(
    name="openwebtext",
    train=f"{OWT_SAMPLE}owt_train.txt.gz",
    valid=f"{OWT_SAMPLE}owt_valid.txt.gz",
)
