"""Stores of every kind, a real S3 server, and artifacts to put into them."""

import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import settings

from artifacts.building.publishing import publish
from artifacts.building.staging import Staging, add_part, open_staging
from artifacts.identity import Identity, Reference
from artifacts.record import BuildFacts, Record
from artifacts.store import Store, open_store
from tests.s3_server import set_s3_environment

# A machine that is busy with other work must not fail a property.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

STAGE = "encode_shards"
CONFIG: Mapping[str, object] = {"name": "tiny", "size": 3}

_CHANGES = {
    "os.link",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "shutil.copyfile",
}
"""What Python reports to audit hooks before it changes something on disk."""

_LOOKS = {"os.scandir", "os.listdir"}
_REMOTE_READS = {"cat_file", "cat_ranges", "get_file", "open"}
_REMOTE_LOOKS = {"exists", "find", "info", "ls"}
_REMOTE_CHANGES = {"pipe_file", "put_file", "cp_file", "rm_file"}

Build = Callable[..., Record]
Stage = Callable[..., Staging]
OpenStore = Callable[[], Store]


class Steps:
    """Runs an action at the n-th change to a store, before or after it; notes changes and reads.

    A local store is watched through Python's audit events, which come before every system call. Any
    other store is watched through a wrapper around its filesystem object.
    """

    def __init__(self, store: Store) -> None:
        self.count = 0
        self.reads: list[str] = []
        self._at = -1
        self._after = False
        self._action: Callable[[], object] = lambda: None
        self._root = store.root
        self._looks_count = False
        self._watching = False
        self.is_local = isinstance(store.fs, LocalFileSystem)
        watched = None if self.is_local else _WatchedFilesystem(store.fs, self)
        self.store = replace(store, fs=watched) if watched else store
        if self.is_local:
            sys.addaudithook(self._on_audit)  # it cannot be removed again, only be switched off

    def watch(
        self,
        at: int,
        action: Callable[[], object],
        *,
        after: bool = False,
        looks_count: bool = False,
    ) -> None:
        """Count from 1 again, and run the action at the change (or read or look) of this number."""
        self.count, self._at, self._after, self._looks_count = 0, at, after, looks_count
        self._action, self._watching = action, True

    def watch_reads(self) -> None:
        """Forget what was read so far, and note the paths of the files that are read from now."""
        self.reads.clear()
        self.watch(-1, lambda: None)

    def end(self) -> None:
        """Stop watching."""
        self._watching = False

    def before_change(self) -> None:
        """Take note of a change that is about to be made."""
        if self._watching:
            self.count += 1
            self._act_if_due(after=False)

    def after_change(self) -> None:
        """Take note of a change that was made."""
        if self._watching:
            self._act_if_due(after=True)

    def before_read(self, path: str) -> None:
        """Take note of a file that is about to be read."""
        if self._watching:
            self.reads.append(path)
        self.before_look()

    def before_look(self) -> None:
        """Take note of a file or folder that is about to be looked at."""
        if self._looks_count:
            self.before_change()

    def _act_if_due(self, *, after: bool) -> None:
        if self.count == self._at and after == self._after:
            self._watching = False
            self._action()
            self._watching = True

    def _on_audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._watching:
            return
        if not any(str(value).startswith(self._root) for value in arguments[:2]):
            return
        if event in _CHANGES or (event == "open" and _opens_for_writing(arguments)):
            self.before_change()
        elif event == "open":
            self.before_read(str(arguments[0]))
        elif event in _LOOKS:
            self.before_look()


def _opens_for_writing(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


class _WatchedFilesystem:
    """An fsspec filesystem that reports the changes it makes."""

    def __init__(self, fs: Any, steps: Steps) -> None:
        self._fs = fs
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._fs, name)
        if name in _REMOTE_READS | _REMOTE_LOOKS:
            return partial(self._look, name, attribute)
        if name not in _REMOTE_CHANGES:
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            self._steps.before_change()
            answer = attribute(*args, **kwargs)
            self._steps.after_change()
            return answer

        return call

    def _look(
        self, name: str, attribute: Callable[..., Any], path: str, *args: Any, **kwargs: Any
    ) -> Any:
        if name in _REMOTE_READS:
            self._steps.before_read(path)
        else:
            self._steps.before_look()
        return attribute(path, *args, **kwargs)


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def open_again(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenStore]:
    """Give a function that opens the same store anew, as another process would."""
    name = uuid.uuid4().hex
    if request.param == "s3":
        set_s3_environment(request.getfixturevalue("s3_options"), monkeypatch)
    urls = {
        "local": str(tmp_path / "store"),
        "memory": f"memory://{name}",
        "s3": f"s3://tests/{name}",
    }
    url = urls[request.param]
    yield lambda: open_store(url, cache_dir=tmp_path / "cache")
    store = open_store(url)
    if request.param == "memory" and store.fs.exists(store.root):
        store.fs.rm(store.root, recursive=True)  # the memory filesystem is shared by all tests


@pytest.fixture
def store(open_again: OpenStore) -> Store:
    """Give an empty store."""
    return open_again()


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    """Give an empty local store."""
    return open_store(tmp_path / "local-store")


@pytest.fixture
def steps(store: Store) -> Iterator[Steps]:
    """Give control over every change that is made to the store."""
    controlled = Steps(store)
    yield controlled
    controlled.end()


def identity_of(
    stage: str = STAGE,
    config: Mapping[str, object] = CONFIG,
    inputs: Mapping[str, Reference] | None = None,
) -> Identity:
    """Return the identity of an artifact of version 1 of a stage."""
    return Identity(stage=stage, version=1, config=config, inputs=inputs or {})


@pytest.fixture
def stage_files(tmp_path: Path) -> Stage:
    """Give a function that stages files of given content."""

    def stage_files(store: Store, files: Mapping[str, bytes], **parts: Any) -> Staging:
        staging = open_staging(store, identity_of(**parts))
        for name, content in files.items():
            source = tmp_path / f"source-{uuid.uuid4().hex}"
            source.write_bytes(content)
            add_part(staging, source, name, move=True)
        return staging

    return stage_files


@pytest.fixture
def build(stage_files: Stage) -> Build:
    """Give a function that builds and publishes an artifact."""

    def build(
        store: Store,
        files: Mapping[str, bytes],
        *,
        stage: str = STAGE,
        config: Mapping[str, object] = CONFIG,
        inputs: Mapping[str, Reference] | None = None,
        **facts: Any,
    ) -> Record:
        staging = stage_files(store, files, stage=stage, config=config, inputs=inputs)
        return publish(staging, identity_of(stage, config, inputs), BuildFacts(**facts))

    return build
