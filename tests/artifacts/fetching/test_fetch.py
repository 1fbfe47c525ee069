"""Downloads resume, are checked, and harm nothing that was good. The server is real."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from artifacts.fetching import fetch as fetching
from artifacts.fetching.fetch import FetchError, FetchResult, fetch

if TYPE_CHECKING:
    from artifacts.store import Store

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)


class Server(ThreadingHTTPServer):
    """Serves one file, with the faults that a test asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = CONTENT
        self.etag = '"v1"'
        self.honours_range = True
        self.honours_if_range = True
        self.tells_length = True
        self.statuses: list[int] = []
        """Answers to the next requests in place of the file."""
        self.cuts: list[int] = []
        """Bytes after which the next connections are cut."""
        self.extra_headers: dict[str, str] = {}
        self.requests: list[dict[str, str]] = []
        """Headers of all requests so far."""

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"http://127.0.0.1:{self.server_address[1]}/folder/corpus.txt"

    @property
    def ranges(self) -> list[str]:
        """What was asked for so far."""
        return [headers.get("Range", "all") for headers in self.requests]


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(dict(self.headers.items()))
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        start = self._start()
        if start and start >= len(server.content):
            self.send_error(416)
            return
        self._send(server.content[start:], start)

    def _start(self) -> int:
        value = self.headers.get("Range", "bytes=0-")
        if not self.server.honours_range:
            return 0
        validator = self.headers.get("If-Range", self.server.etag)
        if self.server.honours_if_range and validator != self.server.etag:
            return 0
        return int(value.removeprefix("bytes=").removesuffix("-"))

    def _send(self, body: bytes, start: int) -> None:
        total = len(self.server.content)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if self.server.tells_length:
            self.send_header("Content-Length", str(len(body)))
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        for name, value in self.server.extra_headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def send_error(self, code: int, *_: Any) -> None:
        self.send_response(code)
        for name, value in self.server.extra_headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    """Run a server on 127.0.0.1."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """Give a path in a folder that does not exist yet."""
    return tmp_path / "data" / "corpus.txt"


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the waits between attempts, in seconds; they take no time."""
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


def _fetch(server: Server, destination: Path, attempts: int = 5, **pin: Any) -> FetchResult:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fetching, "ATTEMPTS", attempts)
        return fetch(server.url, destination, **pin)


def _files(destination: Path) -> list[str]:
    return sorted(path.name for path in destination.parent.iterdir())


@pytest.mark.parametrize("pin", [{"sha256": SHA256, "size_bytes": SIZE}, {}])
def test_file_arrives_whole(server: Server, destination: Path, pin: dict[str, Any]) -> None:
    """A fetched file is what the server has, expected or not, and nothing else is left."""
    server.tells_length = bool(pin)
    result = _fetch(server, destination, **pin)
    assert result == FetchResult(SHA256, SIZE, was_there=False)
    assert destination.read_bytes() == CONTENT
    assert _files(destination) == ["corpus.txt"]


def test_cut_connections_resume_where_they_ended(server: Server, destination: Path) -> None:
    """Each connection asks for the rest only, more often than `attempts` as long as bytes come."""
    server.cuts = [100_000, 1, 50_000]
    assert _fetch(server, destination, attempts=2).sha256 == SHA256
    assert server.ranges == ["all", "bytes=100000-", "bytes=100001-", "bytes=150001-"]
    assert server.requests[1]["If-Range"] == '"v1"'


def test_known_hash_joins_pieces_of_any_version(server: Server, destination: Path) -> None:
    """Mirrors name versions differently; the hash shows in the end whether their pieces fit."""
    server.cuts = [100_000]
    with pytest.raises(FetchError):
        _fetch(server, destination, sha256=SHA256, attempts=1)
    server.etag = '"name of another mirror"'
    assert _fetch(server, destination, sha256=SHA256).sha256 == SHA256
    assert server.ranges == ["all", "bytes=100000-"]


def test_later_run_resumes_where_an_earlier_one_stopped(server: Server, destination: Path) -> None:
    """What arrived before the run gave up is not fetched again."""
    server.cuts = [100_000]
    with pytest.raises(FetchError, match=r"gave up after 1 .*what arrived is kept in .*\.part"):
        _fetch(server, destination, sha256=SHA256, attempts=1)
    assert _files(destination) == ["corpus.txt.part", "corpus.txt.part.json"]
    assert _fetch(server, destination, sha256=SHA256).sha256 == SHA256
    assert server.ranges == ["all", "bytes=100000-"]
    assert _files(destination) == ["corpus.txt"]


