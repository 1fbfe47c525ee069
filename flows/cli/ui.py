"""`owt ui`: the pages of MLflow and Prefect over what lies below the data root."""

import signal
import subprocess
import sys
import time
from typing import Annotated

import rich
import typer

from flows.settings import EXPERIMENT, data_root, prepare_environment, tracking_uri

HOST = "127.0.0.1"


def ui(
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's page.")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's page.")] = 4200,
) -> None:
    """Serve the pages of MLflow and Prefect on this machine until Ctrl-C."""
    root = data_root()
    prepare_environment(root)
    store = ["--backend-store-uri", tracking_uri(root)]
    mlflow = ["mlflow", "server", "--host", HOST, "--port", str(mlflow_port), "--workers", "1"]
    prefect = ["prefect", "server", "start", "--host", HOST, "--port", str(prefect_port)]
    servers = [
        subprocess.Popen([sys.executable, "-m", *mlflow, *store]),
        subprocess.Popen([sys.executable, "-m", *prefect]),
    ]
    rich.print(f"MLflow:  http://{HOST}:{mlflow_port}/#/experiments (experiment {EXPERIMENT})")
    rich.print(f"Prefect: http://{HOST}:{prefect_port}/runs")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while all(server.poll() is None for server in servers):
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait()
