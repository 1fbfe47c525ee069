"""A worker whose runs are containers: is its Docker ready, and what the daemon's refusals mean."""

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from prefect.client.schemas.objects import WorkPool

from flows.settings import docker_host

NO_DRIVER = "could not select device driver"
"""What the daemon says to a request for GPUs that it cannot serve."""

WITHOUT_GPUS = (
    "install the NVIDIA Container Toolkit and restart Docker, or let the pool ask for no GPU: "
    '"owt deploy --gpus 0 --image owt-pipeline:cpu"'
)


def prepare_docker_worker(pool: WorkPool) -> list[str]:
    """Refuse to work without a Docker daemon; return a line for each thing that its runs will lack.

    Raises:
        ValueError: prefect-docker is not installed, or no daemon answers.
    """
    try:
        docker = import_module("docker")
        worker = import_module("prefect_docker.worker")
    except ImportError as error:
        raise ValueError(
            f"the work pool {pool.name} runs containers, and prefect-docker is not installed; "
            'pip install -e ".[docker]"'
        ) from error
    try:
        knock(docker_host())
        engine = docker.from_env(timeout=10)
    except (OSError, docker.errors.DockerException) as error:
        raise ValueError(
            f"no Docker daemon answers this user at {docker_host()}: {error}; "
            "start Docker (systemctl start docker), set DOCKER_HOST, or join the group docker"
        ) from error
    explain_refusals(worker.DockerWorker)
    try:
        return shortcomings(engine, default_variables(pool))
    finally:
        engine.close()


def knock(address: str) -> None:
    """Raise `OSError` where nobody listens; docker-py would leave its socket open then."""
    place = urlsplit(address)
    if place.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(10)
            probe.connect(place.path)
    elif place.scheme == "tcp":
        socket.create_connection((place.hostname, place.port), timeout=10).close()


def default_variables(pool: WorkPool) -> dict[str, Any]:
    """Return what each run of a pool is given unless it says otherwise."""
    properties = pool.base_job_template.get("variables", {}).get("properties", {})
    return {name: facts.get("default") for name, facts in properties.items()}


def shortcomings(engine: Any, variables: dict[str, Any]) -> list[str]:
    """Return a line for the image and for the GPUs, where the pool asks for what is not here.

    They refuse nothing: a run may bring another image, and the daemon may find GPUs in another way.
    """
    lines = []
    image = variables.get("image") or ""
    if image and not has_image(engine, image):
        lines.append(
            f"this machine has no image {image!r}; build it with docker build -f docker/Dockerfile "
            f"-t {image} . before the first run (docker/README.md)"
        )
    options = variables.get("container_create_kwargs") or {}
    if options.get("device_requests") and "nvidia" not in (engine.info().get("Runtimes") or {}):
        lines.append(f"Docker has no NVIDIA runtime, and runs ask for GPUs; {WITHOUT_GPUS}")
    return lines


def has_image(engine: Any, image: str) -> bool:
    """Tell whether an image is on this machine."""
    errors = import_module("docker.errors")
    try:
        engine.images.get(image)
    except errors.ImageNotFound:
        return False
    return True


def explain_refusals(worker: type) -> None:
    """Let a container that the daemon refuses to start leave nothing, and say the way out.

    Does nothing where Prefect's worker no longer has the method.
    """
    original: Callable[..., Any] | None = getattr(worker, "_create_container", None)
    if original is None:
        return

    @wraps(original)
    def create_container(self: Any, *args: Any, **kwargs: Any) -> Any:
        container = original(self, *args, **kwargs)
        container.start = starting(container)
        return container

    worker._create_container = create_container  # type: ignore[attr-defined] # any class of Prefect's


def starting(container: Any) -> Callable[..., None]:
    """Return the container's `start`, which removes what could not be started."""
    start: Callable[..., None] = container.start

    @wraps(start)
    def start_or_remove(*args: Any, **kwargs: Any) -> None:
        try:
            start(*args, **kwargs)
        except Exception as error:
            with suppress(Exception):  # with auto_remove the daemon has done it
                container.remove(force=True)
            if NO_DRIVER not in str(error):
                raise
            raise RuntimeError(f"Docker gives this run no GPU ({error}); {WITHOUT_GPUS}") from error

    return start_or_remove