def test_complete_part_is_not_asked_for_again(server: Server, destination: Path) -> None:
    """A run that was killed between the last byte and the renaming only renames."""
    destination.parent.mkdir()
    (destination.parent / "corpus.txt.part").write_bytes(CONTENT)
    assert _fetch(server, destination, sha256=SHA256, size_bytes=SIZE).sha256 == SHA256
    assert server.ranges == []


def test_server_without_ranges_starts_again(server: Server, destination: Path) -> None:
    """Where the server sends everything again, what was there before is dropped."""
    server.honours_range = False
    server.cuts = [100_000]
    assert _fetch(server, destination, sha256=SHA256).sha256 == SHA256
    assert destination.read_bytes() == CONTENT


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_file_that_changed_meanwhile_is_fetched_anew(
    server: Server, destination: Path, honours_if_range: bool
) -> None:
    """The beginning of one version and the end of another are never joined."""
    server.cuts = [100_000]
    with pytest.raises(FetchError):
        _fetch(server, destination, attempts=1)
    server.content, server.etag = CONTENT[::-1], '"v2"'
    server.honours_if_range = honours_if_range
    _fetch(server, destination)
    assert destination.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_without_version_and_hash_nothing_is_joined(
    server: Server, destination: Path, etag: str
) -> None:
    """A weak ETag does not promise equal bytes either (RFC 9110 section 13.1.5)."""
    server.etag = etag
    server.cuts = [100_000]
    assert _fetch(server, destination).sha256 == SHA256
    assert server.ranges == ["all", "all"]


def test_foreign_part_gets_a_second_chance(server: Server, destination: Path) -> None:
    """A part of another file, or one that is too long, does not spoil this one."""
    for part in (b"something else", CONTENT + b"more"):
        destination.parent.mkdir(exist_ok=True)
        (destination.parent / "corpus.txt.part").write_bytes(part)
        assert _fetch(server, destination, sha256=SHA256).sha256 == SHA256
        assert server.ranges[-2:] == [f"bytes={len(part)}-", "all"]
        assert _files(destination) == ["corpus.txt"]
        destination.unlink()


def test_wrong_hash_is_told_and_moved_aside(server: Server, destination: Path) -> None:
    """The message says expected and found; the good file that was there stays."""
    destination.parent.mkdir()
    destination.write_bytes(b"good")
    expected = hashlib.sha256(b"expected").hexdigest()
    with pytest.raises(ValueError, match=f"sha256: expected {expected}, found {SHA256}"):
        _fetch(server, destination, sha256=expected)
    assert destination.read_bytes() == b"good"
    assert _files(destination) == ["corpus.txt", f"corpus.txt.bad-{SHA256[:8]}"]
    assert len(server.requests) == 1


def test_wrong_size_is_refused(server: Server, destination: Path) -> None:
    """An announced size is compared before the transfer, any other one after it."""
    with pytest.raises(ValueError, match="has 256,000 bytes, expected 1,000"):
        _fetch(server, destination, size_bytes=1000)
    server.tells_length = False
    with pytest.raises(ValueError, match="size: expected 1,000 bytes, found 256,000 bytes"):
        _fetch(server, destination, size_bytes=1000)
    assert not destination.exists()


def test_busy_server_is_tried_again_after_waiting(
    server: Server, destination: Path, slept: list[float]
) -> None:
    """503 and its like are answered with patience, longer each time, and never twice the same."""
    server.statuses = [503, 429, 500]
    assert _fetch(server, destination, sha256=SHA256).sha256 == SHA256
    waits = zip(slept, (1, 2, 4), strict=True)
    assert all(longest / 2 <= wait <= longest for wait, longest in waits)
    assert len(set(slept)) == 3


def test_server_may_ask_for_a_longer_wait(
    server: Server, destination: Path, slept: list[float]
) -> None:
    """Retry-After is respected."""
    server.statuses = [503]
    server.extra_headers = {"Retry-After": "7"}
    _fetch(server, destination)
    assert slept == [7.0]


def test_patience_ends(server: Server, destination: Path, slept: list[float]) -> None:
    """After so many failures in a row it is the caller's turn; no wait is above a minute."""
    server.statuses = [503] * 12
    with pytest.raises(FetchError, match=r"answers 503 .*gave up after 12 failures"):
        _fetch(server, destination, attempts=12)
    assert len(server.requests) == 12
    assert len(slept) == 11
    assert 30 <= slept[-1] <= 60


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (404, FileNotFoundError, "there is no such file; correct the address"),
        (410, FileNotFoundError, "there is no such file; correct the address"),
        (401, PermissionError, "wants a login"),
        (403, PermissionError, "forbids the file"),
        (400, ValueError, "trying again would not help"),
    ],
)
def test_final_refusal_fails_at_once(
    server: Server, destination: Path, status: int, error: type[Exception], message: str
) -> None:
    """What another attempt would not mend is not tried again."""
    server.statuses = [status]
    with pytest.raises(error, match=message) as caught:
        _fetch(server, destination)
    assert not isinstance(caught.value, FetchError)
    assert f"answers {status}" in str(caught.value)
    assert len(server.requests) == 1


