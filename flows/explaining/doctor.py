"""Is this machine ready for a run? Each check says what it found, and the way out of what is wrong.

Nothing is installed, started or left behind; only the store is written to, one small file that is
removed again.
"""

import os
import platform
import shutil
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal

from artifacts.store import Store, open_store
from flows.cli.serving.servers import is_free
from flows.config import PipelineConfig
from flows.deploying.before_stack import engine_facts
from flows.logins import Login, is_refused, mlflow_login, prefect_login
from flows.settings import (
    MLFLOW_PORT,
    PREFECT_PORT,
    prefect_api_url,
    store_url,
    tracking_uri,
)
from flows.shared_store import WAY_OUT, first_wins
from tasks.watching.progress import format_bytes

Status = Literal["ok", "note", "broken"]

TIMEOUT_S = 5.0
"""Silence of a server that counts as unreachable."""

MAX_SKEW_S = 60.0
"""Difference of two clocks that is reported; S3 refuses requests from 15 minutes on."""

MIN_PYTHON = (3, 11)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check found."""

    name: str
    status: Status
    """`note`: works, but could be better; `broken`: a run would fail."""
    found: str
    way_out: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """What is looked at: the configuration of a run, and the data root."""

    config: PipelineConfig
    root: Path

    @property
    def store_url(self) -> str:
        """The artifact store of the run."""
        return store_url(self.config.run.store)


def examine(patient: Patient) -> Iterator[Finding]:
    """Yield what each check finds; a check that fails itself is a finding, too."""
    for name, check in CHECKS.items():
        try:
            status, found, way_out = check(patient)
        except Exception as error:  # whatever is wrong with a machine, the other checks go on
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            found = f"{kind}{' '.join(str(error).split())}"
            status, way_out = "broken", WAYS_OUT.get(name, "mend what the message names")
        yield Finding(name=name, status=status, found=found, way_out=way_out)


Result = tuple[Status, str, str]


def check_python(patient: Patient) -> Result:
    """Python is new enough."""
    del patient
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < MIN_PYTHON:
        return "broken", found, "install Python 3.11 or newer, then `make install PYTHON=...`"
    return "ok", found, ""


def check_torch(patient: Patient) -> Result:
    """Torch loads, and its build fits the machine."""
    del patient
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    found = f"{torch.__version__}, {build}, {torch.get_num_threads()} threads"
    if Path("/dev/nvidia0").exists() and not torch.cuda.is_available():
        return "note", f"{found}; it does not use the GPU", "install a build of torch for CUDA"
    return "ok", found, ""


def check_device(patient: Patient) -> Result:
    """The device that is asked for is there."""
    import psutil

    from lm.machine.probe import choose_device, free_memory_bytes

    device = choose_device(patient.config.run.options)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free, whole = free_memory_bytes(device), psutil.virtual_memory().total
    return "ok", f"{device}; {cores} cores, {format_bytes(free)} of {format_bytes(whole)} free", ""


def check_compiler(patient: Patient) -> Result:
    """`torch.compile` can work."""
    import torch

    from lm.machine.probe import has_compiler

    if has_compiler("cuda" if torch.cuda.is_available() else "cpu"):
        return "ok", "found; torch.compile can work", ""
    asked = patient.config.run.compile == "on"
    status: Status = "broken" if asked else "note"
    return status, "none: training runs eagerly, slower", "install g++ (or Triton, for CUDA)"


def check_kernels(patient: Patient) -> Result:
    """The tokenizer's kernels are compiled."""
    del patient
    from tokenizer.kernels.jit import cache_folder

    folder = cache_folder()
    if any(folder.rglob("*.nbi")):
        return "ok", f"compiled, in {folder}", ""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        return "note", f"compiled anew by each run: {nearest} is read-only", "set NUMBA_CACHE_DIR"
    return "note", "not compiled yet", "the first run compiles them, in about a minute"


def check_disk(patient: Patient) -> Result:
    """What a run would write fits on the disk."""
    from flows.plan import plan_stages

    store = open_store(patient.store_url)
    rows = plan_stages(patient.config, store, patient.root)
    needed = sum(row.prediction.disk_bytes or 0 for row in rows)
    place = next(path for path in (patient.root, *patient.root.parents) if path.exists())
    free = shutil.disk_usage(place).free
    found = f"{format_bytes(free)} free at {place}, the plan needs {format_bytes(needed)}"
    if free < needed:
        return "broken", found, "free some, or set OWT_ROOT to a folder on a larger disk"
    return "ok", found, ""


