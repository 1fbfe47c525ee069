"""The automations: a run whose worker died is ended, and a run that was killed starts again."""

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows.deploying.work_pools import HEARTBEAT_S

FLOW: dict[str, str | list[str]] = {
    "prefect.resource.role": "flow",
    "prefect.resource.name": "owt-pipeline",
}

RUNS: dict[str, str | list[str]] = {"prefect.resource.id": "prefect.flow-run.*"}
EACH_RUN = {"prefect.resource.id"}

ENDED = ("Completed", "Failed", "Crashed", "Cancelled")
WAITING = ("AwaitingRetry", "Scheduled", "Pending", "Paused", "Suspended")
"""States in which a run sends no heartbeats, and need not; a `Cancelling` one still does."""


def end_silent_runs() -> AutomationCore:
    """Return the automation that ends a run three heartbeats after its last sign of life."""
    states = [*ENDED, *WAITING]
    return AutomationCore(
        name="owt: end silent runs",
        enabled=True,  # said, because Prefect's client sends an update only what was said
        description="A run that sends no heartbeat any more has lost its process: its slot of the "
        "work pool is freed.",
        trigger=EventTrigger(
            match=RUNS,
            match_related=FLOW,
            for_each=EACH_RUN,
            after={"prefect.flow-run.heartbeat"},
            expect={
                "prefect.flow-run.heartbeat",
                *(f"prefect.flow-run.{state}" for state in states),
            },
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=3 * HEARTBEAT_S),
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed",
                state=StateType.CRASHED,
                force=False,
                message=f"No heartbeat for {3 * HEARTBEAT_S} s: its process or machine is gone.",
            )
        ],
    )


def restart_killed_runs() -> AutomationCore:
    """Return the automation that gives a crashed run back to its pool, with its parameters.

    `after`: a run that never began (an image that is missing, a GPU that the daemon refuses) is not
    tried again. The flow itself ends a run that was killed too often (`flows/restarts.py`).
    """
    return AutomationCore(
        name="owt: restart killed runs",
        enabled=True,
        description="A run that crashed while it was running starts again, and resumes.",
        trigger=EventTrigger(
            match=RUNS,
            match_related=FLOW,
            for_each=EACH_RUN,
            after={"prefect.flow-run.Running"},
            expect={"prefect.flow-run.Crashed"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(days=30),
        ),
        actions=[
            ChangeFlowRunState(
                name="AwaitingRetry",
                state=StateType.SCHEDULED,
                force=False,
                message="It was killed; it starts again and resumes.",
            )
        ],
    )


def ensure_automation(client: SyncPrefectClient, wanted: AutomationCore) -> str:
    """Create or update an automation, and say which."""
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        return "created"
    first, *doubles = found
    for double in doubles:
        client.delete_automation(double.id)
    same = AutomationCore(**first.model_dump(include=set(AutomationCore.model_fields)))
    if same.model_dump() == wanted.model_dump():
        return "unchanged"
    client.update_automation(first.id, wanted)
    return "updated"
