"""An object store in memory that knows who wrote what, and what nobody may read."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from tests.artifacts.scheduler import World

_ATTEMPT = re.compile(r"(.*/\.staging/[^/]+/[^/]+)/([0-9]{8})-[^/]+/")


class Bucket:
    """The calls of an fsspec filesystem that the store uses, on one dictionary."""

    def __init__(self, content: World | None = None) -> None:
        self.content: World = dict(content or {})
        self.late: set[str] = set()
        """Paths written by builders whose successor had begun by then."""
        self.derived: set[str] = set()
        """Copies of those."""
        self.violations: list[str] = []

    def unstrip_protocol(self, path: str) -> str:
        """Return a path with the protocol."""
        return f"bucket://{path}"

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return a file's content, or a range of it."""
        return self._get(path)[start:end]

    def pipe_file(self, path: str, data: bytes, mode: str = "overwrite") -> None:
        """Write a file; with mode `create` only where there is none."""
        if mode == "create" and path in self.content:
            raise FileExistsError(path)
        self._put(path, data)

    def put_file(self, source: str, path: str) -> None:
        """Upload a local file."""
        self._put(path, Path(source).read_bytes())

    def get_file(self, path: str, destination: str) -> None:
        """Download to a local file."""
        Path(destination).write_bytes(self.cat_file(path))

    def cp_file(self, source: str, path: str) -> None:
        """Copy a file within the store."""
        is_late = source in self.late | self.derived
        self._put(path, self._get(source))
        if is_late:
            self.derived.add(path)

    def rm_file(self, path: str) -> None:
        """Remove a file; nobody removes a published record here."""
        self._get(path)
        if path.endswith("/record.json") and "/." not in path:
            self.violations.append(f"{path} was removed")
        del self.content[path]
        self.late.discard(path)
        self.derived.discard(path)

    def ls(self, folder: str, *, detail: bool) -> list[str]:
        """List what is directly below a folder."""
        assert not detail
        names = {p[len(folder) + 1 :].split("/")[0] for p in self._below(folder)}
        if not names:
            raise FileNotFoundError(folder)
        return sorted(f"{folder}/{name}" for name in names)

    def find(self, folder: str, *, detail: bool = False) -> Any:
        """List all files below a folder."""
        found = {path: self.info(path) for path in self._below(folder)}
        return found if detail else sorted(found)

    def exists(self, path: str) -> bool:
        """Tell whether there is a file or folder."""
        return path in self.content or bool(self._below(path))

    def info(self, path: str) -> dict[str, object]:
        """Describe a file."""
        data = self._get(path)
        mark = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return {"name": path, "type": "file", "size": len(data), "ETag": mark}

    def _below(self, folder: str) -> list[str]:
        return sorted(path for path in self.content if path.startswith(folder + "/"))

    def _get(self, path: str) -> bytes:
        if path not in self.content:
            raise FileNotFoundError(path)
        return self.content[path]

    def _put(self, path: str, data: bytes) -> None:
        if path.endswith("/record.json") and path in self.content:
            self.violations.append(f"{path} was written twice")
        self.content[path] = data
        self.late.discard(path)
        self.derived.discard(path)
        if path.endswith("/begun"):
            self._check_begin(path)
        if (found := _ATTEMPT.match(path)) and self._has_begun_after(*found.groups()):
            self.late.add(path)

    def _has_begun_after(self, staging: str, number: str) -> bool:
        names = [p[len(staging) + 1 :] for p in self._below(staging) if p.endswith("/begun")]
        return any(name[:8] > number for name in names)

    def _check_begin(self, path: str) -> None:
        """Note a hand-over that ended with something that a lost builder wrote too late."""
        found = _ATTEMPT.match(path)
        if found is None or self._has_begun_after(*found.groups()):
            return  # it is lost itself, and nobody will read it
        taken = [copy for copy in self.derived if copy.startswith(path.removesuffix("begun"))]
        if taken:
            self.violations.append(f"{path} has {taken}, written by one that lost")
