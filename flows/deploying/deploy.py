"""Tell a Prefect server of the flow: its pools, deployments and automations, again and again."""

import subprocess
import sys
from collections.abc import Iterator, Sequence

import httpx
import prefect
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError

from flows.deploying.automations import end_silent_runs, ensure_automation, restart_killed_runs
from flows.deploying.checkout import CHECKOUT
from flows.deploying.work_pools import WorkPool, ensure_pool

ENTRYPOINTS = ("flows.pipeline.owt_pipeline", "flows.sweeps.flow.owt_sweep")
"""The flows that `prefect.yaml` deploys; the server may have others."""


def deploy(api_url: str, pools: Sequence[WorkPool]) -> Iterator[tuple[str, str]]:
    """Create or update everything; gives what, and what was done with it, as it happens.

    Raises:
        ValueError: The server is away, of another version, or refuses who asks.
        RuntimeError: Prefect refused a deployment; its own words.
    """
    with get_client(sync_client=True) as client:
        refuse_wrong_server(client, api_url)
        for pool in pools:
            yield f"work pool {pool.name}", f"{ensure_pool(client, pool)}, {pool.limit} at a time"
        for automation in (end_silent_runs(), restart_killed_runs()):
            yield f"automation {automation.name!r}", ensure_automation(client, automation)
        register_deployments()
        for deployment in client.read_deployments():
            if deployment.entrypoint in ENTRYPOINTS:
                yield f"deployment {deployment.name}", f"registered, {deployment.work_pool_name}"


def refuse_wrong_server(client: SyncPrefectClient, api_url: str) -> None:
    """Raise `ValueError` where the server cannot be worked with, before anything is created."""
    try:
        version = client.api_version()
        client.read_work_pools(limit=1)
    except PrefectHTTPStatusError as error:
        if error.response.status_code in (401, 403):
            raise ValueError(
                f"the Prefect server at {api_url} refuses this user; set PREFECT_API_AUTH_STRING "
                "to the user:password that its administrator gave you"
            ) from error
        raise
    except httpx.HTTPError as error:
        raise ValueError(
            f"no Prefect server answers at PREFECT_API_URL ({api_url}): {error}; start it, "
            "or correct the address"
        ) from error
    if version.split(".")[0] != prefect.__version__.split(".")[0]:
        raise ValueError(
            f"the server at {api_url} is Prefect {version}, this environment has "
            f"{prefect.__version__}; both must have the same first number"
        )


def register_deployments() -> None:
    """Register what `prefect.yaml` lists, by Prefect's own command; raises its complaint."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise RuntimeError(f"prefect deploy failed: {lines[-1] if lines else 'no output'}")
