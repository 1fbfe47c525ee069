"""The commands of docs/deployment.md, typed as a reader does: shell by shell."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.checkout_copy import ROOT

PAGE = ROOT / "docs" / "deployment.md"
NOT_THE_READERS = ("PREFECT_", "MLFLOW_", "OWT_", "PYTHON", "VIRTUAL_ENV", "DO_NOT_TRACK", "CI")
PREAMBLE = re.compile(r"^(\. |export )")


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """One shell of the page: what it begins with, and the commands that follow."""

    preamble: str
    commands: list[str]


def read_terminals(section: str, replacements: dict[str, str]) -> list[Terminal]:
    """Return the shells of the first code block of a section; ports may be replaced."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2]
    block = text.split("```")[1].replace("\\\n", " ")
    for old, new in replacements.items():
        assert old in block, f"{PAGE.name} has no {old!r} any more"
        block = block.replace(old, new)
    return [read_terminal(part) for part in block.split("# terminal")[1:]]


def read_terminal(part: str) -> Terminal:
    """Split a shell's lines into its beginning and its commands, without comments."""
    lines = [line.partition("  #")[0].strip() for line in part.splitlines()[1:]]
    preamble = [line for line in lines if PREAMBLE.match(line)]
    return Terminal(
        preamble="\n".join(preamble),
        commands=[line for line in lines if line and line not in preamble],
    )


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Somebody at a machine with a fresh home, in a checkout of their own."""

    checkout: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """What the reader's shells have: nothing of ours, of Prefect or of MLflow."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(NOT_THE_READERS)}
        return kept | {"HOME": str(self.home), "PATH": "/usr/local/bin:/usr/bin:/bin"}

    def type(self, terminal: Terminal, command: str) -> str:
        """Give one command and return what it prints; it must succeed."""
        done = self.attempt(terminal.preamble, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def attempt(
        self, preamble: str, command: str, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Give one command, which may fail."""
        return subprocess.run(
            ["bash", "-c", f"{preamble}\n{command}"],
            cwd=cwd or self.checkout,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=1200,
        )

    @contextmanager
    def keep(self, terminal: Terminal, command: str, log: Path) -> Iterator[psutil.Popen]:
        """Run a command that stays; kills it, and what it started, at the end."""
        with log.open("wb") as output:
            process = psutil.Popen(
                ["bash", "-c", f"{terminal.preamble}\nexec {command}"],
                cwd=self.checkout,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell's `&` in the caller's past would leave a worker deaf to Ctrl-C.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        try:
            yield process
        finally:
            end_tree(process)


def end_tree(process: psutil.Process) -> None:
    """Kill a process and all that it started, and wait for their end."""
    psutil.wait_procs(kill_tree(process), timeout=30)


def kill_tree(process: psutil.Process) -> list[psutil.Process]:
    """Kill a process and all that it started; whose child it is waits for it."""
    tree = [process, *process.children(recursive=True)] if process.is_running() else [process]
    for member in tree:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    return tree


def wait_for(condition: Callable[[], bool], *, timeout_s: float) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.5)
