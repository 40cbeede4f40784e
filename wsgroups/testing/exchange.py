"""One HTTP request and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import httptools
import orjson
from multidict import CIMultiDict, CIMultiDictProxy

from wsgroups.client.opening import Address
from wsgroups.connection.wire import check_text, check_token


@dataclass(frozen=True)
class Reply:
    """An HTTP response.

    Attributes:
        status: its code.
        reason: the phrase behind the code.
        headers: without regard to case.
        body: as it came.
    """

    status: int
    reason: str
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the body decoded from JSON."""
        return orjson.loads(self.body)


class Exchange(asyncio.BufferedProtocol):
    """Sends a request as soon as it is connected.

    Attributes:
        reply: resolves to the `Reply`.
    """

    def __init__(
        self,
        method: str,
        address: Address,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        json: Any,
    ) -> None:
        lines = [f"{check_token(method, 'method')} {address.target} HTTP/1.1"]
        lines += [f"Host: {address.authority}", "Connection: close"]
        if json is not None:
            body = orjson.dumps(json)
            lines.append("Content-Type: application/json")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        for name, value in headers:
            lines.append(f"{check_token(name, 'header name')}: {check_text(value, 'header value')}")
        self._request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        # A view: asyncio's TLS slices what it is given, and the slice of a bytearray is a copy.
        self._buffer = memoryview(bytearray(65536))
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: CIMultiDict[str] = CIMultiDict()
        self._reason = b""
        self._body = b""
        self._has_head = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        cast(asyncio.Transport, transport).write(self._request)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where bytes are to be received to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take a part of the answer."""
        try:
            self._parser.feed_data(bytes(self._buffer[:nbytes]))
        except httptools.HttpParserUpgrade:
            self._finish()  # a 101: what follows is no HTTP
        except httptools.HttpParserError as error:
            if not self.reply.done():
                self.reply.set_exception(AssertionError(f"the answer is no HTTP: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        """Be content with what has come, if that is an answer."""
        if self._has_head:
            self._finish()
        elif not self.reply.done():
            self.reply.set_exception(AssertionError("the server closed without an answer"))
        self._parser = None  # the two refer to each other

    # --- the parser's side ------------------------------------------------------------------

    def on_status(self, reason: bytes) -> None:
        """Take the phrase behind the code."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header line."""
        self._headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """Know from here on that there is an answer."""
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Have all."""
        self._finish()

    def _finish(self) -> None:
        if not self.reply.done():
            status = self._parser.get_status_code()
            headers = CIMultiDictProxy(self._headers)
            self.reply.set_result(
                Reply(status, self._reason.decode("latin-1"), headers, self._body)
            )
