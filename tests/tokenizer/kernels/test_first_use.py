"""The line about compiling: once for a new kernel, never for a cached one."""

import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from tokenizer.kernels.first_use import announce_compile


@dataclass(frozen=True)
class CacheStatistics:
    """What Numba tells of a kernel's cache."""

    cache_path: str


@dataclass(frozen=True)
class Kernel:
    """As much of a compiled kernel as is looked at."""

    stats: CacheStatistics

    @staticmethod
    def py_func() -> None:
        """Take the place of the Python function."""


def test_only_the_first_compile_is_announced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A kernel without a file in the cache is named once; one with a file is not."""
    caplog.set_level(logging.INFO)
    kernel = Kernel(CacheStatistics(str(tmp_path)))
    announce_compile(kernel, "counting words")
    announce_compile(kernel, "counting words")
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert messages[0].startswith("compiling the kernels for counting words, once for this machine")
    assert str(tmp_path) in messages[0]
    caplog.clear()
    (tmp_path / "module.py_func-12.py311.nbi").touch()
    announce_compile(Kernel(CacheStatistics(str(tmp_path))), "counting words")
    assert not caplog.records
