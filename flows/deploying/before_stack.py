"""What `make stack` asks before it builds or writes anything: Docker, Compose, free ports, a login.

    python3 -m flows.deploying.before_stack --compose "docker compose" docker/.env

Needs nothing but Python: the stack runs from images, and a machine may have no environment of ours.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.cli.serving.servers import is_free
from flows.settings import HOST, stack_environment

PORTS = {"PREFECT_PORT": "4200", "MLFLOW_PORT": "5000", "S3_PORT": "8333"}
DEFAULTS = {
    **PORTS,
    "OWT_BIND": HOST,
    "OWT_GPUS": "-1",
    "OWT_GPU_IMAGE": "owt-pipeline:cuda",
    "PREFECT_SERVER_API_AUTH_STRING": "",
}
OWN_CONTAINERS = "label=com.docker.compose.project=owt"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, and say in one line what is in the way; notes refuse nothing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", type=Path, help="the file of settings, which need not be there")
    parser.add_argument("--compose", default="docker compose", help="the command of Compose")
    options = parser.parse_args(arguments)
    try:
        refuse_without_openssl(options.settings)
        notes = check(read_settings(options.settings), shlex.split(options.compose))
    except ValueError as error:
        sys.stderr.write(f"make stack: {error}\n")
        return 2
    for note in notes:
        sys.stderr.write(f"make stack: note: {note}\n")
    return 0


def read_settings(path: Path) -> dict[str, str]:
    """Return what Compose will read: the environment before the file, the file before defaults."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    pairs = (line.partition("=") for line in lines if "=" in line and line[:1] != "#")
    written = {name.strip(): value.strip() for name, _, value in pairs}
    return DEFAULTS | written | stack_environment(DEFAULTS)


def check(settings: Mapping[str, str], compose: Sequence[str]) -> list[str]:
    """Return notes about what will not work, once the services can start.

    Raises:
        ValueError: They cannot.
    """
    engine = engine_facts()
    refuse_without_compose(compose)
    refuse_open_door(settings)
    refuse_taken_ports(settings, own_ports())
    return gpu_notes(settings, engine)


def ask(command: Sequence[str]) -> tuple[bool, str]:
    """Return whether a command succeeded, and what it printed, the complaint where it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    succeeded = done.returncode == 0
    return succeeded, (done.stdout if succeeded else done.stderr or done.stdout).strip()


def engine_facts() -> dict[str, Any]:
    """Return what Docker says of its daemon; `ValueError` where none answers."""
    succeeded, answer = ask(["docker", "info", "--format", "{{json .}}"])
    found: dict[str, Any] = json.loads(answer) if succeeded else {}
    if succeeded and not found.get("ServerErrors"):
        return found
    complaint = "; ".join(found.get("ServerErrors") or answer.splitlines()[-1:])
    raise ValueError(
        f"no Docker daemon answers ({complaint}); install Docker, start it (systemctl start "
        "docker), and join the group docker"
    )


def refuse_without_compose(compose: Sequence[str]) -> None:
    """Raise `ValueError` where Docker Compose is not installed under this name."""
    succeeded, answer = ask([*compose, "version"])
    if not succeeded:
        raise ValueError(
            f'"{shlex.join(compose)}" does not work ({answer.splitlines()[-1] if answer else ""}); '
            "install the package docker-compose-plugin, or, where Compose 1 is there, give "
            "make stack COMPOSE=docker-compose"
        )


def refuse_without_openssl(settings: Path) -> None:
    """Raise `ValueError` where make would write empty passwords."""
    if not settings.exists() and shutil.which("openssl") is None:
        raise ValueError(f"openssl, which makes the passwords of {settings}, is not installed")


def refuse_open_door(settings: Mapping[str, str]) -> None:
    """Raise `ValueError` where others would reach a Prefect server that asks for no password."""
    place = settings["OWT_BIND"]
    if place.startswith("127.") or place in ("localhost", "::1"):
        return
    if not settings["PREFECT_SERVER_API_AUTH_STRING"]:
        raise ValueError(
            f"OWT_BIND ({place}) offers the servers to others, and Prefect's asks for no password; "
            "set PREFECT_SERVER_API_AUTH_STRING and PREFECT_API_AUTH_STRING in docker/.env "
            "(docker/README.md)"
        )


def own_ports() -> str:
    """Return the ports that services of this stack hold already: it may be started again."""
    _, answer = ask(["docker", "ps", "--filter", OWN_CONTAINERS, "--format", "{{.Ports}}"])
    return answer


def refuse_taken_ports(settings: Mapping[str, str], own: str) -> None:
    """Raise `ValueError` that names the first port which the services cannot have."""
    seen: dict[int, str] = {}
    for name in PORTS:
        if not settings[name].isdecimal() or not 0 < int(settings[name]) < 2**16:
            raise ValueError(f"{name} ({settings[name]}) must be a port, from 1 to 65535")
        port = int(settings[name])
        if port in seen:
            raise ValueError(f"{name} and {seen[port]} are both {port}; give one another port")
        seen[port] = name
        if f":{port}->" not in own and not is_free(port):
            raise ValueError(
                f"port {port} on {HOST} is taken; stop what listens there (owt ui?), "
                f"or set {name} in docker/.env"
            )


def gpu_notes(settings: Mapping[str, str], engine: Mapping[str, Any]) -> list[str]:
    """Return a line where runs will ask for GPUs that Docker does not seem to have."""
    if settings["OWT_GPUS"] == "0" or "nvidia" in (engine.get("Runtimes") or {}):
        return []
    note = (
        "Docker has no NVIDIA runtime, and runs of the pool owt-gpu ask for GPUs; install the "
        "NVIDIA Container Toolkit, or set OWT_GPUS=0 and OWT_GPU_IMAGE=owt-pipeline:cpu in "
        "docker/.env"
    )
    return [note]


if __name__ == "__main__":
    sys.exit(main())
