"""A short selection of the campaign of kills; the whole one is in docs/studies/kills.md."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_chains_end_in_the_bytes_of_an_undisturbed_run(tmp_path: Path) -> None:
    """Chains of kills by all signals, at moments that the seed draws."""
    log = tmp_path / "kills.jsonl"
    command = [sys.executable, "-m", "benchmarks.kills", "--data", str(tmp_path / "data")]
    done = subprocess.run(
        [*command, "--out", str(log), "--kills", "6", "--seed", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    chains = [json.loads(line) for line in log.read_text().splitlines()]
    kills = [kill for chain in chains for kill in chain["kills"]]
    assert len(kills) >= 6
    assert [chain["problems"] for chain in chains] == [[]] * len(chains)
