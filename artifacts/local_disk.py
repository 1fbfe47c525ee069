"""Writing to a local disk so that a crash at any moment leaves the old state or the new one."""

import errno
import os
import shutil
import uuid
from pathlib import Path

_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Errors of link() on another device, or on a filesystem without hard links."""


def create(path: Path, data: bytes) -> None:
    """Create a file with all its content; FileExistsError if there is one."""
    temporary = write_beside(path, data)
    try:
        os.link(temporary, path)  # atomic, and fails where the name is taken
        sync(path.parent)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        # Without hard links this is exclusive too, but a crash within these two lines leaves half
        # a file, which is reported as damaged.
        with path.open("xb") as file:
            file.write(data)
    finally:
        temporary.unlink()


def write_beside(path: Path, data: bytes) -> Path:
    """Write a temporary file in the same folder, ready to be renamed, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def link_or_copy(source: Path, path: Path) -> None:
    """Give a file a second name, or copy it where that is not possible; read-only from then on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        copy(source, path)
    path.chmod(0o444)  # immutable, whatever its builder still does


def copy(source: Path, path: Path) -> None:
    """Copy a file, read-only, and wait until it is on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, path)
    except BaseException:
        path.unlink(missing_ok=True)  # on a full disk the torso would fill it further
        raise
    sync(path)
    path.chmod(0o444)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
