"""`owt deploy`: work pools, deployments and automations on a Prefect server."""

import re
from typing import Annotated

import typer

from flows.settings import prefect_api_url, set_quiet_defaults

Limit = Annotated[int, typer.Option(min=1, help="Runs at a time.")]
Volumes = Annotated[
    list[str], typer.Option("--volume", help="PLACE:FOLDER[:ro] of a container; may be repeated.")
]
Environment = Annotated[
    list[str] | None,
    typer.Option("--env", help="NAME=VALUE for the runs of both pools; may be repeated."),
]

SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|AUTH")


def deploy(
    cpu_runs: Limit = 1,
    gpu_runs: Limit = 1,
    image: Annotated[str, typer.Option(help="Image of the containers.")] = "owt-pipeline:cuda",
    gpus: Annotated[int, typer.Option(help="GPUs of a container; -1: all, 0: none.", min=-1)] = -1,
    volume: Volumes = ["owt-data:/data"],  # noqa: B006 - typer's way to give a default
    network: Annotated[str, typer.Option(help="Docker network of a container.")] = "host",
    shm_size: Annotated[str, typer.Option(help="Shared memory of a container.")] = "8g",
    env: Environment = None,
) -> None:
    """Create or update work pools, deployments and automations on the server of PREFECT_API_URL.

    Doing it again changes what differs, and says so.
    """
    environment = parse_environment(env or [])
    if not (api_url := prefect_api_url()):
        raise ValueError(
            "PREFECT_API_URL is not set, so there is no server to deploy to; start one with "
            '"owt ui", then export PREFECT_API_URL=http://127.0.0.1:4200/api'
        )
    set_quiet_defaults()
    from flows.deploying.deploy import deploy as deploy_to
    from flows.deploying.work_pools import Containers, cpu_pool, gpu_pool

    containers = Containers(
        image=image,
        gpus=gpus,
        volumes=volume,
        network=network,
        shm_size=shm_size,
        environment=environment,
    )
    pools = [cpu_pool(cpu_runs, environment), gpu_pool(gpu_runs, containers)]
    for what, done in deploy_to(api_url, pools):
        typer.echo(f"{what}: {done}")
    variables = f"PREFECT_API_URL={api_url} PREFECT_PLUGINS_ENABLED=true DO_NOT_TRACK=true"
    typer.echo(f"In each shell:   export {variables}")
    typer.echo("Start a worker:  prefect worker start --pool owt-cpu   (or owt-gpu)")
    typer.echo("Start a run:     prefect deployment run owt-pipeline   (or owt-pipeline/gpu)")


def parse_environment(settings: list[str]) -> dict[str, str]:
    """Return what each run finds in its environment.

    >>> parse_environment(["MLFLOW_TRACKING_URI=http://mlflow:5000"])
    {'MLFLOW_TRACKING_URI': 'http://mlflow:5000'}
    """
    found = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"--env ({setting!r}) must look like NAME=VALUE")
        # The server keeps a pool's variables readable for everybody who may see the pool.
        if SECRET.search(name) and not name.endswith(("_FILE", "_PATH")):
            raise ValueError(
                f"--env ({name}) looks like a secret, and the server would show it to all its "
                "users; mount a file: --volume FILE:/run/secrets/NAME:ro (docs/deployment.md)"
            )
        found[name] = value
    return found
