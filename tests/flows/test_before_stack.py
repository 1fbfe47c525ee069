"""`make stack` where something is in the way: one line, before anything is written or built."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkout_copy import ROOT
from tests.free_port import free_port

DOCKER = """#!/bin/sh
case "$*" in
    info*) {info} ;;
    "compose version") {compose} ;;
    ps*) echo "{ports}" ;;
    *) touch {folder}/was-used; exit 1 ;;
esac
"""
SOUND: dict[str, dict[str, dict[str, str]]] = {"Runtimes": {"runc": {}, "nvidia": {}}}

Stack = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """Run `make stack` on a machine whose `docker` is a script that gives the test's answers."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "docker").mkdir()
    (tmp_path / "flows").symlink_to(ROOT / "flows")
    shutil.copy(ROOT / "Makefile", tmp_path / "Makefile")
    ports = {name: str(free_port()) for name in ("PREFECT_PORT", "MLFLOW_PORT", "S3_PORT")}

    def run(
        *,
        info: str = f"echo '{json.dumps(SOUND)}'",
        compose: str = "true",
        own_ports: str = "",
        has_docker: bool = True,
        has_openssl: bool = True,
        **settings: str,
    ) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "bin" / "docker"
        script.write_text(
            DOCKER.format(info=info, compose=compose, ports=own_ports, folder=tmp_path)
        )
        script.chmod(0o755 if has_docker else 0o644)
        tools = tmp_path / "tools"  # make and a shell, and no Docker that the machine may have
        tools.mkdir(exist_ok=True)
        for tool in ("make", "sh", "touch", "awk"):
            if not (tools / tool).exists():
                (tools / tool).symlink_to(shutil.which(tool) or tool)
        script = tmp_path / "bin" / "openssl"  # is looked for, and not used
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755 if has_openssl else 0o644)
        return subprocess.run(
            ["make", "-s", "stack-check", f"PYTHON={sys.executable}"],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}/bin:{tools}", **ports, **settings},
            capture_output=True,
            text=True,
        )

    return run


def the_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that is not make's own."""
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make:")]
    return line


@pytest.mark.parametrize(
    ("machine", "problem"),
    [
        ({"has_docker": False}, "no Docker daemon answers ("),
        ({"has_openssl": False}, "openssl, which makes the passwords of docker/.env, is not"),
        (
            {"info": "echo 'Cannot connect to the Docker daemon at unix:///x' >&2; exit 1"},
            "no Docker daemon answers (Cannot connect to the Docker daemon at unix:///x); install",
        ),
        (
            {"info": """echo '{"ServerErrors": ["permission denied"]}'"""},
            "no Docker daemon answers (permission denied)",
        ),
        (
            {"compose": "echo unknown command >&2; exit 1"},
            '"docker compose" does not work (unknown command); install the package',
        ),
        ({"OWT_BIND": "0.0.0.0"}, "OWT_BIND (0.0.0.0) offers the servers to others"),
        ({"S3_PORT": "80000"}, "S3_PORT (80000) must be a port"),
        ({"S3_PORT": "4200", "PREFECT_PORT": "4200"}, "are both 4200"),
    ],
)
def test_what_is_in_the_way_is_one_line_with_the_way_out(
    stack: Stack, tmp_path: Path, machine: dict[str, str], problem: str
) -> None:
    """Neither passwords are written nor images built."""
    line = the_line(stack(**machine))
    assert line.startswith("make stack: ")
    assert problem in line
    assert not list((tmp_path / "docker").iterdir())
    assert not (tmp_path / "was-used").exists()


def test_a_taken_port_is_named_with_its_setting(stack: Stack, tmp_path: Path) -> None:
    """The file of settings counts; a port that the stack itself holds is no obstacle."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = the_line(stack(MLFLOW_PORT=str(port)))
        assert f"port {port} on 127.0.0.1 is taken" in line
        assert "set MLFLOW_PORT in docker/.env" in line
        again = stack(MLFLOW_PORT=str(port), own_ports=f"127.0.0.1:{port}->5000/tcp")
        assert (again.returncode, again.stderr) == (0, "")


def test_a_machine_without_gpus_is_told_what_to_set(stack: Stack) -> None:
    """The stack starts all the same: only runs of that pool will be refused."""
    plain = stack(info="""echo '{"Runtimes": {"runc": {}}}'""")
    assert plain.returncode == 0
    assert "make stack: note: Docker has no NVIDIA runtime" in plain.stderr
    assert "OWT_GPUS=0" in plain.stderr
    told = stack(info="""echo '{"Runtimes": {"runc": {}}}'""", OWT_GPUS="0")
    assert (told.returncode, told.stderr) == (0, "")


def test_the_stack_is_checked_before_it_is_built() -> None:
    """The order in which make does it, and what Compose would do last."""
    planned = subprocess.run(
        ["make", "--no-print-directory", "-n", "stack"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert "flows.deploying.before_stack" in planned[0]
    assert planned[-1].endswith("up -d")
