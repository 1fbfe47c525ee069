"""Tell a Prefect server of the flow: its pools, deployments and automations, again and again."""

import subprocess
import sys
from collections.abc import Iterator, Sequence

from prefect.client.orchestration import get_client

from flows.deploying.automations import end_silent_runs, ensure_automation, restart_killed_runs
from flows.deploying.checkout import CHECKOUT
from flows.deploying.refusals import ENTRYPOINTS, refuse_wrong_server
from flows.deploying.work_pools import WorkPool, ensure_pool


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


def register_deployments() -> None:
    """Register what `prefect.yaml` lists, by Prefect's own command; raises its complaint."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise RuntimeError(f"prefect deploy failed: {lines[-1] if lines else 'no output'}")
