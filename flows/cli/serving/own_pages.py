"""Prefect's server, which answers its own pages only: `python -m flows.cli.serving.own_pages`.

Prefect itself answers whoever reaches its port, and any web page in the user's browser does: by a
form, by a WebSocket, or by a name of its own that it lets point to this machine (DNS rebinding).
So a request that gives the server another name, or that comes from another page, is refused here.
"""

import argparse
import atexit
import gc
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from flows.settings import COLLECT_AFTER, HOST, leave_out_blocks

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

REFUSAL = b"refused: this server answers the pages and programs of its own machine only\n"
POLICY_VIOLATION = 1008
"""Code of a closed WebSocket (RFC 6455, section 7.4.1)."""


class OwnPagesOnly:
    """ASGI middleware that lets through what is asked of this machine, by no foreign page."""

    def __init__(self, app: App, *, port: int, origins: Iterable[str]) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
        self.origins = {f"http://{host}" for host in self.hosts} | set(origins)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket") or self._is_own(scope["headers"]):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # the request to connect
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": REFUSAL})

    def _is_own(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Tell whether all names in the request's headers are allowed; programs give no origin."""
        given = [(name, value.decode("latin-1")) for name, value in headers]
        hosts = [value for name, value in given if name == b"host"]
        origins = [value for name, value in given if name == b"origin"]
        return (
            hosts != []
            and self.hosts.issuperset(hosts)
            and ("*" in self.origins or self.origins.issuperset(origins))
        )


def guarded(app: App, *, port: int, allowed_origins: str) -> App:
    """Return what a port serves of Prefect's app: the app behind its guard.

    The guard is around the app and not in it: the server's own services, such as the automations,
    call the app in this process and by another name.
    """
    return OwnPagesOnly(app, port=port, origins=allowed_origins.split(","))


def main() -> None:
    """Serve Prefect on a port of this machine, as `prefect server start` does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--without-blocks", action="store_true", help="as runs use none")
    options = parser.parse_args()
    if options.without_blocks:
        leave_out_blocks()
    gc.set_threshold(COLLECT_AFTER)
    atexit.register(gc.freeze)  # nor is anything searched for at the end
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    server = get_current_settings().server
    origins = server.api.cors_allowed_origins
    uvicorn.run(
        guarded(create_app(final=True), port=options.port, allowed_origins=origins),
        host=options.host,
        port=options.port,
        timeout_keep_alive=server.api.keepalive_timeout,
        log_level=server.logging_level.lower(),
    )


if __name__ == "__main__":
    main()