def check_store(patient: Patient) -> Result:
    """The store can be written, and creates a file for the first of several writers only."""
    store = open_store(patient.store_url)
    path = f"{store.root}/.doctor-{uuid.uuid4().hex}"
    try:
        is_careful = first_wins(store, path)
        skew_s = _skew_s(store, path)
    finally:
        _remove(store, path)
    if not is_careful:
        return (
            "broken",
            f"{store.url} lets a second writer replace what the first created",
            WAY_OUT,
        )
    if abs(skew_s) > MAX_SKEW_S:
        return "note", f"{store.url}: its clock differs by {skew_s:+.0f} s", "set the clocks (NTP)"
    return "ok", f"{store.url}: writable, conditional writes, clocks within {MAX_SKEW_S:.0f} s", ""


def _skew_s(store: Store, path: str) -> float:
    """Return how far the store's clock is ahead of ours; 0.0 where it has none."""
    info = store.fs.info(path)
    stamp = next((info[key] for key in ("LastModified", "mtime", "created") if info.get(key)), None)
    if stamp is None:
        return 0.0
    return float(stamp.timestamp() if hasattr(stamp, "timestamp") else stamp) - time.time()


def _remove(store: Store, path: str) -> None:
    if store.fs.exists(path):
        store.fs.rm_file(path)


def check_mlflow(patient: Patient) -> Result:
    """MLflow's server answers, or its database can be written."""
    uri = tracking_uri(patient.root)
    if uri.startswith("http"):
        return _check_server(f"{uri.rstrip('/')}/health", "MLFLOW_TRACKING_URI", mlflow_login())
    return _check_folder(patient.root / "mlflow", f"no server: {uri}")


def check_prefect(patient: Patient) -> Result:
    """Prefect's server answers, or its folder can be written."""
    if url := prefect_api_url():
        return _check_server(f"{url.rstrip('/')}/health", "PREFECT_API_URL", prefect_login())
    return _check_folder(patient.root / "prefect", "no server of yours: each run brings one")


def _check_server(address: str, variable: str, login: Login) -> Result:
    way_out = f"start the server, correct {variable}, or unset it for files under the data root"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
            date = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        error.close()
        return "note", f"{address} answers {error.code}", way_out
    except (OSError, ValueError) as error:
        return "broken", f"{address}: {error}", way_out
    if is_refused(login):
        return "broken", f"{login.name} at {login.url} refuses this user", login.way_out
    skew_s = parsedate_to_datetime(date).timestamp() - time.time() if date else 0.0
    if abs(skew_s) > MAX_SKEW_S:
        return "note", f"{address} answers; its clock differs by {skew_s:+.0f} s", "set the clocks"
    return "ok", f"{address} answers", ""


def _check_folder(folder: Path, found: str) -> Result:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        return "broken", f"{nearest} cannot be written", "set OWT_ROOT to a folder of yours"
    return "ok", found, ""


def check_ports(patient: Patient) -> Result:
    """The ports of `owt ui` are free."""
    del patient
    taken = [port for port in (MLFLOW_PORT, PREFECT_PORT) if not is_free(port)]
    if taken:
        return (
            "note",
            f"{', '.join(map(str, taken))} taken (by owt ui itself?)",
            "give owt ui others: --mlflow-port, --prefect-port",
        )
    return "ok", f"{MLFLOW_PORT} and {PREFECT_PORT} are free for owt ui", ""


def check_docker(patient: Patient) -> Result:
    """A daemon answers, which only the stack and the pool of containers need."""
    del patient
    try:
        engine = engine_facts()
    except ValueError:
        return "ok", "does not answer; only make stack and the pool owt-gpu need it", ""
    gpus = "an" if "nvidia" in (engine.get("Runtimes") or {}) else "no"
    return "ok", f"{engine.get('ServerVersion', 'answers')}, {gpus} NVIDIA runtime", ""


WAYS_OUT = {
    "device": "take run.device=auto, or install a build of torch for the device",
    "disk": "mend the store first: what is to be built is not known",
    "torch": "install it again: make install",
    "kernels": "install numba again: make install",
    "store": "correct run.store and the keys of its service (docs/stores.md)",
}
"""What helps where a check itself failed."""

CHECKS: dict[str, Callable[[Patient], Result]] = {
    "python": check_python,
    "torch": check_torch,
    "device": check_device,
    "compiler": check_compiler,
    "kernels": check_kernels,
    "disk": check_disk,
    "store": check_store,
    "mlflow": check_mlflow,
    "prefect": check_prefect,
    "ports": check_ports,
    "docker": check_docker,
}
"""The checks, in the order in which they are shown."""
