"""What a run keeps of where it was made."""

import json
from pathlib import Path

import pytest

from flows.context import flow_run_page


def test_the_page_of_a_server_that_lasts_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of one that ends with the command would be dead when somebody clicks on it."""
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__UI_URL", "http://127.0.0.1:4300/runs/1")
    assert flow_run_page(tmp_path) == "http://127.0.0.1:4300/runs/1"
    (tmp_path / "prefect").mkdir()
    passing = json.dumps({"url": "http://127.0.0.1:4300/api"})
    (tmp_path / "prefect" / "server.json").write_text(passing)
    assert flow_run_page(tmp_path) == ""
