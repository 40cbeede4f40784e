"""The opening handshake, server side (RFC 6455 section 4.2)."""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from hashlib import sha1
from urllib.parse import urlsplit

from wsgroups.connection.head import RequestHead
from wsgroups.connection.wire import check_text, check_token
from wsgroups.errors import HTTPError, UpgradeRequiredError

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_KEY = b"sec-websocket-key"
_VERSION = b"sec-websocket-version"
_INCOMPLETE = (
    "A WebSocket handshake needs Upgrade: websocket and Connection: Upgrade; a proxy in between "
    "has to pass them on."
)
_SWITCH = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: "
)


def check_upgrade(head: RequestHead) -> bytes | None:
    """Return the key of a valid WebSocket handshake, or None for an ordinary request.

    A GET that names `websocket` in Upgrade, or has a key or version of WebSocket, tries to be a
    handshake; an Upgrade to anything else may be ignored (RFC 9110 section 7.8).

    Raises:
        HTTPError: for a request that tries to be a handshake, and is none.
    """
    names_it = b"upgrade" in head.headers and b"websocket" in head.tokens(b"upgrade")
    if not (names_it or _KEY in head.headers or _VERSION in head.headers) or head.method != "GET":
        return None
    if head.version != 11:
        raise HTTPError(505, "WebSocket needs HTTP/1.1.")
    if not names_it or b"upgrade" not in head.connection:
        raise UpgradeRequiredError(_INCOMPLETE)
    if head.content_length != 0:
        raise HTTPError(400, "A WebSocket handshake has no body.")
    versions = head.get(_VERSION)
    if len(versions) != 1:
        raise HTTPError(400, "The handshake needs one Sec-WebSocket-Version header.")
    if versions[0] != b"13":
        raise HTTPError(
            426,
            "This server speaks WebSocket version 13.",
            {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        )
    keys = head.get(_KEY)
    if len(keys) != 1 or not _is_key(keys[0]):
        raise HTTPError(400, "The handshake needs one Sec-WebSocket-Key of 16 bytes in base64.")
    requested_subprotocols(head)  # refuses malformed ones, also where nobody looks at them
    return keys[0]


def _is_key(value: bytes) -> bool:
    if len(value) != 24:
        return False
    try:
        return len(a2b_base64(value, strict_mode=True)) == 16
    except Base64Error:
        return False


def accept_key(key: bytes) -> str:
    """Return the Sec-WebSocket-Accept value for a key (section 4.2.2, step 5.4)."""
    digest = sha1(key + _GUID, usedforsecurity=False).digest()
    return b2a_base64(digest, newline=False).decode("ascii")


def requested_subprotocols(head: RequestHead) -> tuple[str, ...]:
    """Return what the client offers in Sec-WebSocket-Protocol, in its order.

    Raises:
        HTTPError: when an offer is no token or stands there twice (section 4.1, item 10).
    """
    lines = head.get(b"sec-websocket-protocol")
    if not lines:
        return ()
    offers: list[str] = []
    for line in lines:
        for part in line.split(b","):
            name = part.strip(b" \t").decode("latin-1")
            try:
                check_token(name, "subprotocol")
            except ValueError:
                raise HTTPError(400, "Sec-WebSocket-Protocol is malformed.") from None
            offers.append(name)
    if len(set(offers)) != len(offers):
        raise HTTPError(400, "Sec-WebSocket-Protocol names a subprotocol twice.")
    return tuple(offers)


def encode_switch(key: bytes, subprotocol: str | None, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the 101 response (section 4.2.2).

    Raises:
        ValueError: when a header would break out of its line.
    """
    head = _SWITCH + accept_key(key)
    if subprotocol is not None:
        head += f"\r\nSec-WebSocket-Protocol: {check_token(subprotocol, 'subprotocol')}"
    for name, value in headers:
        head += f"\r\n{check_token(name, 'header name')}: {check_text(value, 'header value')}"
    return (head + "\r\n\r\n").encode("latin-1", "replace")


def is_same_origin(origin: str, scheme: str, host: str) -> bool:
    """True when a page at `origin` came from this very server (RFC 6454 section 5).

    Args:
        origin: the Origin header.
        scheme: `http` or `https`, as the client sees it.
        host: the Host header.
    """
    try:
        theirs = urlsplit(origin)
        ours = urlsplit(f"{scheme}://{host}")
        if origin != f"{theirs.scheme}://{theirs.netloc}" or "@" in theirs.netloc:
            return False
        default = {"http": 80, "https": 443}
        return (
            theirs.scheme == ours.scheme
            and theirs.hostname == ours.hostname
            and (theirs.port or default.get(theirs.scheme)) == (ours.port or default[scheme])
        )
    except ValueError:
        return False
