"""`owt ui`: the pages of MLflow and Prefect over what lies below the data root."""

import json
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from flows.cli.serving.servers import (
    PREFECT,
    Server,
    refuse_taken_ports,
    serving,
    wait_until_ready,
    watch,
)
from flows.settings import (
    EXPERIMENT,
    HOST,
    MLFLOW_PORT,
    PREFECT_PORT,
    data_root,
    prefect_api_url,
    prepare_environment,
    set_mlflow_hosts,
    set_prefect_page_address,
    tracking_uri,
)
from tasks.tracking.runs import SHARED_VIEW, TRAINING_VIEW

Port = Annotated[int, typer.Option(min=1, max=65535)]


def ui(mlflow_port: Port = MLFLOW_PORT, prefect_port: Port = PREFECT_PORT) -> None:
    """Serve the pages of MLflow and Prefect on this machine until Ctrl-C.

    A server that MLFLOW_TRACKING_URI or PREFECT_API_URL names is not started; its address is shown.
    """
    root = data_root()
    prepare_environment(root)
    servers = servers_to_start(root, mlflow_port, prefect_port)
    refuse_taken_ports(servers)
    set_mlflow_hosts(mlflow_port)
    # Prefect's own `--port` does not reach its page, which then asks port 4200.
    set_prefect_page_address(f"http://{HOST}:{prefect_port}")
    with suppress(KeyboardInterrupt), serving(servers) as started:
        for item in started:
            typer.echo(f"starting {item.server.name} ...")
            wait_until_ready(item)
        show_addresses(root, mlflow_port, prefect_port)
        if started:
            typer.echo("Ctrl-C stops both." if len(started) > 1 else "Ctrl-C stops it.")
        watch(started)


def servers_to_start(root: Path, mlflow_port: int, prefect_port: int) -> list[Server]:
    """Return the servers over the data root, without those that the user has elsewhere."""
    servers = []
    if (uri := tracking_uri(root)).startswith("sqlite"):
        servers.append(
            Server(
                name="mlflow",
                port=mlflow_port,
                command=("mlflow", "server", "--workers", "1", "--backend-store-uri", uri),
                health="/health",
                log=root / "mlflow" / "server.log",
            )
        )
    if not prefect_api_url():
        servers.append(
            Server(
                name="prefect",
                port=prefect_port,
                command=PREFECT,
                health="/api/health",
                log=root / "prefect" / "server.log",
            )
        )
    return servers


def show_addresses(root: Path, mlflow_port: int, prefect_port: int) -> None:
    """Print where to look; MLflow's link leads to the runs, past its traces view."""
    uri, api = tracking_uri(root), prefect_api_url()
    mlflow = f"http://{HOST}:{mlflow_port}" if uri.startswith("sqlite") else uri.rstrip("/")
    prefect = api.rstrip("/").removesuffix("/api") if api else f"http://{HOST}:{prefect_port}"
    typer.echo(f"MLflow:  {mlflow}/#/experiments{runs_page(mlflow)}")
    typer.echo(f"Prefect: {prefect}/runs")


def runs_page(mlflow: str) -> str:
    """Return the rest of the address of our experiment's runs; "" before the first run."""
    query = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(EXPERIMENT)}"
    try:
        with urllib.request.urlopen(f"{mlflow}{query}", timeout=30) as response:
            experiment = json.load(response)["experiment"]
    except (urllib.error.URLError, TimeoutError, ValueError, KeyError):
        return ""
    return f"/{experiment['experiment_id']}/runs?{TRAINING_VIEW}&viewStateShareKey={SHARED_VIEW}"
