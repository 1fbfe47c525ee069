"""Make `prefect deployment run owt-pipeline` work: Prefect's own form is `FLOW/DEPLOYMENT`.

Prefect loads this module through the entry point group `prefect.plugins` where plugins are
enabled, as `prefect.toml` does for the checkout. A name without a slash becomes `name/name`;
everything else is left alone.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from prefect.plugins import HookContext, register_hook

from flows.settings import set_quiet_defaults

PREFECT_PLUGIN_API_REQUIRES = ">=0.1,<1"


@register_hook
def setup_environment(*, ctx: HookContext) -> None:  # noqa: ARG001 - the hook's signature
    """Prepare a process that uses Prefect: short deployment names, telemetry off."""
    set_quiet_defaults()
    from prefect.client import orchestration

    for client in ("PrefectClient", "SyncPrefectClient"):
        accept_short_names(getattr(orchestration, client, None))


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
