"""The opening handshake, client side (RFC 6455 section 4.1)."""

from __future__ import annotations

import base64
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httptools
from multidict import CIMultiDict, CIMultiDictProxy

from wsgroups.connection.deflate import Deflate, accept, offer
from wsgroups.connection.handshake import accept_key
from wsgroups.connection.wire import check_text, check_token
from wsgroups.errors import HandshakeFailedError
from wsgroups.policy import Compression

MAX_HEAD_SIZE = 32 << 10

_OURS = frozenset(
    {
        "connection",
        "host",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class Address:
    """What a `ws:` or `wss:` URL says (RFC 6455 section 3)."""

    host: str
    port: int
    is_secure: bool
    target: str  # path and query
    authority: str  # for the Host header

    @classmethod
    def of(cls, url: str) -> Address:
        """Take a URL apart.

        Raises:
            ValueError: for another scheme, a fragment, credentials, or no host.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss"):
            raise ValueError(f"{url!r} is no WebSocket address; it begins with ws:// or wss://")
        if parts.fragment or url.endswith("#"):
            raise ValueError(f"{url!r} has a fragment, which WebSocket addresses have not")
        if parts.username is not None:
            raise ValueError("credentials stand in headers={'Authorization': ...}, not in the URL")
        if not parts.hostname:
            raise ValueError(f"{url!r} names no host")
        is_secure = parts.scheme == "wss"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not target.isascii() or any(c <= " " or c == "\x7f" for c in target):
            raise ValueError(f"{url!r} has to be percent-encoded")
        port = parts.port or (443 if is_secure else 80)
        return cls(parts.hostname, port, is_secure, target, parts.netloc)


class Opening:
    """One handshake: the request to send, and the response as it arrives.

    Args:
        address: where to.
        subprotocols: offered, the preferred one first.
        headers: further headers of the request.
        origin: the Origin header; None for none, as programs have it.
        compression: offered, or None.

    Attributes:
        request: the bytes to send.
        subprotocol: what was agreed on, or None; once complete.
        headers: of the response; once complete.
        deflate: the compression that was agreed on, or None; once complete.
    """

    def __init__(
        self,
        address: Address,
        subprotocols: Collection[str],
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        origin: str | None,
        compression: Compression | None = None,
    ) -> None:
        self._compression = compression
        self.deflate: Deflate | None = None
        self._offered = [check_token(name, "subprotocol") for name in subprotocols]
        self._key = base64.b64encode(os.urandom(16))
        self._accepted = accept_key(self._key)
        self.request = self._encode(address, headers, origin)
        self.subprotocol: str | None = None
        self._lines: CIMultiDict[str] = CIMultiDict()
        self._size = 0
        self._is_complete = False
        self._parser: Any = httptools.HttpResponseParser(self)

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers of the response."""
        return CIMultiDictProxy(self._lines)

    def _encode(
        self,
        address: Address,
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        origin: str | None,
    ) -> bytes:
        lines = [
            f"GET {address.target} HTTP/1.1",
            f"Host: {address.authority}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self._key.decode()}",
            "Sec-WebSocket-Version: 13",
        ]
        if self._offered:
            lines.append(f"Sec-WebSocket-Protocol: {', '.join(self._offered)}")
        if self._compression is not None:
            lines.append(f"Sec-WebSocket-Extensions: {offer(self._compression)}")
        if origin is not None:
            lines.append(f"Origin: {check_text(origin, 'origin')}")
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            if name.lower() in _OURS:
                raise ValueError(f"header {name!r} is part of the handshake and cannot be set")
            lines.append(f"{check_token(name, 'header name')}: {check_text(value, 'header value')}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def feed(self, data: bytes) -> bytes | None:
        """Take what has arrived; returns what came behind the response once that is complete.

        Raises:
            HandshakeFailedError: when it is no valid answer to the request (section 4.1).
        """
        self._size += len(data)
        behind = b""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            behind = data[upgrade.args[0] :]
            self._is_complete = True
        except httptools.HttpParserError as error:
            raise HandshakeFailedError(f"the server's answer is no HTTP: {error}") from None
        if not self._is_complete:
            if self._size > MAX_HEAD_SIZE:
                raise HandshakeFailedError("the server's answer is too long")
            return None
        self._check()
        self._parser = None  # the two refer to each other
        return behind

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header line from the parser."""
        self._lines.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """Learn that the head is complete: a refusal is one whatever its body says."""
        self._is_complete = True

    def _check(self) -> None:
        status = self._parser.get_status_code()
        if status != 101:
            raise HandshakeFailedError(
                f"the server answered with status {status}", status, self.headers
            )
        if not self._has("upgrade", "websocket") or not self._has("connection", "upgrade"):
            raise HandshakeFailedError("the server switched to something else than WebSocket")
        if self._lines.getall("sec-websocket-accept", []) != [self._accepted]:
            raise HandshakeFailedError("the server did not read the handshake: wrong accept key")
        self._agree_on_compression()
        chosen = self._lines.getall("sec-websocket-protocol", [])
        if len(chosen) > 1 or any(name not in self._offered for name in chosen):
            raise HandshakeFailedError("the server chose a subprotocol that was not offered")
        self.subprotocol = chosen[0] if chosen else None

    def _agree_on_compression(self) -> None:
        lines = self._lines.getall("sec-websocket-extensions", [])
        if lines and self._compression is None:
            raise HandshakeFailedError("the server uses an extension that was not offered")
        if self._compression is not None:
            try:
                self.deflate = accept([line.encode("latin-1") for line in lines], self._compression)
            except ValueError as error:
                raise HandshakeFailedError(str(error)) from None

    def _has(self, name: str, token: str) -> bool:
        return any(
            token == part.strip().lower()
            for line in self._lines.getall(name, [])
            for part in line.split(",")
        )
