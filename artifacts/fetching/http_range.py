"""One HTTP request for the rest of a file. Its errors show whether another attempt may help."""

import base64
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

_BLOCK_BYTES = 2**20

_RETRIABLE = {408, 425, 429, 500, 502, 503, 504}
"""Status codes after which another attempt may succeed (RFC 9110 sections 15.5 and 15.6, RFC 6585
section 4)."""

_NETWORK_ERRORS = (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


class FetchError(OSError):
    """The network or the server failed, and another attempt may succeed."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        """Keep the message, and how many seconds the server asks to wait."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnreachableError(FetchError):
    """Nobody answers at the address: no network, no such host, or no server."""

    def __init__(self, message: str, reason: str = "") -> None:
        """Keep the message, and the operating system's reason for those who word it anew."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer."""

    start: int
    """Offset of the first byte sent: what was asked for, or 0 if the server starts again."""
    total_bytes: int | None
    """Size of the whole file, if the server says it."""
    validator: str
    """Strong ETag or date that identifies this version of the file; empty if there is none."""
    blocks: Iterator[bytes]
    """The content; raises FetchError when the connection fails or ends early."""


def redacted(url: str) -> str:
    """Return a URL without user, password and query, which may hold a signature, for messages."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


@contextmanager
def open_range(url: str, *, start: int, validator: str, timeout_s: float) -> Iterator[Answer]:
    """Ask for a file from an offset on, if it is still the version that the validator names.

    Raises:
        FetchError: The network or the server failed; another attempt may succeed.
        UnreachableError: Nobody answers at the address.
        FileNotFoundError: The server has no such file (404, 410).
        PermissionError: The server refuses (401, 403).
        ValueError: Any other refusal, or a bad URL.
    """
    with _open(_request(url, start, validator), redacted(url), timeout_s) as response:
        first, total = _extent(response)
        found = _validator(response.headers)
        yield Answer(first, total, found, _blocks(response, redacted(url), first, total))


def _request(url: str, start: int, validator: str) -> urllib.request.Request:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host, fragment="")))
    request.add_header("Accept-Encoding", "identity")
    request.add_header("User-Agent", "owt-pipeline")
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        token = base64.b64encode(login.encode()).decode()
        # Unredirected: if the server redirects us to another one, that one does not get it.
        request.add_unredirected_header("Authorization", f"Basic {token}")
    if start:
        request.add_header("Range", f"bytes={start}-")
        if validator:
            request.add_header("If-Range", validator)
    return request


def _open(
    request: urllib.request.Request, shown: str, timeout_s: float
) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout_s)
        return response
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error, shown) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise ValueError(
                f"{shown}: the server's certificate is not trusted ({error.reason}); "
                "set SSL_CERT_FILE to the authority's certificate, or correct the address"
            ) from None
        reason = getattr(error.reason, "strerror", None) or str(error.reason)
        raise UnreachableError(f"{shown} cannot be reached: {reason}", reason) from None
    except _NETWORK_ERRORS as error:
        raise FetchError(f"{shown} does not answer: {error!r}") from None


def _refusal(error: urllib.error.HTTPError, shown: str) -> Exception:
    """Return the exception for a status that is no success."""
    answer = f"{shown} answers {error.code} {error.reason}"
    if error.code in _RETRIABLE:
        return FetchError(answer, _retry_after_s(error.headers.get("Retry-After", "")))
    if error.code in (404, 410):
        return FileNotFoundError(f"{answer}: there is no such file; correct the address")
    if error.code in (401, 403):
        return PermissionError(f"{answer}: it wants a login or forbids the file; check the address")
    if error.code == 416:
        return RangeRefusedError(f"{answer}: the file is shorter than what was fetched before")
    return ValueError(f"{answer}; trying again would not help, check the address")


class RangeRefusedError(FetchError):
    """The server has no bytes at this offset: what was fetched before is no part of its file."""


def _retry_after_s(value: str) -> float:
    return min(float(value), 120.0) if value.isdigit() else 0.0


def _extent(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Return the offset of the first byte sent and the size of the whole file."""
    length = response.headers.get("Content-Length", "")
    if response.status != 206:
        return 0, int(length) if length.isdigit() else None
    # RFC 9110 section 14.4: "bytes first-last/total" or "bytes first-last/*"
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    if not first.isdigit():
        raise FetchError(f"the server sends a part without saying which: {span!r}")
    return int(first), int(total) if total.isdigit() else None


def _validator(headers: http.client.HTTPMessage) -> str:
    # RFC 9110 section 13.1.5: If-Range takes strong validators only.
    etag: str = headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    modified: str = headers.get("Last-Modified", "")
    return modified


def _blocks(
    response: IO[bytes], shown: str, start: int, total_bytes: int | None
) -> Iterator[bytes]:
    done = start
    while True:
        try:
            block = response.read(_BLOCK_BYTES)
        except _NETWORK_ERRORS as error:
            raise FetchError(
                f"{shown}: connection failed after {done:,} bytes: {error!r}"
            ) from None
        if not block:
            break
        done += len(block)
        yield block
    if total_bytes is not None and done < total_bytes:
        raise FetchError(f"{shown}: connection ended after {done:,} of {total_bytes:,} bytes")
