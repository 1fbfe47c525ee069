"""Byte ranges on a Dask cluster: what refuses it, and how a range is performed there."""

from collections.abc import Iterator
from typing import Any

import pytest

from flows.config import resolve_config
from flows.presets import find_preset
from tasks.execution.cluster import Cluster, connected, explain_killed
from tests.free_port import free_port

distributed = pytest.importorskip("distributed", reason="needs the extra dask")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (["run.runner=dask"], "needs either dask_address"),
        (["run.runner=dask", "run.dask_workers=2", "run.dask_address=tcp://a:1"], "needs either"),
        (["run.dask_workers=2"], r"runner \(threads\) has no use for"),
        (["run.runner=dask", "run.dask_workers=-1"], r"dask_workers \(-1\) must be at least 0"),
        (["run.runner=ray"], r"run.runner \('ray'\)"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: list[str], problem: str) -> None:
    """Bad input gets one line before anything starts."""
    with pytest.raises(ValueError, match=problem):
        resolve_config(find_preset("smoke"), None, settings)


def test_a_scheduler_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the address and the way out."""
    monkeypatch.setattr("tasks.execution.cluster.CONNECT_TIMEOUT_S", 0.5)
    address = f"tcp://127.0.0.1:{free_port()}"
    with (
        pytest.raises(
            ValueError, match=f"no Dask scheduler answers at run.dask_address .{address}"
        ),
        connected(Cluster(address=address)),
    ):
        pass


@pytest.fixture
def scheduler() -> Iterator[Any]:
    """A scheduler in this process; a test adds the worker."""
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as found:
        yield found


@pytest.mark.slow
def test_a_scheduler_without_workers_is_refused(
    monkeypatch: pytest.MonkeyPatch, scheduler: Any
) -> None:
    """One line with the command that starts one."""
    monkeypatch.setattr("tasks.execution.cluster.CONNECT_TIMEOUT_S", 0.5)
    address = scheduler.scheduler_address
    with (
        pytest.raises(ValueError, match=f'has no worker; start one with "dask worker {address}"'),
        connected(Cluster(address=address)),
    ):
        pass


@pytest.mark.slow
def test_a_worker_of_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, scheduler: Any
) -> None:
    """One line with the worker, both versions and the way out."""
    scheduler.scale(1)
    get_versions = distributed.Client.get_versions

    def with_an_old_worker(client: Any) -> Any:
        versions = get_versions(client)
        for facts in versions["workers"].values():
            facts["packages"]["distributed"] = "2020.1.0"
        return versions

    monkeypatch.setattr(distributed.Client, "get_versions", with_an_old_worker)
    with (
        pytest.raises(ValueError, match=r"is version 2020\.1\.0, here it is .*constraints\.txt"),
        connected(Cluster(address=scheduler.scheduler_address)),
    ):
        pass


def test_an_error_of_the_range_itself_stays_as_it_is() -> None:
    """Only the death of workers needs other words."""
    error = ValueError("d_model")
    assert explain_killed(error, "count pretokens", "the bytes 0 to 10") is error
