"""Where one split's text lies, in which form, and which bytes it is.

The content hash is known without fetching for local files, pinned addresses and the built-in
corpus. For any other address it is known once the file was fetched.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from artifacts.content_hash import ContentHash, content_hash, recall, remember
from artifacts.fetching.fetch import UnreachableError, fetch
from artifacts.names import local_place
from tasks.corpus.config import PINS, STDLIB_SCHEME, VALID_SHARE, CorpusConfig
from tasks.corpus.folder import folder_content, text_files
from tasks.corpus.form import TEXT_TO_FILE, Form, form_of, unpacked_bytes
from tasks.corpus.stdlib import SPLITS, stdlib_text
from tasks.watching.progress import progress


@dataclass(frozen=True, kw_only=True)
class Source:
    """One split's text before it is a corpus artifact."""

    split: str
    uri: str
    """A local path, an fsspec URL, an http(s) address or `stdlib:<split>`."""
    form: Form
    expected_sha256: str
    """What the bytes must hash to; "": anything."""
    expected_size_bytes: int | None
    document_separator: str
    """Text between two documents."""
    text_column: str
    """Column of a Parquet file that holds the documents."""
    valid_share: int = 0
    """The split is a part of the text: one document in so many validates; 0: it is the whole."""
    sha256: str = ""
    """What the bytes hash to; "" as long as nobody has looked."""
    size_bytes: int | None = None
    """Bytes of the file as it lies there, where somebody has looked or the pin says it."""

    @property
    def text_bytes(self) -> int | None:
        """Bytes of the split's text: exact for a plain text of its own, else an estimate."""
        size_bytes = self.expected_size_bytes if self.size_bytes is None else self.size_bytes
        if size_bytes is None:
            return None
        valid = 1 / self.valid_share if self.valid_share else 1.0
        part = valid if self.split == "valid" or not self.valid_share else 1 - valid
        return int(size_bytes * TEXT_TO_FILE.get(self.form, 1.0) * part)

    @property
    def is_stdlib(self) -> bool:
        """Whether the text is the one that Python carries."""
        return self.uri.startswith(STDLIB_SCHEME)

    @property
    def local_path(self) -> Path | None:
        """The file, when it lies on this machine already."""
        if self.is_stdlib:
            return None
        return _local_path(self.uri)

    @property
    def file_name(self) -> str:
        """The last part of the address, without a query."""
        return PurePosixPath(urlsplit(self.uri).path).name or self.split


def source_of(config: CorpusConfig, split: str) -> Source:
    """Read one split's source off the config, with the pin of a known public address.

    Without a validation text both splits are parts of the training text.
    """
    file = split if config.valid else "train"
    uri = str(getattr(config, file))
    pin = PINS.get(uri)
    given = str(getattr(config, f"{file}_sha256"))
    if uri.startswith(STDLIB_SCHEME) and uri.removeprefix(STDLIB_SCHEME) not in SPLITS:
        raise ValueError(f"corpus.{file} ({uri}) must be stdlib:train or stdlib:valid")
    # A # or ? belongs to the name of a local file, and begins another part of an address.
    local = None if uri.startswith(STDLIB_SCHEME) else _local_path(uri)
    path = local or PurePosixPath(urlsplit(uri).path)
    return Source(
        split=split,
        uri=uri,
        form="folder" if local and local.is_dir() else form_of(path),
        expected_sha256=given or (pin.sha256 if pin else ""),
        expected_size_bytes=pin.size_bytes if pin and not given else None,
        document_separator=config.document_separator,
        text_column=config.text_column,
        valid_share=0 if config.valid else VALID_SHARE,
    )


def _local_path(uri: str) -> Path | None:
    """Return the path of a corpus that lies on this machine."""
    if uri.startswith("file:"):
        return local_place(uri)
    return None if "://" in uri else Path(uri).expanduser()