def test_right_file_is_left_alone(server: Server, destination: Path) -> None:
    """A destination with the right hash, or size, is not fetched again."""
    _fetch(server, destination, sha256=SHA256)
    for pin in ({"sha256": SHA256}, {"size_bytes": SIZE}, {"sha256": SHA256, "size_bytes": SIZE}):
        result = fetch(server.url, destination, **pin)
        assert result == FetchResult(SHA256, SIZE, was_there=True)
    assert len(server.requests) == 1


def test_other_file_at_the_destination_is_kept_aside(server: Server, destination: Path) -> None:
    """What was at the destination before is renamed once the right file is there."""
    destination.parent.mkdir()
    destination.write_bytes(b"old")
    _fetch(server, destination, sha256=SHA256)
    old = hashlib.sha256(b"old").hexdigest()[:8]
    assert (destination.parent / f"corpus.txt.bad-{old}").read_bytes() == b"old"
    assert destination.read_bytes() == CONTENT


def test_two_fetchers_of_one_file_share_the_work(server: Server, destination: Path) -> None:
    """Concurrent calls for one destination transfer the file once."""
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(_fetch, server, destination, sha256=SHA256) for _ in range(4)]
        results = [job.result() for job in jobs]
    assert sorted(result.was_there for result in results) == [False, True, True, True]
    assert len(server.requests) == 1
    assert _files(destination) == ["corpus.txt"]


def test_progress_never_goes_beyond_the_total(server: Server, destination: Path) -> None:
    """Progress is in bytes, and counts what an earlier connection brought."""
    server.cuts = [100_000]
    seen: list[tuple[int, int]] = []
    _fetch(server, destination, sha256=SHA256, on_progress=lambda *step: seen.append(step))
    assert seen[-1] == (SIZE, SIZE)
    assert all(done <= total == SIZE for done, total in seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_credentials_reach_the_server_only(
    server: Server, destination: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """User, password and query of a URL are in no log, message or file."""
    server.statuses = [503, 404]
    url = server.url.replace("http://", "http://user:s3cret@") + "?signature=s3cret"
    with caplog.at_level(logging.DEBUG), pytest.raises(FileNotFoundError) as caught:
        fetch(url, destination)
    assert server.requests[0]["Authorization"] == "Basic dXNlcjpzM2NyZXQ="
    assert "attempt 2 follows" in caplog.text
    assert "s3cret" not in caplog.text + str(caught.value)
    for path in destination.parent.iterdir():
        assert b"s3cret" not in path.read_bytes()


def test_credentials_do_not_follow_a_redirect(server: Server, destination: Path) -> None:
    """The host that we are sent on to does not get to see the password."""
    server.statuses = [302]
    server.extra_headers = {"Location": server.url}
    fetch(server.url.replace("http://", "http://user:s3cret@"), destination)
    assert ["Authorization" in headers for headers in server.requests] == [True, False]


def test_full_disk_is_noticed_before_the_transfer(server: Server, destination: Path) -> None:
    """A file that cannot fit is refused with the numbers, and not tried again."""
    server.extra_headers = {"Content-Length": str(10**18)}
    server.tells_length = False
    message = rf"writing under {destination.parent} \(1,000,000,000,000,000,000 bytes are to come"
    with pytest.raises(OSError, match=message):
        _fetch(server, destination)
    assert len(server.requests) == 1


def test_other_places_are_read_through_fsspec(
    store: Store, tmp_path: Path, destination: Path
) -> None:
    """Local paths and any fsspec URL are fetched and checked the same way."""
    (tmp_path / "source").write_bytes(CONTENT)
    urls = [str(tmp_path / "source"), f"file://{tmp_path}/source"]
    store.fs.makedirs(store.root, exist_ok=True)
    store.fs.pipe_file(f"{store.root}/source", CONTENT)
    urls.append(f"{store.url}/source")
    for url in urls:
        assert fetch(url, destination, sha256=SHA256) == FetchResult(SHA256, SIZE, was_there=False)
        destination.unlink()
    with pytest.raises(FileNotFoundError):
        fetch(f"{tmp_path}/nothing", destination)
