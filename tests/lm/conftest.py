"""Fixtures of the language model's tests."""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def single_thread() -> Iterator[None]:
    """Compute on one thread: on tiny tensors more only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch the run-time checker off: torch cannot compile it; wrong values stop at it first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