def with_known_hash(source: Source, root: Path) -> Source:
    """Return the source with its content hash, if that can be told without fetching.

    Raises:
        FileNotFoundError: A local file is not there.
        ValueError: A local file is empty, or not the one that the config expects.
    """
    if source.is_stdlib:
        content = _stdlib_content(source)
    elif source.local_path is not None:
        content = _local_content(source, source.local_path, root)
    elif source.expected_sha256:
        return replace(source, sha256=source.expected_sha256)
    else:
        remembered = recall(source.uri, memo_dir=root / "memo")
        if remembered is None:
            return source
        content = remembered
    return replace(source, sha256=content.sha256, size_bytes=content.size_bytes)


def check_is_there(config: CorpusConfig) -> None:
    """Raise an error where a text of this machine is not there, or is empty; reads nothing."""
    for split in SPLITS:
        source = source_of(config, split)
        if source.local_path is not None:
            _check_file(source, source.local_path)


def estimated_bytes(source: Source) -> int | None:
    """Return about how much text a source holds; `None` where it is not on this machine."""
    path = source.local_path
    if path is None:
        return None
    files = text_files(path) if source.form == "folder" else [path]
    return sum(map(unpacked_bytes, files))


def fetched_file(source: Source, root: Path) -> Path:
    """Fetch a remote source below the data root, unless it is there with its hash.

    Raises:
        UnreachableError: Nobody answers at the address, most often for want of a network.
    """
    destination = _download_path(source, root)
    try:
        with progress(f"download {source.split}") as on_progress:
            fetch(
                source.uri,
                destination,
                sha256=source.sha256 or None,
                size_bytes=source.expected_size_bytes,
                on_progress=on_progress,
            )
    except UnreachableError as error:
        raise UnreachableError(
            f"{urlsplit(source.uri).hostname}, which has corpus.{source.split}, cannot be reached "
            f"({error.reason}); for a text of your own set corpus.train=PATH",
            error.reason,
        ) from error
    return destination


def fetch_unknown(source: Source, root: Path) -> Source:
    """Fetch a source of unknown content; return it with its hash, remembered for the next run."""
    content = content_hash(fetched_file(source, root), memo_dir=None)
    remember(source.uri, content, root / "memo")
    return replace(source, sha256=content.sha256, size_bytes=content.size_bytes)


def forget_fetched(source: Source, root: Path) -> None:
    """Remove a fetched file whose text has become an artifact."""
    _download_path(source, root).unlink(missing_ok=True)


def _download_path(source: Source, root: Path) -> Path:
    digest = hashlib.sha256(source.uri.encode()).hexdigest()[:16]
    return root / "downloads" / f"{digest}-{source.file_name}"


def _stdlib_content(source: Source) -> ContentHash:
    digest, size_bytes = hashlib.sha256(), 0
    split = source.uri.removeprefix(STDLIB_SCHEME)
    for piece in stdlib_text(split, source.document_separator):
        digest.update(piece)
        size_bytes += len(piece)
    return ContentHash(digest.hexdigest(), size_bytes)


def _local_content(source: Source, path: Path, root: Path) -> ContentHash:
    _check_file(source, path)
    memo_dir = root / "memo"
    if source.form == "folder":
        content = folder_content(path, memo_dir)
    else:
        content = content_hash(path.resolve(), memo_dir=memo_dir)
    if source.expected_sha256 and content.sha256 != source.expected_sha256:
        raise ValueError(
            f"corpus.{source.split} ({source.uri}) has sha256 {content.sha256}, expected "
            f"{source.expected_sha256}; correct corpus.{source.split}_sha256 or the file"
        )
    return content


def _check_file(source: Source, path: Path) -> None:
    """Raise an error that says what is wrong with a path, and the way out."""
    name = f"{source.uri} (corpus.{source.split})"
    if source.form == "folder":
        text_files(path)
    elif not path.exists():
        below = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise FileNotFoundError(
            f"there is no file or folder {name}{below}; correct the path, or give an address"
        )
    elif not path.is_file():
        raise FileNotFoundError(
            f"{name} is not a readable file; give a text, .gz, .zst or .parquet file, or a folder"
        )
    elif not path.stat().st_size:
        raise ValueError(f"{name} is an empty file, of 0 bytes; give one that holds text")
