"""Every order of the steps of several builders, with a fork in the road at each step.

A builder is a function that runs in a greenlet of its own and stops before each call of the store's
filesystem. The scheduler says which builder makes its call next. A path through all choices is run
from the start each time. Two paths that lead to the same store and the same answers so far continue
in the same way, so only one of them is followed.

A builder that crashed, or that is suspended for ever, is one that the scheduler never chooses
again: each order's every beginning stands for that.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from greenlet import getcurrent, greenlet

_CALLS = {
    "cat_file",
    "pipe_file",
    "put_file",
    "cp_file",
    "rm_file",
    "ls",
    "find",
    "exists",
    "info",
}

World = dict[str, bytes]
"""The content of a store, by path."""

Quiet = Callable[[str, str], bool]
"""Says of a call and its path that no other builder can tell whether it was made: no stop there."""


Fault = Callable[[str, int], str]
"""Says what happens to a call, given its name and how many calls its builder made before.

`answer lost`: it is done, and the builder is told of an error. `lost`: it is not done, and the
builder is told that it was. Anything else: the call is done and answered.
"""


def no_fault(_call: str, _number: int) -> str:
    """Let every call be done and answered."""
    return ""


class Stopped(BaseException):
    """Ends a builder that is not continued; whatever it still calls does nothing."""


@dataclass
class Builder:
    """One builder, and what it knows."""

    name: str
    thread: greenlet
    knows: Any = field(default_factory=hashlib.sha256)
    """Hash of all answers so far. The code is deterministic, so it stands for its whole state."""
    error: BaseException | None = None
    result: object = None
    is_stopped: bool = False
    token: str = "-"
    """Name of its hold of the lease, once it has one."""
    num_ids: int = 0
    num_calls: int = 0
    seconds: float = 0.0
    """Its own clock, which only its own sleep moves."""

    @property
    def is_done(self) -> bool:
        """Whether there is no further call."""
        return bool(self.thread.dead)


def this_builder() -> Builder | None:
    """Return the builder that runs now; None outside of all."""
    builder: Builder | None = getattr(getcurrent(), "builder", None)
    return builder


def forget(*facts: object) -> None:
    """Say that a builder's state depends on these facts only, not on what it read before.

    So paths that came here in different ways are followed once.
    """
    if builder := this_builder():
        builder.knows = hashlib.sha256(repr(facts).encode())


class SteppedFilesystem:
    """A filesystem whose every call waits for the scheduler, and may go wrong."""

    def __init__(self, fs: Any, quiet: Quiet, fault: Fault = no_fault) -> None:
        self._fs, self._quiet, self._fault = fs, quiet, fault

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._fs, name)
        builder = this_builder()
        if name not in _CALLS or builder is None:
            return attribute

        def call(path: str, *args: Any, **kwargs: Any) -> Any:
            if not self._quiet(name, args[0] if name in ("cp_file", "put_file") else path):
                getcurrent().parent.switch()
            if builder.is_stopped:
                raise Stopped
            fault = self._fault(name, builder.num_calls)
            builder.num_calls += 1
            try:
                answer = None if fault == "lost" else attribute(path, *args, **kwargs)
                if fault == "answer lost":
                    raise ConnectionResetError
            except OSError as error:
                builder.knows.update(repr(type(error)).encode())
                raise
            builder.knows.update(repr(answer).encode())
            return answer

        return call


def start(name: str, run: Callable[[], object]) -> Builder:
    """Start a builder; it waits before its first call."""

    def body() -> None:
        try:
            builder.result = run()
        except Stopped:
            pass
        except Exception as error:
            builder.error = error
        forget(builder.result, type(builder.error))

    builder = Builder(name, greenlet(body))
    builder.thread.builder = builder
    step(builder)
    return builder


def step(builder: Builder) -> None:
    """Let a builder make its next call, and wait until it is before the one after."""
    builder.thread.parent = getcurrent()
    builder.thread.switch()


def finish(builder: Builder, *, limit: int = 1000) -> None:
    """Let a builder run alone to its end."""
    for _ in range(limit):
        if builder.is_done:
            return
        step(builder)
    raise AssertionError(f"{builder.name} did not end within {limit} calls")


def stop(builder: Builder) -> None:
    """End a builder as a crash does: nothing it still tries is done."""
    builder.is_stopped = True
    while not builder.is_done:
        step(builder)


@dataclass
class Explored:
    """How much was seen."""

    num_states: int = 0
    num_paths: int = 0
    num_steps: int = 0
    is_complete: bool = False
    """Whether no branch was left out."""


Begin = Callable[[], Sequence[Builder]]
"""Puts the world into its first state and starts the builders."""

Examine = Callable[[Sequence[Builder]], None]
"""Checks a state, given the builders; it may change nothing."""


def explore(
    begin: Begin, world: Callable[[], World], examine: Examine, *, max_states: int
) -> Explored:
    """Follow every order of steps, and examine each new state and each end, up to a limit.

    Branches are taken in a random order, the same one each time, so that what a limit leaves out
    is spread over all of the work.
    """
    explored, seen, draw = Explored(), set[bytes](), random.Random(0)
    todo: list[list[int]] = [[]]
    while todo and len(seen) < max_states:
        explored.num_paths += 1
        builders = begin()
        place = draw.randrange(len(todo))
        todo[place], todo[-1] = todo[-1], todo[place]
        todo += _follow(todo.pop(), builders, world, examine, seen, explored)
        for builder in builders:
            stop(builder)
    explored.num_states, explored.is_complete = len(seen), not todo
    return explored


def _follow(
    path: list[int],
    builders: Sequence[Builder],
    world: Callable[[], World],
    examine: Examine,
    seen: set[bytes],
    explored: Explored,
) -> list[list[int]]:
    """Run one path, go on to its end or to a known state, and return the branches passed."""
    for number in path:
        step(builders[number])
    explored.num_steps += len(path)
    branches: list[list[int]] = []
    taken = list(path)
    while (state := _digest(builders, world())) not in seen:
        seen.add(state)
        examine(builders)
        choices = _running(builders)
        if not choices:
            break
        branches += [[*taken, other] for other in choices[1:]]
        taken.append(choices[0])
        explored.num_steps += 1
        step(builders[choices[0]])
    return branches


def sample(begin: Begin, examine: Examine, *, num_paths: int, seed: int) -> Explored:
    """Follow some random orders of steps, the same ones for the same seed.

    A builder is mostly continued for a while, as real ones are.
    """
    draw, explored = random.Random(seed), Explored()
    for _ in range(num_paths):
        explored.num_paths += 1
        builders = begin()
        current, stay = 0, draw.choice([0.5, 0.8, 0.95])
        while choices := _running(builders):
            if current not in choices or draw.random() > stay:
                current = draw.choice(choices)
            explored.num_steps += 1
            step(builders[current])
            examine(builders)
    return explored


def _running(builders: Sequence[Builder]) -> list[int]:
    return [number for number, builder in enumerate(builders) if not builder.is_done]


def _digest(builders: Sequence[Builder], content: World) -> bytes:
    digest = hashlib.sha256()
    for path in sorted(content):
        digest.update(f"{path}\0{len(content[path])}\0".encode() + content[path])
    for builder in builders:
        digest.update(builder.knows.digest() + bytes([builder.is_done]))
    return digest.digest()
