"""Servers of the user's that refuse them are named before a run starts anything."""

import base64
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from flows.logins import refuse_wrong_logins

LOGIN = "Basic " + base64.b64encode(b"owt:right").decode()


class Guarded(BaseHTTPRequestHandler):
    """Answers only who knows the password."""

    def do_GET(self) -> None:
        """Say whether the caller may come in."""
        self.send_response(200 if self.headers.get("Authorization") == LOGIN else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """A real server that wants a login."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Set what a user has in the environment, and nothing else of these."""
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("URI", "USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)

    def put(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_wrong_password_is_one_line_with_the_variable(
    guarded: str, environment: Callable[[dict[str, str]], None], password: str
) -> None:
    """The line names the server; the password is not in it."""
    login = {"PREFECT_API_AUTH_STRING": f"owt:{password}"} if password else {}
    environment({"PREFECT_API_URL": f"{guarded}/api", **login})
    with pytest.raises(ValueError, match=r"refuses this user; set PREFECT_API_AUTH_STRING") as it:
        refuse_wrong_logins()
    assert f"{guarded}/api" in str(it.value)
    assert "wrong" not in str(it.value)
    environment({"PREFECT_API_URL": "", "MLFLOW_TRACKING_URI": guarded})
    environment({"MLFLOW_TRACKING_USERNAME": "owt", "MLFLOW_TRACKING_PASSWORD": password})
    with pytest.raises(ValueError, match=r"MLflow at .* refuses this user; set MLFLOW_TRACKING"):
        refuse_wrong_logins()


def test_the_right_password_and_servers_that_are_away_are_let_through(
    guarded: str, environment: Callable[[dict[str, str]], None]
) -> None:
    """Whether a server that is away matters is for others to say; no server is fine."""
    refuse_wrong_logins()
    environment({"PREFECT_API_URL": f"{guarded}/api", "PREFECT_API_AUTH_STRING": "owt:right"})
    environment({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    refuse_wrong_logins()
    environment({"MLFLOW_TRACKING_URI": "sqlite:////tmp/mlflow.db"})
    refuse_wrong_logins()
