"""Network errors are sorted into those that another attempt may mend and those that it will not."""

import pickle
import socket

import pytest

from artifacts.fetching.http_range import FetchError, UnreachableError, open_range, redacted


def _ask(url: str) -> None:
    with open_range(url, start=0, validator="", timeout_s=0.2):
        pass


def test_unreachable_server_is_a_retriable_error() -> None:
    """No server, no name: the error says which address cannot be reached."""
    with pytest.raises(UnreachableError, match=r"http://127.0.0.1:9/corpus cannot be reached"):
        _ask("http://127.0.0.1:9/corpus")


def test_silent_server_is_a_retriable_error() -> None:
    """A server that accepts and then says nothing is given up after the time-out."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/corpus"
        with pytest.raises(FetchError, match=r"timed out|TimeoutError"):
            _ask(url)


def test_error_survives_pickling() -> None:
    """Task runners on other machines send exceptions back, and callers branch on them."""
    again = pickle.loads(pickle.dumps(FetchError("no answer", 7.0)))
    assert (str(again), type(again)) == ("no answer", FetchError)
    again = pickle.loads(pickle.dumps(UnreachableError("no host", "no route")))
    assert (str(again), again.reason) == ("no host", "no route")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/a/b.txt", "https://host/a/b.txt"),
        ("https://user:password@host:8080/a", "https://host:8080/a"),
        ("https://token@host/a", "https://host/a"),
        ("https://host/a?X-Amz-Signature=secret#part", "https://host/a"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("/local/path", "/local/path"),
    ],
)
def test_secrets_are_cut_from_shown_addresses(url: str, shown: str) -> None:
    """What goes into logs has neither user, password nor query."""
    assert redacted(url) == shown
