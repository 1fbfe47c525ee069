"""Where a run keeps its state, and what the environment says; the only reader of `os.environ`.

Everything lies below one data root, so deleting that folder deletes everything. Values that a
user has set in the environment win. Imports nothing heavy.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

EXPERIMENT = "owt-pipeline"
HOST = "127.0.0.1"
"""Where the servers that we start listen: on this machine alone."""

MLFLOW_PORT = 5000
PREFECT_PORT = 4200
"""Ports of `owt ui`, which are those of the tools themselves."""

MLFLOW_PAGE = f"http://{HOST}:{MLFLOW_PORT}"
"""Where `owt ui` serves MLflow's page unless it is told another port."""

PREFECT_ORIGINS = "http://127.0.0.1:4200,http://localhost:4200"
"""Pages that a browser lets use the API of a server that we start: Prefect's own."""

COLLECT_AFTER = 100_000
"""Objects between two collections of garbage while libraries are loaded. Python's 700 take a fifth
of that time, in which thousands of classes are made and nothing is thrown away."""

QUIET_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A server that is away is given up on in seconds, not in MLflow's default minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    # Its records go where a run's records go, and not to the terminal.
    "MLFLOW_CONFIGURE_LOGGING": "false",
    # MLflow looks for git to tag runs, and prints a warning block where there is none.
    "GIT_PYTHON_REFRESH": "quiet",
}
"""What holds in every process of ours, whoever starts it, unless the user says otherwise."""


def data_root() -> Path:
    """Return the folder that holds artifacts, caches, and the state of MLflow and Prefect."""
    return Path(os.environ.get("OWT_ROOT") or "data").expanduser().absolute()


def store_url(configured: str = "") -> str:
    """Return the artifact store: the run's setting, else `OWT_STORE`, else below the data root."""
    return configured or os.environ.get("OWT_STORE") or str(data_root() / "artifacts")


def prepare_environment(root: Path) -> None:
    """Point Prefect, MLflow and torch's compiler below the data root; call before importing them.

    Raises:
        OSError: The data root cannot be written.
    """
    set_quiet_defaults()
    defaults = {
        "PREFECT_HOME": str(root / "prefect"),
        # The embedded server needs its time on a busy machine; the default is 20 s.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        # Any page in the user's browser could read the runs otherwise: Prefect's default is "*".
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": PREFECT_ORIGINS,
        # MLflow's page would start eight processes for jobs (of its traces view) we never give it.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # What torch.compile made; safe to delete.
        "TORCHINDUCTOR_CACHE_DIR": str(root / "compiled" / "inductor"),
        "TRITON_CACHE_DIR": str(root / "compiled" / "triton"),
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # Prefect's embedded server starts over and over, saying nothing, where its home is missing.
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    (root / "mlflow").mkdir(parents=True, exist_ok=True)


def set_quiet_defaults() -> None:
    """Turn telemetry off, and keep MLflow from waiting or warning at length."""
    for name, value in QUIET_DEFAULTS.items():
        os.environ.setdefault(name, value)


def set_mlflow_hosts(port: int) -> None:
    """Let MLflow's page be asked by its own names only.

    MLflow's default takes every name that begins like a private address, such as 10.example.com.
    """
    names = f"{HOST}:{port},localhost:{port}"
    os.environ.setdefault("MLFLOW_SERVER_ALLOWED_HOSTS", names)


def leave_out_blocks() -> None:
    """Let a Prefect server start without registering blocks: a second, for what no run uses."""
    os.environ.setdefault("PREFECT_SERVER_REGISTER_BLOCKS_ON_START", "false")
    # Else it would note that they are there, and the server of `owt ui` would not add them.
    os.environ.setdefault("PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION", "false")


def set_prefect_page_address(server: str) -> None:
    """Tell the page of a Prefect server on another port than 4200 where that server is."""
    os.environ.setdefault("PREFECT_SERVER_UI_API_URL", f"{server}/api")


def prefect_api_url() -> str:
    """Return the address of the user's Prefect server; "" when each run brings its own."""
    return os.environ.get("PREFECT_API_URL", "")


def prefect_auth_string() -> str:
    """Return the user:password for the user's Prefect server; "" where it wants none."""
    return os.environ.get("PREFECT_API_AUTH_STRING", "")


def prefect_key() -> str:
    """Return the key for Prefect's own cloud; "" where there is none."""
    return os.environ.get("PREFECT_API_KEY", "")


def set_prefect_api_url(url: str) -> None:
    """Point this process at a Prefect server, also where Prefect has read its settings already."""
    os.environ["PREFECT_API_URL"] = url
    if "prefect.context" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def passing_prefect_url(root: Path) -> str:
    """Return the address of the server that ends with the commands over this root, if it runs."""
    try:
        return str(json.loads((root / "prefect" / "server.json").read_text())["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def prefect_database() -> Path:
    """Return the SQLite file of a Prefect server of ours; a user's setting may name another."""
    return Path(os.environ["PREFECT_HOME"]) / "prefect.db"


def spares_folder() -> Path:
    """Return where empty databases are kept for later data roots: in the user's cache folder."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "owt-pipeline"


def numba_cache_dir() -> str:
    """Return where the user wants compiled kernels; "" where they do not say."""
    return os.environ.get("NUMBA_CACHE_DIR", "")


def docker_host() -> str:
    """Return where the Docker daemon listens, by the user's word or by default."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def stack_environment(names: Iterable[str]) -> dict[str, str]:
    """Return which settings of the Docker stack the environment holds; they win over its file."""
    return {name: os.environ[name] for name in names if name in os.environ}


def tracking_uri(root: Path) -> str:
    """Return MLflow's tracking URI: the user's server, or a local SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root}/mlflow/mlflow.db"


def tracking_server() -> str:
    """Return the address of the user's MLflow server; "" where they have none."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri.rstrip("/") if uri.startswith("http") else ""


def mlflow_token() -> str:
    """Return the token for the user's MLflow server; "" where there is none."""
    return os.environ.get("MLFLOW_TRACKING_TOKEN", "")


def mlflow_password() -> str:
    """Return the user:password for the user's MLflow server; "" where it wants none."""
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    return ":".join(os.environ[name] for name in names if name in os.environ)


def artifact_location(root: Path, uri: str) -> str:
    """Return where a new experiment of MLflow keeps its files; "": its server decides."""
    return (root / "mlflow" / "artifacts").as_uri() if uri.startswith("sqlite") else ""


def code_version(checkout: Path) -> str:
    """Return the commit that this code is at, marked when changed; an image has it by name."""
    if built_from := os.environ.get("OWT_CODE_VERSION"):
        return built_from
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=checkout,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
