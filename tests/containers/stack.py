"""A Docker engine with the project's image and the services of docker/compose.yaml, for a test."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.checkout_copy import ROOT
from tests.free_port import free_port

HERE = Path(__file__).parent
SKIPPED = 77
"""Exit code of the scripts where there is no engine, or nothing to build images from."""

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
S3_KEYS = {"S3_KEY": "tester", "S3_SECRET": "not-a-secret"}


@dataclass
class Stack:
    """The services, their addresses on this machine, and the engine that runs them."""

    folder: Path
    ports: dict[str, int] = field(
        default_factory=lambda: {name: free_port() for name in ("PREFECT", "MLFLOW", "S3")}
    )

    started: float = field(default_factory=time.monotonic)
    built_s: float = 0.0
    """Seconds until the images were built; then the services start."""

    def seconds(self) -> float:
        """Return for how long we have been at it."""
        return time.monotonic() - self.started

    @property
    def docker_environment(self) -> dict[str, str]:
        """What `docker` and the scripts need: this engine, and Debian's client for BuildKit."""
        return os.environ | {
            "DOCKER_HOST": f"unix://{self.folder}/docker.sock",
            "DOCKER_BUILDKIT": "1" if builds_by_buildkit() else "0",
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

    def container(self, service: str, template: str) -> str:
        """Return what `docker ps` says of a service's container, whatever Compose calls it."""
        labels = {"project": "owt", "service": service}
        filters = [
            word
            for name, value in labels.items()
            for word in ("--filter", f"label=com.docker.compose.{name}={value}")
        ]
        return self.docker("ps", "-a", *filters, "--format", template).strip()

    def end_runs(self) -> None:
        """Remove the containers of runs that a failed test left: the network is theirs, too."""
        found = self.docker("ps", "-aq", "--filter", "label=io.prefect.flow-run-id").split()
        if found:
            self.docker("rm", "--force", *found)

    def keep_logs(self) -> None:
        """Keep what the services said, for whoever asks why a test failed."""
        (self.folder / "compose.log").write_text(self.compose("logs", "--no-color"))

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
    engine = str(HERE / "engine.sh")
    with ExitStack() as after:
        after.callback(subprocess.run, [engine, "stop", str(folder)], check=False)
        run_or_skip([engine, "start", str(folder)], os.environ)
        run_or_skip([str(HERE / "stand_ins.sh"), str(folder)], stack.docker_environment)
        build = ["build", "-f", "docker/Dockerfile", "-t", "owt-pipeline:cpu", *torch_index()]
        stack.docker(*build, "--build-arg", "COMMIT=0123abc", str(ROOT))
        stack.built_s = stack.seconds()
        stack.write_settings()
        after.callback(stack.compose, "down", "-v")
        after.callback(stack.end_runs)
        after.callback(stack.keep_logs)
        stack.compose("up", "-d")
        yield stack


def builds_by_buildkit() -> bool:
    """Tell whether Docker's client can use BuildKit: by itself up to 20.10, then by a plugin."""
    environment = os.environ | {"PATH": f"/usr/bin:{os.environ['PATH']}"}
    version = subprocess.run(["docker", "--version"], env=environment, capture_output=True)
    plugin = subprocess.run(["docker", "buildx", "version"], env=environment, capture_output=True)
    return version.stdout.startswith(b"Docker version 20.") or plugin.returncode == 0


def torch_index() -> list[str]:
    """Return the build argument for torch without CUDA; none where the machine has the wheel."""
    if any(Path("/opt/wheels").glob("torch-*")):  # the stand-in for the base has them, too
        return []
    try:
        urlopen(f"{TORCH_INDEX}/torch/", timeout=20).close()
    except OSError as error:
        pytest.skip(f"torch without CUDA cannot be had from {TORCH_INDEX}: {error}")
    return ["--build-arg", f"TORCH_INDEX={TORCH_INDEX}"]


def run_or_skip(command: list[str], environment: Mapping[str, str]) -> None:
    """Run a script that gets what the test needs; it may say why that cannot be had here."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == SKIPPED:
        pytest.skip(f"no Docker engine: {done.stdout.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr


def run(command: list[str], environment: dict[str, str]) -> str:
    """Run a command in the checkout; it must succeed."""
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout
