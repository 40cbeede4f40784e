"""Responses as bytes (RFC 9112 section 4)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

PHRASES = {status.value: status.phrase for status in HTTPStatus}

_UNSAFE = re.compile(r"[\r\n\0]")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_BODILESS = frozenset({204, 304})

_date_second = 0
_date_header = b""


def check_token(name: str, what: str) -> str:
    """Return `name` when it is a token (RFC 9110 section 5.6.2).

    Raises:
        ValueError: naming `what` the application supplied.
    """
    if not _TOKEN.match(name):
        raise ValueError(f"{what} {name!r} is not a valid HTTP token")
    return name


def check_text(value: str, what: str) -> str:
    """Return `value` when it can stand in a header line.

    Raises:
        ValueError: for CR, LF or NUL, which would let a value write headers of its own.
    """
    if _UNSAFE.search(value):
        raise ValueError(f"{what} {value!r} has a CR, LF or NUL in it")
    return value


def encode_response(
    status: int,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    reason: str | None = None,
    keep_alive: bool = True,
    with_body: bool = True,
) -> bytes:
    """Return a whole response.

    Args:
        status: 200 to 599.
        headers: names and values; `Content-Length`, `Connection` and `Date` are added.
        body: the content.
        reason: the reason phrase; None for the registered one.
        keep_alive: False adds `Connection: close`.
        with_body: False leaves the content out but keeps its length (HEAD).
    """
    phrase = PHRASES.get(status, "") if reason is None else check_text(reason, "reason")
    lines = [f"HTTP/1.1 {status} {phrase}"]
    lines += [
        f"{check_token(name, 'header name')}: {check_text(value, 'header value')}"
        for name, value in headers
    ]
    if status not in _BODILESS:
        lines.append(f"Content-Length: {len(body)}")
    if not keep_alive:
        lines.append("Connection: close")
    head = "\r\n".join(lines).encode("latin-1", "replace")
    content = body if with_body and status not in _BODILESS else b""
    return b"%b\r\n%b\r\n\r\n%b" % (head, _date(), content)


def _date() -> bytes:
    """The Date header (RFC 9110 section 6.6.1), made once a second."""
    global _date_second, _date_header
    now = int(time.time())
    if now != _date_second:
        _date_second = now
        _date_header = b"Date: " + formatdate(now, usegmt=True).encode()
    return _date_header
