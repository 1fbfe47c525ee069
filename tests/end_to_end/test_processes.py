"""Training in two processes is the same stage: same fingerprint, losses within rounding."""

from pathlib import Path

import pytest

from tests.tiny_pipeline import Run, built, run_in, shown

pytestmark = pytest.mark.slow


def test_two_processes_train_the_same_model(run: Run, settings: list[str], tmp_path: Path) -> None:
    """The number of processes is not fingerprinted, and the artifact does not show it."""
    single = run(settings)
    double = run_in(tmp_path / "other")([*settings, "run.num_processes=2", "run.device=cpu"])
    assert [s["fingerprint"] for s in double["stages"]] == [
        s["fingerprint"] for s in single["stages"]
    ]
    losses = [shown(run, "evaluate")["statistics"]["loss"] for run in (double, single)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert built(run([*settings, "run.num_processes=2"])) == []
