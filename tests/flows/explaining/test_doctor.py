"""`owt doctor` finds what would stop a run, names the way out, and leaves nothing behind."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from artifacts import filesystem
from flows.cli.main import app
from flows.config import resolve_config
from flows.explaining import doctor
from flows.explaining.doctor import Finding, Patient, examine
from flows.presets import find_preset


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root, with no server of the user's."""
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "OWT_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OWT_ROOT", str(tmp_path))
    return tmp_path


def findings(root: Path, *settings: str) -> dict[str, Finding]:
    """Return what every check finds."""
    config = resolve_config(find_preset("smoke"), None, settings)
    return {finding.name: finding for finding in examine(Patient(config=config, root=root))}


def test_a_sound_machine_has_nothing_broken(root: Path) -> None:
    """Every check says something, and the store is as it was."""
    found = findings(root)
    assert {finding.status for finding in found.values()} <= {"ok", "note"}
    assert list(found) == list(doctor.CHECKS)
    assert all(finding.way_out for finding in found.values() if finding.status != "ok")
    assert not list((root / "artifacts").glob(".*"))


def test_a_device_that_is_not_there_is_broken(root: Path) -> None:
    """The message says what there is."""
    found = findings(root, "run.device=mps", "run.store=memory://doctor")["device"]
    assert (found.status, "not available here" in found.found) == ("broken", True)


def test_a_store_in_which_the_second_writer_wins_is_broken(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two builders of one artifact would overwrite each other there."""

    def create_anyway(fs: Any, path: str, data: bytes) -> bool:
        filesystem.write_bytes(fs, path, data)
        return True

    monkeypatch.setattr(filesystem, "create_exclusive", create_anyway)
    found = findings(root)["store"]
    assert found.status == "broken"
    assert "conditional writes" in found.way_out


def test_a_full_disk_is_broken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan says what is needed."""

    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=1000))
    found = findings(root)["disk"]
    assert found.status == "broken"
    assert found.found.startswith("1 kB free")


class LateHandler(BaseHTTPRequestHandler):
    """Answers with the date of another century."""

    def do_GET(self) -> None:
        """Say that all is well."""
        self.send_response_only(200)
        self.send_header("Date", "Thu, 01 Jan 1998 00:00:00 GMT")
        self.end_headers()


@pytest.fixture
def late_server() -> Iterator[str]:
    """The address of a server whose clock is wrong."""
    with ThreadingHTTPServer(("127.0.0.1", 0), LateHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_is_asked_for_its_health_and_its_clock(
    root: Path, late_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not answer is broken; one with another date is a note."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", late_server)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    found = findings(root)
    assert found["mlflow"].status == "note"
    assert "clock differs by -" in found["mlflow"].found
    assert found["prefect"].status == "broken"
    assert "PREFECT_API_URL" in found["prefect"].way_out


def test_the_command_ends_with_1_where_something_is_broken(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script can ask; JSON has the same findings."""
    sound = CliRunner().invoke(app, ["doctor", "--json"])
    assert sound.exit_code == 0
    assert [entry["name"] for entry in json.loads(sound.stdout)] == list(doctor.CHECKS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    broken = CliRunner().invoke(app, ["doctor"])
    assert broken.exit_code == 1
    assert "-> start the server, correct MLFLOW_TRACKING_URI" in broken.stdout
