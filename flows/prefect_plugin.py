"""Make `prefect deployment run owt-pipeline` work: Prefect's own form is `FLOW/DEPLOYMENT`.

Prefect loads this module through the entry point group `prefect.plugins` where plugins are
enabled, as `prefect.toml` does for the checkout. A name without a slash becomes `name/name`;
everything else is left alone. A command that cannot come to anything says so in one line: without
a server, a login or a pool, and a worker of containers without Docker.
"""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from prefect.plugins import HookContext, register_hook

from flows.settings import set_quiet_defaults

PREFECT_PLUGIN_API_REQUIRES = ">=0.1,<1"

PREFECT = ("prefect", "__main__.py")
"""The command, also as `python -m prefect`."""

NEEDING_A_SERVER = (["deployment", "run"], ["worker", "start"])
"""Commands that Prefect would give to an empty server of their own, which dies with them."""


@register_hook
def setup_environment(*, ctx: HookContext) -> None:
    """Prepare a process that uses Prefect: short deployment names, telemetry off."""
    set_quiet_defaults()
    from prefect.client import orchestration

    for client in ("PrefectClient", "SyncPrefectClient"):
        accept_short_names(getattr(orchestration, client, None))
    refuse_hopeless_command(sys.argv, ctx.api_url or "")


def refuse_hopeless_command(arguments: Sequence[str], api_url: str) -> None:
    """End a command of Prefect's that cannot come to anything, in one line.

    >>> refuse_hopeless_command(["prefect", "version"], "")
    """
    words = [argument for argument in arguments[1:] if not argument.startswith("-")]
    if Path(arguments[0]).name not in PREFECT or words[:2] not in NEEDING_A_SERVER:
        return
    command = f"prefect {' '.join(words[:2])}"
    if not api_url:
        raise SystemExit(
            f"{command}: PREFECT_API_URL is not set, so there is no server to ask; "
            'start one ("owt ui"), then export PREFECT_API_URL=http://127.0.0.1:4200/api'
        )
    try:
        if words[0] == "worker":
            check_worker(api_url, option(arguments, "--pool", "-p"))
        else:
            check_deployment(api_url, words[2] if len(words) > 2 else "")
    except ValueError as error:
        raise SystemExit(f"{command}: {error}") from None


def check_worker(api_url: str, pool_name: str) -> None:
    """Raise `ValueError` where a worker would have no server, no pool or no Docker."""
    from prefect.client.orchestration import get_client

    from flows.deploying.docker_worker import prepare_docker_worker
    from flows.deploying.refusals import find_pool, refuse_wrong_server

    with get_client(sync_client=True) as client:
        refuse_wrong_server(client, api_url)
        pool = find_pool(client, pool_name) if pool_name else None
    if pool is not None and pool.type == "docker":
        for line in prepare_docker_worker(pool):
            sys.stderr.write(f"prefect worker start: {line}\n")


def check_deployment(api_url: str, name: str) -> None:
    """Raise `ValueError` where a run would have no server, or no pool to wait in."""
    from prefect.client.orchestration import get_client

    from flows.deploying.refusals import refuse_without_pool, refuse_wrong_server

    with get_client(sync_client=True) as client:
        refuse_wrong_server(client, api_url)
        if name:
            refuse_without_pool(client, full_name(name))


def option(arguments: Sequence[str], *names: str) -> str:
    """Return the value of an option as it was typed; "": it was not given.

    >>> option(["worker", "start", "--pool", "owt-cpu"], "--pool", "-p")
    'owt-cpu'
    >>> option(["worker", "start", "-p=owt-gpu"], "--pool", "-p")
    'owt-gpu'
    """
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name in names:
            return value if equals else following
    return ""


def accept_short_names(client: type | None) -> None:
    """Wrap the client's look-up by name; does nothing where Prefect no longer has it.

    Its arguments and result are passed on as they are, whatever their types.
    """
    original: Callable[..., Any] | None = getattr(client, "read_deployment_by_name", None)
    if client is None or original is None:
        return

    @wraps(original)
    def read_deployment_by_name(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return original(self, full_name(name), *args, **kwargs)

    client.read_deployment_by_name = read_deployment_by_name  # type: ignore[attr-defined] # any class of Prefect's clients


def full_name(name: str) -> str:
    """Return the deployment's full name, flow first.

    >>> full_name("owt-pipeline")
    'owt-pipeline/owt-pipeline'
    """
    return name if "/" in name else f"{name}/{name}"
