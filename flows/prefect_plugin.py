"""Make `prefect deployment run owt-pipeline` work: Prefect's own form is `FLOW/DEPLOYMENT`.

Prefect loads this module through the entry point group `prefect.plugins` where plugins are
enabled, as `prefect.toml` does for the checkout. A name without a slash becomes `name/name`;
everything else is left alone. Where no server is named, a command that needs one says so.
"""

import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from prefect.plugins import HookContext, register_hook

from flows.settings import set_quiet_defaults

PREFECT_PLUGIN_API_REQUIRES = ">=0.1,<1"

NEEDING_A_SERVER = (["deployment", "run"], ["worker", "start"])
"""Commands that Prefect would give to an empty server of their own, which dies with them."""


@register_hook
def setup_environment(*, ctx: HookContext) -> None:
    """Prepare a process that uses Prefect: short deployment names, telemetry off."""
    set_quiet_defaults()
    refuse_without_server(sys.argv, ctx.api_url or "")
    from prefect.client import orchestration

    for client in ("PrefectClient", "SyncPrefectClient"):
        accept_short_names(getattr(orchestration, client, None))


def refuse_without_server(arguments: Sequence[str], api_url: str) -> None:
    """End a command of Prefect's that makes no sense without a server, in one line.

    >>> refuse_without_server(["prefect", "version"], "")
    """
    words = [argument for argument in arguments[1:] if not argument.startswith("-")][:2]
    if Path(arguments[0]).name != "prefect" or words not in NEEDING_A_SERVER:
        return
    command = f"prefect {' '.join(words)}"
    if not api_url:
        raise SystemExit(
            f"{command}: PREFECT_API_URL is not set, so there is no server to ask; "
            'start one ("owt ui"), then export PREFECT_API_URL=http://127.0.0.1:4200/api'
        )
    if not answers(api_url):
        raise SystemExit(f"{command}: no server answers at PREFECT_API_URL ({api_url}); start it")


def answers(api_url: str) -> bool:
    """Tell whether a Prefect server is there, whatever it thinks of who asks."""
    try:
        urllib.request.urlopen(f"{api_url.rstrip('/')}/health", timeout=10).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


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
