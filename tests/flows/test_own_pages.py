"""Prefect's server lets through what its own machine asks, by its own pages or by none."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from flows.cli.serving.own_pages import OwnPagesOnly, guarded

OWN = {"host": "127.0.0.1:4200"}


def answers(kind: str, headers: dict[str, str], origins: tuple[str, ...] = ()) -> list[Any]:
    """Return what is sent for a request; the server behind says "passed"."""
    sent: list[Any] = []

    async def passing(*_: Any) -> None:
        sent.append("passed")

    async def send(message: Any) -> None:
        sent.append(message.get("status") or message.get("code") or message["type"])

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    guard = OwnPagesOnly(passing, port=4200, origins=origins)
    asyncio.run(guard({"type": kind, "headers": raw}, receive, send))
    return sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers", [OWN, OWN | {"origin": "http://localhost:4200"}, {"host": "localhost:4200"}]
)
def test_own_programs_and_pages_are_let_through(kind: str, headers: dict[str, str]) -> None:
    """A program gives no origin, the page its own one, by either name of the machine."""
    assert answers(kind, headers) == ["passed"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "10.example.com:4200"},
        {"host": "127.0.0.1:4201"},
        OWN | {"origin": "https://example.com"},
        OWN | {"origin": "http://127.0.0.1:8000"},
        OWN | {"origin": "null"},
    ],
)
def test_another_name_and_another_page_are_refused(headers: dict[str, str]) -> None:
    """So are forms, WebSockets, frames without an origin, and names that point to this machine."""
    assert answers("http", headers) == [403, "http.response.body"]
    assert answers("websocket", headers) == [1008]


def test_a_page_that_the_user_names_is_let_through() -> None:
    """By Prefect's own setting for it."""
    page = OWN | {"origin": "https://example.com"}
    assert answers("http", page, ("https://example.com",)) == ["passed"]
    assert answers("http", page, ("*",)) == ["passed"]


def test_the_life_of_the_server_is_not_a_request() -> None:
    """What has no headers is passed on."""
    assert answers("lifespan", {}) == ["passed"]


def test_the_servers_own_services_reach_the_app_that_the_port_guards() -> None:
    """As Prefect's automations do: in the process, by the name that its clients give the app."""
    route = Route("/api/health", lambda _: PlainTextResponse("true"))
    app = Starlette(routes=[route])
    served = guarded(app, port=4200, allowed_origins="http://localhost:4200")

    def status(asked: Any, host: str, origin: str = "") -> int:
        async def ask() -> int:
            headers = {"origin": origin} if origin else {}
            transport = httpx.ASGITransport(app=asked)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
                return (await client.get("/api/health", headers=headers)).status_code

        return asyncio.run(ask())

    assert status(app, "prefect-in-memory") == 200
    assert status(served, "prefect-in-memory") == 403
    assert status(served, "127.0.0.1:4200") == 200
    assert status(served, "127.0.0.1:4200", origin="https://example.com") == 403
