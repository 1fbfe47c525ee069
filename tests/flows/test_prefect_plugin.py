"""The plugin by which Prefect finds a deployment by its short name."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.prefect_plugin import accept_short_names, full_name

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("owt-pipeline", "owt-pipeline/owt-pipeline"),
        ("owt-pipeline/owt-pipeline", "owt-pipeline/owt-pipeline"),
        ("flow/deployment", "flow/deployment"),
        ("a/b/c", "a/b/c"),
    ],
)
def test_only_a_name_without_a_slash_is_completed(name: str, expected: str) -> None:
    """What already names flow and deployment, or is malformed, is Prefect's business."""
    assert full_name(name) == expected


def test_a_wrapped_client_still_answers_by_coroutine() -> None:
    """The wrapper changes the name and nothing else."""

    class Client:
        async def read_deployment_by_name(self, name: str) -> str:
            return name

    accept_short_names(Client)
    accept_short_names(Client)
    assert asyncio.run(Client().read_deployment_by_name("owt")) == "owt/owt"
    assert asyncio.run(Client().read_deployment_by_name("flow/owt")) == "flow/owt"


@pytest.mark.parametrize("client", [None, object])
def test_a_prefect_without_the_method_is_left_alone(client: type | None) -> None:
    """Nothing is raised and nothing added; the full name works as ever."""
    accept_short_names(client)
    assert not hasattr(client, "read_deployment_by_name")


def test_prefect_finds_a_deployment_by_its_short_name(prefect_server: None) -> None:
    """Both of Prefect's clients, as this checkout configures them, read it from a server."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("short")
        deployment_id = client.create_deployment(flow_id, name="short")
        assert client.read_deployment_by_name("short").id == deployment_id

    async def read() -> object:
        async with get_client() as asynchronous:
            return (await asynchronous.read_deployment_by_name("short")).id

    assert asyncio.run(read()) == deployment_id


def test_the_checkout_turns_plugins_on_and_telemetry_off() -> None:
    """A process that merely imports Prefect here has the plugin, and tells nobody."""
    code = (
        "import json, os\n"
        "from prefect.client.orchestration import PrefectClient\n"
        "from prefect.settings import get_current_settings\n"
        "print(json.dumps({\n"
        "    'wrapped': hasattr(PrefectClient.read_deployment_by_name, '__wrapped__'),\n"
        "    'analytics': get_current_settings().server.analytics_enabled,\n"
        "    'quiet': [os.environ[n] for n in ('DO_NOT_TRACK', 'MLFLOW_DISABLE_TELEMETRY')],\n"
        "}))\n"
    )
    mine = ("PREFECT_", "MLFLOW_", "DO_NOT_TRACK")
    env = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "wrapped": True,
        "analytics": False,
        "quiet": ["true", "true"],
    }
