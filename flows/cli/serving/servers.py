"""Servers that run while a command does: their own process groups, ended whatever happens."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flows.settings import HOST

PREFECT = ("flows.cli.serving.own_pages",)
"""Prefect's server, as an argument of `python -m`."""
START_TIMEOUT_S = 180.0
"""A new Prefect database takes some 10 s on an idle machine, minutes on a busy one."""
STOP_TIMEOUT_S = 15.0
"""Both servers stop in about a second; what is left after this is killed."""
POLL_INTERVAL_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A page that this command serves."""

    name: str
    port: int
    command: tuple[str, ...]
    """Arguments of `python -m`; those of address and port are added."""
    health: str
    """Path that answers once the server is ready."""
    log: Path
    """Where its output goes."""

    @property
    def url(self) -> str:
        """Return the address of the server."""
        return f"http://{HOST}:{self.port}"


@dataclass(frozen=True, slots=True)
class Started:
    """A server with its process, which leads a process group of its own."""

    server: Server
    process: subprocess.Popen[bytes]


def refuse_taken_ports(servers: Sequence[Server]) -> None:
    """Raise `ValueError` that names the first port on which another program listens."""
    seen: set[int] = set()
    for server in servers:
        if server.port in seen or not is_free(server.port):
            raise ValueError(
                f"port {server.port} on {HOST} is taken; "
                f"give {server.name} another one with --{server.name}-port"
            )
        seen.add(server.port)


def is_free(port: int) -> bool:
    """Tell whether no program listens on a port of this machine."""
    with socket.socket() as probe:
        # As the servers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the body as Ctrl-C does, once."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # SIGINT may come ignored, from a shell's `&`; SIGHUP from `nohup`, and then it stays so.
    for number in signals:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def serving(servers: Sequence[Server]) -> Iterator[list[Started]]:
    """Run the servers; whatever ends the body, none of their processes outlives it."""
    started: list[Started] = []
    try:
        with ended_by_signals():
            for server in servers:
                started.append(Started(server, start(server)))
            yield started
    finally:
        stop(started)


def free_port() -> int:
    """Return a port of this machine on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def start(server: Server) -> subprocess.Popen[bytes]:
    """Start one server in its own process group, so that it can be ended with its children."""
    server.log.parent.mkdir(parents=True, exist_ok=True)
    place = ("--host", HOST, "--port", str(server.port))
    with server.log.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *server.command, *place],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(started: Sequence[Started]) -> None:
    """End the process groups of the servers, by force what does not end in time."""
    for item in started:
        signal_group(item, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for item in started:
        with suppress(subprocess.TimeoutExpired):
            item.process.wait(max(0.0, deadline - time.monotonic()))
        signal_group(item, signal.SIGKILL)
        item.process.wait()


def signal_group(item: Started, number: signal.Signals) -> None:
    """Send a signal to a server and its children, those that are left."""
    with suppress(ProcessLookupError):
        os.killpg(item.process.pid, number)


def wait_until_ready(item: Started) -> None:
    """Wait until the server answers; raises `RuntimeError` when it ends or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with suppress(OSError), urllib.request.urlopen(f"{item.server.url}{item.server.health}"):
            return
        refuse_ended(item)
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"{item.server.name} did not answer within {START_TIMEOUT_S:.0f} s; "
                f"see {item.server.log}"
            )
        time.sleep(POLL_INTERVAL_S)


def watch(started: Sequence[Started]) -> None:
    """Wait for as long as all servers run."""
    while started:
        for item in started:
            refuse_ended(item)
        time.sleep(POLL_INTERVAL_S)


def refuse_ended(item: Started) -> None:
    """Raise `RuntimeError` when the server has ended by itself."""
    if (code := item.process.poll()) is not None:
        raise RuntimeError(f"{item.server.name} ended with exit code {code}; see {item.server.log}")
