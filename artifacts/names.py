"""Names and places from a store, which may be another person's: none leaves its folder."""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_DRIVE = re.compile(r"[A-Za-z]:")
_MAX_NAME_BYTES = 1024
"""Limit of an object's key on S3; a part of a local path may have 255."""


def check_file_name(name: str) -> None:
    """Raise ValueError unless the name is that of a file inside the folder it is joined to."""
    path = PurePosixPath(name)
    is_inside = (
        name not in ("", ".")
        and str(path) == name
        and not path.is_absolute()
        and ".." not in path.parts
        and not _DRIVE.match(name)
    )
    if not (is_inside and _is_plain(name)):
        raise ValueError(
            f"file name {name[:100]!r} must be relative, with forward slashes and without . or .. "
            "parts, drive letters, backslashes or control characters"
        )


def _is_plain(name: str) -> bool:
    try:
        data = name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    is_short = len(data) <= _MAX_NAME_BYTES and max(map(len, data.split(b"/"))) <= 255
    return is_short and b"\\" not in data and not any(byte < 32 or byte == 127 for byte in data)


def check_folder(name: str) -> None:
    """Raise ValueError unless the name is that of one folder, made of letters, digits, - and _."""
    if not _FOLDER.fullmatch(name):
        raise ValueError(f"folder {name[:100]!r} must be letters, digits, - and _")


def local_place(uri: str) -> Path:
    """Return the path on this machine that an absolute path or a file:// URL names.

    Raises:
        ValueError: It is relative, or elsewhere.
    """
    parts = urlsplit(uri) if uri.startswith("file:") else None
    path = Path(unquote(parts.path)) if parts else Path(uri)
    if not path.is_absolute() or (parts and parts.netloc) or "\0" in str(path):
        raise ValueError(f"{uri[:200]!r} must be an absolute path or a file:// URL")
    return path
