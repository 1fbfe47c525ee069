"""One Prefect server for all commands over one data root, ended with the last of them.

Each command holds `users.lock` together with the others for as long as it lives; the kernel takes
the lock back however the process ends. The server's keeper, a process of its own, asks once a
second for that lock alone. When it gets it, no command is left, and it ends the server: a command
that was killed leaves nothing behind. `start.lock` is held by who starts or ends a server, and
`keeper.lock` by the keeper while it lives.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import IO

from flows.cli.serving.servers import (
    POLL_INTERVAL_S,
    PREFECT,
    STOP_TIMEOUT_S,
    Server,
    Started,
    free_port,
    serving,
    wait_until_ready,
)
from flows.settings import HOST, prefect_database, spares_folder
from tasks.tracking import spare_database
from tasks.tracking.spare_database import begin_with_spare, keep_spare
from tasks.watching.events import Preparing, emit

KEEPER_INTERVAL_S = 1.0
"""How often the keeper looks whether a command is left."""

ANSWER_TIMEOUT_S = 10.0
"""A server that takes longer to say that it is there is not used."""


@contextmanager
def using_server(root: Path) -> Iterator[str]:
    """Give the address of the data root's Prefect server, started if no command has one."""
    folder = root / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users.lock").open("a") as users:
        with _locked(folder / "start.lock"):
            flock(users, LOCK_SH)
            url = _running_server(folder)
            if not url:
                # Not that of `owt ui`, which may end before this command does.
                emit(Preparing(what="starting a Prefect server for this command"))
                url = _start_keeper(folder)
        try:
            yield url
        finally:
            users.close()  # which gives the lock back
            _end_if_unused(folder)


def keep(folder: Path, port: int) -> None:
    """Run a server until no command uses it: the keeper's work."""
    with (folder / "keeper.lock").open("a") as lock:
        flock(lock, LOCK_EX)
        with suppress(KeyboardInterrupt), serving([_server(folder, port)]) as (started,):
            while started.process.poll() is None and not _ends_without_users(folder):
                time.sleep(KEEPER_INTERVAL_S)


def refuse_silent_server(url: str) -> None:
    """Raise `ValueError` where no server answers at the user's address."""
    try:
        urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=ANSWER_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return  # it is there; what it wants is between it and Prefect
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no Prefect server answers at PREFECT_API_URL ({url}): {error}; start it, correct the "
            "address, or unset PREFECT_API_URL for a server of our own"
        ) from error


def _server(folder: Path, port: int) -> Server:
    return Server(
        name="prefect",
        port=port,
        command=(*PREFECT, "--without-blocks"),
        health="/api/health",
        log=folder / "run-server.log",
    )


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    """Hold a lock alone; wait for it."""
    with path.open("a") as lock:
        flock(lock, LOCK_EX)
        yield lock


def _is_free(path: Path) -> bool:
    """Tell whether nobody holds a lock."""
    with path.open("a") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _ends_without_users(folder: Path) -> bool:
    """Tell whether no command uses the server; if so, forget it before another one can find it."""
    if not _is_free(folder / "users.lock"):
        return False
    with _locked(folder / "start.lock"):
        if not _is_free(folder / "users.lock"):
            return False  # one came meanwhile
        (folder / "server.json").unlink(missing_ok=True)
        return True


def _running_server(folder: Path) -> str:
    """Return the address of the server that other commands use; "" where none answers."""
    if _is_free(folder / "keeper.lock"):
        return ""
    with suppress(OSError, ValueError, KeyError, TypeError):
        url = str(json.loads((folder / "server.json").read_text())["url"])
        urllib.request.urlopen(f"{url}/health", timeout=ANSWER_TIMEOUT_S).close()
        return url
    return ""


def _start_keeper(folder: Path) -> str:
    """Start a keeper with its server, wait until that answers, and say where it is."""
    server = _server(folder, free_port())
    database, spares = prefect_database(), spares_folder()
    is_new = not database.exists() and not begin_with_spare(
        spare_database.PREFECT, database, spares
    )
    command = [sys.executable, "-m", "flows.cli.serving.keep_server", str(folder), str(server.port)]
    with (folder / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A closed terminal or a Ctrl-C must not reach it: the command still needs the server.
            start_new_session=True,
        )
    wait_until_ready(Started(server, keeper))
    if is_new:  # nobody else knows the server's address yet
        keep_spare(spare_database.PREFECT, database, spares)
    url = f"http://{HOST}:{server.port}/api"
    note = folder / "server.json"
    part = note.with_suffix(".part")
    part.write_text(json.dumps({"url": url, "keeper": keeper.pid}))
    part.replace(note)
    return url


def _end_if_unused(folder: Path) -> None:
    """End the server now where no command uses it, sooner than its keeper would."""
    with _locked(folder / "start.lock"):
        note = folder / "server.json"
        if not note.exists() or not _is_free(folder / "users.lock"):
            return
        with suppress(OSError, ValueError, KeyError, TypeError):
            keeper = int(json.loads(note.read_text())["keeper"])
            # Its number may be another program's, where it was killed.
            if not _is_free(folder / "keeper.lock"):
                os.kill(keeper, signal.SIGTERM)
        note.unlink(missing_ok=True)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not _is_free(folder / "keeper.lock") and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL_S)
