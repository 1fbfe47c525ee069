"""What makes no sense to ask of a Prefect server, refused before anything is created."""

import httpx
import prefect
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

ENTRYPOINTS = ("flows.pipeline.owt_pipeline", "flows.sweeps.flow.owt_sweep")
"""The flows that `prefect.yaml` deploys; the server may have others."""


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


def find_pool(client: SyncPrefectClient, name: str) -> WorkPool:
    """Return a work pool; Prefect itself would make an empty one for a worker that names it.

    Raises:
        ValueError: There is none of this name.
    """
    try:
        return client.read_work_pool(name)
    except ObjectNotFound as error:
        names = ", ".join(sorted(pool.name for pool in client.read_work_pools())) or "none"
        raise ValueError(
            f"the server has no work pool {name!r} (it has: {names}); correct --pool, "
            'or create the pools with "owt deploy"'
        ) from error


def refuse_without_pool(client: SyncPrefectClient, name: str) -> None:
    """Raise `ValueError` for a deployment of ours whose pool was deleted: its runs never start.

    A deployment that is not there is left to Prefect, which says so.
    """
    try:
        deployment = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return
    if deployment.entrypoint in ENTRYPOINTS and not deployment.work_pool_name:
        raise ValueError(
            f"the deployment {name} has no work pool any more, so its runs would wait for ever; "
            'create the pools with "owt deploy"'
        )
