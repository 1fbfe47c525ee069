"""A Docker engine with the project's image and the services of docker/compose.yaml, for a test."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.checkout_copy import ROOT
from tests.free_port import free_port

HERE = Path(__file__).parent
SKIPPED = 77
"""Exit code of engine.sh where no engine can be started."""

S3_KEYS = {"S3_KEY": "tester", "S3_SECRET": "not-a-secret"}


@dataclass
class Stack:
    """The services, their addresses on this machine, and the engine that runs them."""

    folder: Path
    ports: dict[str, int] = field(
        default_factory=lambda: {name: free_port() for name in ("PREFECT", "MLFLOW", "S3")}
    )

    @property
    def docker_environment(self) -> dict[str, str]:
        """What `docker` and the scripts need: this engine, and Debian's client for BuildKit."""
        return os.environ | {
            "DOCKER_HOST": f"unix://{self.folder}/docker.sock",
            "DOCKER_BUILDKIT": "1",
            "PATH": f"/usr/bin:{os.environ['PATH']}",
        }

    @property
    def user_environment(self) -> dict[str, str]:
        """What a user on this machine sets to work with the stack."""
        return {
            "PREFECT_API_URL": f"http://127.0.0.1:{self.ports['PREFECT']}/api",
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self.ports['MLFLOW']}",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports['S3']}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": S3_KEYS["S3_KEY"],
            "AWS_SECRET_ACCESS_KEY": S3_KEYS["S3_SECRET"],
        }

    def docker(self, *arguments: str) -> str:
        """Give a command to the engine and return what it prints."""
        return run(["docker", *arguments], self.docker_environment)

    def compose(self, *arguments: str) -> str:
        """Give a command to docker-compose, with the settings of this stack."""
        settings = self.folder / "env"
        options = [
            "--project-name",
            "owt",
            "-f",
            str(ROOT / "docker" / "compose.yaml"),
            "--env-file",
            str(settings),
        ]
        command = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
        return run([*command, *options, *arguments], self.docker_environment)

    def write_settings(self) -> None:
        """Write what `make stack` writes, with free ports and the stand-ins for public images."""
        settings = {
            **S3_KEYS,
            **{f"{name}_PORT": str(port) for name, port in self.ports.items()},
            "POSTGRES_PASSWORD": "not-a-secret",
            "POSTGRES_IMAGE": "stand-in/postgres",
            "SEAWEEDFS_IMAGE": "stand-in/seaweedfs",
            "DOCKER_SOCKET": f"{self.folder}/docker.sock",
            "DOCKER_GROUP": "0",
            "OWT_GPU_IMAGE": "owt-pipeline:cpu",
            "OWT_GPUS": "0",  # a test asks for one where the daemon's answer is of interest
        }
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (self.folder / "env").write_text("".join(lines))


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """Start engine, images and services, skipping by name where no engine can be had."""
    stack = Stack(folder)
    engine = [str(HERE / "engine.sh")]
    started = subprocess.run([*engine, "start", str(folder)], capture_output=True, text=True)
    try:
        if started.returncode == SKIPPED:
            pytest.skip(f"no Docker engine: {started.stdout.strip()}")
        assert started.returncode == 0, started.stdout + started.stderr
        run([str(HERE / "stand_ins.sh"), str(folder)], stack.docker_environment)
        build = ["build", "-f", "docker/Dockerfile", "-t", "owt-pipeline:cpu"]
        stack.docker(*build, "--build-arg", "COMMIT=0123abc", str(ROOT))
        stack.write_settings()
        stack.compose("up", "-d")
        yield stack
    finally:
        if (folder / "env").exists():
            (folder / "compose.log").write_text(stack.compose("logs", "--no-color"))
            stack.compose("down", "-v")
        subprocess.run([*engine, "stop", str(folder)], check=False)


def run(command: list[str], environment: dict[str, str]) -> str:
    """Run a command in the checkout; it must succeed."""
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout
