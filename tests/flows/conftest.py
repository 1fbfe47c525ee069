"""A Prefect server for the session, and one data root with a whole tiny run in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_pipeline import TINY, Run, write_corpus


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One temporary Prefect server for all flow tests; it takes seconds to start."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A train and a valid file of simple sentences, 30 kB and 3 kB."""
    folder = tmp_path_factory.mktemp("corpus")
    return {
        split: write_corpus(folder / f"{split}.txt", seed=seed, num_documents=count)
        for split, seed, count in [("train", 1, 200), ("valid", 2, 20)]
    }


@pytest.fixture(scope="session")
def settings(corpus: dict[str, Path]) -> list[str]:
    """The settings of a tiny run on the test's corpus."""
    return [f"corpus.{split}={path}" for split, path in corpus.items()] + list(TINY)


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root of `first`, for tests that add to it or mend what they break."""
    return tmp_path_factory.mktemp("shared") / "data"


@pytest.fixture(scope="session")
def first(prefect_server: None, shared_root: Path, settings: list[str]) -> dict[str, Any]:
    """The summary of a first run, which builds everything in the shared data root."""
    return run_in(shared_root)(settings)


@pytest.fixture
def rerun(first: dict[str, Any], shared_root: Path) -> Run:
    """Run the flow again in the shared data root."""
    return run_in(shared_root)


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """An empty data root of the test's own."""
    return tmp_path / "data"


@pytest.fixture
def run(prefect_server: None, data_root: Path) -> Run:
    """Run the flow in the test's own data root."""
    return run_in(data_root)


def run_in(root: Path) -> Run:
    """Return a call of the flow with the smoke preset and the given settings."""
    from flows.pipeline import owt_pipeline

    def call(settings: list[str], **options: Any) -> dict[str, Any]:
        tracking = str(options.pop("tracking_uri", ""))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OWT_ROOT", str(root))
            patch.setenv("MLFLOW_TRACKING_URI", tracking)
            patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            summary: dict[str, Any] = owt_pipeline(preset="smoke", overrides=settings, **options)
            return summary

    return call
