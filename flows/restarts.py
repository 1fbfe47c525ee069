"""A killed run starts again by itself (`flows/deploying/automations.py`), but not for ever."""

from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client

MAX_RESTARTS = 3
"""Starts after a kill; what kills a run each time is not helped by another one."""


def refuse_hopeless_restart() -> None:
    """End a run that was killed too often, or that somebody cancelled before it was killed.

    Raises:
        RuntimeError: One more start is not wanted; says why.
    """
    if not runtime.flow_run.id or (runtime.flow_run.run_count or 0) < 2:
        return
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(UUID(str(runtime.flow_run.id)))
    if problem := hopeless([state.name or "" for state in states]):
        raise RuntimeError(problem)


def hopeless(names: list[str]) -> str:
    """Say why a run with these states, in the order of time, is not started again; "": it is.

    >>> hopeless(["Running", "Crashed", "AwaitingRetry", "Running"])
    ''
    """
    num_kills = names.count("Crashed")
    if num_kills > MAX_RESTARTS:
        return (
            f"the process of this run was killed {num_kills} times, and it was started again "
            f"{MAX_RESTARTS} times: look at the machine's memory and the worker's log, then run it "
            "again; it resumes"
        )
    if "Cancelling" in names and "Crashed" in names[names.index("Cancelling") :]:
        return "this run was cancelled, and killed before it could end; run it again; it resumes"
    return ""
