"""Kernels are compiled in processes of their own, and everybody sees which are there."""

import runpy
import sys
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from tokenizer import compile_kernels as module
from tokenizer.compile_kernels import compile_group, is_being_compiled, is_compiled


def test_a_group_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note is written when the group is there; then nobody compiles it again."""
    calls: list[bool] = []

    def compile_it(text: Path) -> None:
        assert text.read_bytes() == module.TEXT
        calls.append(is_being_compiled("count", str(tmp_path)))

    monkeypatch.setitem(module._CALLS, "count", compile_it)
    assert not is_compiled("count", str(tmp_path))
    assert not is_being_compiled("count", str(tmp_path))
    compile_group("count", str(tmp_path))
    compile_group("count", str(tmp_path))
    assert calls == [True]
    assert is_compiled("count", str(tmp_path))
    assert not is_being_compiled("count", str(tmp_path))


def test_another_process_that_compiles_is_seen(tmp_path: Path) -> None:
    """The kernel of the system gives the lock back however that process ends."""
    lock = module._lock("merge", str(tmp_path))
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        flock(file, LOCK_EX)
        assert is_being_compiled("merge", str(tmp_path))
    assert not is_being_compiled("merge", str(tmp_path))


@pytest.mark.parametrize("group", module.GROUPS)
def test_the_call_of_a_group_works(group: str, tmp_path: Path) -> None:
    """The tiny work for whose sake a group is compiled runs through."""
    text = tmp_path / "text.txt"
    text.write_bytes(module.TEXT)
    module._CALLS[group](text)


def test_the_command_compiles_the_groups_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the folder of the cache, as the start of a run calls it."""
    monkeypatch.setattr(sys, "argv", ["compile_kernels", str(tmp_path), "merge"])
    runpy.run_path(str(module.__file__), run_name="__main__")
    assert is_compiled("merge", str(tmp_path))
    assert not is_compiled("count", str(tmp_path))
