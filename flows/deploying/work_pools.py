"""The two work pools: processes on a machine, and containers on machines with GPUs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

CPU_POOL = "owt-cpu"
GPU_POOL = "owt-gpu"

HEARTBEAT_S = 30
"""Seconds between two heartbeats of a run; the least that Prefect allows."""

STOP_TIMEOUT_S = 120
"""Seconds that a stopped container has to save its training."""

RUN_ENVIRONMENT = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
    # A run looks up no deployment, and Prefect 3.8 logs a traceback when it loads plugins
    # in the process that it starts to cancel a run.
    "PREFECT_PLUGINS_ENABLED": "false",
}

CONTAINER_ENVIRONMENT = {
    # Otherwise a stopped container never lets its training save: Prefect ends it at once, or
    # not before the kill. With it the run is saved, rescheduled, and resumed by another one.
    "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule",
}

_TYPES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    list: "array",
    dict: "object",
}


@dataclass(frozen=True, kw_only=True)
class WorkPool:
    """A pool as the server is told of it."""

    name: str
    type: str
    description: str
    limit: int
    """Runs at a time, over all workers of the pool."""
    variables: Mapping[str, Any]
    """What a run of the pool is given; each may be replaced by `--job-variable` for one run."""


@dataclass(frozen=True, kw_only=True)
class Containers:
    """What the containers of the GPU pool are made of."""

    image: str
    gpus: int
    """GPUs of each container; -1: all of the machine, 0: none."""
    volumes: Sequence[str]
    network: str
    shm_size: str
    environment: Mapping[str, str]


def cpu_pool(limit: int, environment: Mapping[str, str]) -> WorkPool:
    """Return the pool whose runs are processes of its workers."""
    return WorkPool(
        name=CPU_POOL,
        type="process",
        description="Runs as processes in a worker's checkout.",
        limit=limit,
        variables={"env": RUN_ENVIRONMENT | dict(environment), "stream_output": True},
    )


def gpu_pool(limit: int, containers: Containers) -> WorkPool:
    """Return the pool whose runs are Docker containers that ask for GPUs."""
    return WorkPool(
        name=GPU_POOL,
        type="docker",
        description="Runs as containers on machines with GPUs.",
        limit=limit,
        variables={
            "env": RUN_ENVIRONMENT | CONTAINER_ENVIRONMENT | dict(containers.environment),
            "image": containers.image,
            # The image is built on each machine, or loaded there; no registry is asked.
            "image_pull_policy": "IfNotPresent",
            "network_mode": containers.network,
            "volumes": list(containers.volumes),
            "auto_remove": True,
            "stream_output": True,
            "container_create_kwargs": container_options(containers),
        },
    )


def container_options(containers: Containers) -> dict[str, Any]:
    """Return the arguments of docker-py that Prefect has no name for."""
    options: dict[str, Any] = {
        # torch's loader and NCCL share memory; Docker's default is 64 MB.
        "shm_size": containers.shm_size,
        "init": True,
        "stop_signal": "SIGTERM",
    }
    if containers.gpus:
        request = {"driver": "nvidia", "count": containers.gpus, "capabilities": [["gpu"]]}
        options["device_requests"] = [request]
    return options


def job_template(pool: WorkPool) -> dict[str, Any]:
    """Return Prefect's form of a pool's variables, each with its default."""
    # These two are given by the worker, unless somebody overrides them.
    names = ["command", "labels", "name", *pool.variables]
    properties: dict[str, Any] = {
        name: {"type": _TYPES[type(value)], "default": value}
        for name, value in pool.variables.items()
    }
    properties |= {"command": {"type": "string"}, "name": {"type": "string"}}
    properties["labels"] = {"type": "object", "additionalProperties": {"type": "string"}}
    return {
        "job_configuration": {name: f"{{{{ {name} }}}}" for name in names},
        "variables": {"type": "object", "properties": properties},
    }


def ensure_pool(client: SyncPrefectClient, pool: WorkPool) -> str:
    """Create or update a pool, and say which."""
    template = job_template(pool)
    try:
        found = client.read_work_pool(pool.name)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(
                name=pool.name,
                type=pool.type,
                description=pool.description,
                base_job_template=template,
                concurrency_limit=pool.limit,
            )
        )
        return "created"
    if found.type != pool.type:
        raise ValueError(
            f"work pool {pool.name} is of type {found.type}, not {pool.type}; "
            f'remove it with "prefect work-pool delete {pool.name}" and deploy again'
        )
    if found.base_job_template == template and found.concurrency_limit == pool.limit:
        return "unchanged"
    client.update_work_pool(
        pool.name,
        WorkPoolUpdate(
            description=pool.description,
            base_job_template=template,
            concurrency_limit=pool.limit,
        ),
    )
    return "updated"
