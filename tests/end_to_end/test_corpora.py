"""The same corpus from a disk, from an HTTP server and from Parquet gives the same model."""

import gzip
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.store import open_store, resolve
from tests.tiny_pipeline import Run, built, run_in


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serve a folder without a line for each request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Keep the log quiet."""


@pytest.fixture
def packed(corpus: dict[str, Path], tmp_path: Path) -> Path:
    """A folder with both splits as .gz files."""
    folder = tmp_path / "served"
    folder.mkdir()
    for split, path in corpus.items():
        (folder / f"{split}.txt.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    return folder


@pytest.fixture
def server(packed: Path) -> Iterator[str]:
    """The address of an HTTP server on this machine that serves the folder."""
    handler = partial(QuietHandler, directory=str(packed))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def corpus_settings(place: str, suffix: str) -> list[str]:
    return [f"corpus.{split}={place}/{split}{suffix}" for split in ("train", "valid")]


def test_an_http_server_in_place_of_a_disk_changes_nothing(
    run: Run, settings: list[str], packed: Path, server: str, tmp_path: Path
) -> None:
    """Every artifact of the fetched corpus is the one of the local corpus, byte for byte."""
    local = run([*settings, *corpus_settings(str(packed), ".txt.gz")])
    other_root = tmp_path / "other"
    fetched = run_in(other_root)([*settings, *corpus_settings(server, ".txt.gz")])
    assert [s["fingerprint"] for s in fetched["stages"]] == [
        s["fingerprint"] for s in local["stages"]
    ]
    here, there = open_store(tmp_path / "data" / "artifacts"), open_store(other_root / "artifacts")
    for stage in local["stages"]:
        one, other = resolve(here, stage["fingerprint"]), resolve(there, stage["fingerprint"])
        for a, b in zip(one.files, other.files, strict=True):
            assert a == b or a.name in one.volatile
    assert not list((other_root / "downloads").iterdir())


def test_a_fetched_corpus_is_not_fetched_again(run: Run, settings: list[str], server: str) -> None:
    """The hash is remembered with what the server says of the file."""
    addresses = [*settings, *corpus_settings(server, ".txt.gz")]
    run(addresses, only="download")
    assert built(run(addresses, only="download")) == []


def test_parquet_gives_the_tokens_of_the_text(
    run: Run, settings: list[str], corpus: dict[str, Path], tmp_path: Path
) -> None:
    """The documents of a text column are joined by the separator."""
    for split, path in corpus.items():
        documents = path.read_text().split("\n<|endoftext|>\n")
        table = pa.table({"id": list(range(len(documents))), "story": documents})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    parquet = [*corpus_settings(str(tmp_path), ".parquet"), "corpus.text_column=story"]
    summary = run([*settings, *parquet], only="download")
    text = next(Path(summary["stages"][0]["uri"]).glob("*/train.txt"))
    written = text.read_text().split("<|endoftext|>")
    expected = corpus["train"].read_text().split("<|endoftext|>")
    assert [document.strip() for document in written if document.strip()] == [
        document.strip() for document in expected
    ]


def test_a_folder_alone_is_divided_by_its_documents(
    run: Run, settings: list[str], corpus: dict[str, Path], tmp_path: Path
) -> None:
    """Both splits are parts of the one text, none of its documents is in both, and it is said."""
    folder = tmp_path / "stories"
    folder.mkdir()
    documents = corpus["train"].read_text().split("\n<|endoftext|>\n")
    for number, document in enumerate(documents):
        (folder / f"{number:03}.txt").write_text(document)
    own = [setting for setting in settings if not setting.startswith("corpus.")]
    stages = run([*own, f"corpus.train={folder}"], only="download")["stages"]
    parts = [
        next(Path(stage["uri"]).glob(f"*/{stage['label']}.txt")).read_text().split("<|endoftext|>")
        for stage in stages
    ]
    train, valid = ({text.strip() for text in part} - {""} for part in parts)
    assert train | valid == set(documents)
    assert not train & valid
    assert f"{len(valid)} of the {len(documents)} documents: 1 in" in stages[1]["shown"]["line"]
