"""Tests of `flows/asked_device.py`: a device that is not here is refused before the first stage."""

from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts.store import open_store
from flows.asked_device import refuse_missing_device
from flows.config import resolve_config
from flows.presets import find_preset
from flows.selection import select_stages

MISSING = {
    "run.device=cuda": r"device \('cuda'\) is not available here",
    "train_lm.precision=tf32": r"precision \('tf32'\) needs a CUDA device",
}


@pytest.fixture(autouse=True)
def _no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine have no GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def look(settings: list[str], store: Path, **words: Any) -> None:
    config = resolve_config(find_preset("smoke"), None, settings)
    refuse_missing_device(config, open_store(store), select_stages(**words))


@pytest.mark.parametrize("asked", MISSING)
def test_what_must_be_built_on_a_missing_device_is_refused(
    settings: list[str], tmp_path: Path, asked: str
) -> None:
    """Before anything is built; the stages before the model need no device."""
    with pytest.raises(ValueError, match=MISSING[asked]):
        look([*settings, asked], tmp_path / "artifacts")
    look([*settings, asked], tmp_path / "artifacts", only="download")


@pytest.mark.usefixtures("first")
def test_what_is_cached_needs_no_device(settings: list[str], shared_root: Path) -> None:
    """A model that was trained elsewhere is looked at anywhere, until it is to be built again."""
    store = shared_root / "artifacts"
    look([*settings, "run.device=cuda"], store)
    with pytest.raises(ValueError, match="not available here"):
        look([*settings, "run.device=cuda"], store, force=["generate"])
