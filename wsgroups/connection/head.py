"""A request head: parsed by llhttp, then held to the rules that are ours to enforce.

References: RFC 9110 (semantics), RFC 9112 (HTTP/1.1).
"""

from __future__ import annotations

import re
from functools import lru_cache

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from wsgroups.errors import HTTPError

METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
)

_NOTHING: list[bytes] = []
_COMMA = ord(",")  # a byte of bytes is an int
_VERSION = re.compile(rb"HTTP/(\d)\.(\d)\Z")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~%!$&'()*+;=-]+)(?::\d{0,5})?\Z")
_LENGTH = re.compile(rb"(?:0|[1-9]\d{0,17})\Z")
_ABSOLUTE = re.compile(rb"https?://([^/?]+)(.*)\Z", re.IGNORECASE)


class RequestHead:
    """What a request says before its body.

    Attributes:
        method: upper case, as sent.
        target: the request target in origin form, as sent: path and query.
        version: 10 or 11.
        raw: the head as it came.
        headers: the values of each name, names in lower case, all bytes, in order.
        connection: the members of the Connection header, in lower case.
        content_length: bytes of body to come; None when it is chunked.
        keep_alive: the connection may be used again.
        body_size: bytes of the body that are there.
        is_complete: the end of a chunked body was seen.
    """

    __slots__ = (
        "_body", "_in_head", "_parser", "body_size", "connection", "content_length", "headers",
        "is_complete", "keep_alive", "method", "raw", "target", "version",
    )  # fmt: skip

    # The parser asks for each of these, and to have no answer would cost it an exception.
    on_message_begin = on_url = on_status = on_headers_complete = None
    on_chunk_header = on_chunk_complete = None

    def __init__(self, raw: bytes) -> None:
        """Parse a whole head, from the request line to the empty line.

        Raises:
            HTTPError: with the status that answers what is wrong.
        """
        method, target, version = _request_line(raw)
        self.raw = raw
        self.headers: dict[bytes, list[bytes]] = {}
        self.version = version
        self.method = method
        self._body: list[bytes] = []
        self._in_head = True
        self.body_size = 0
        self.is_complete = False
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self.feed(raw)
        self._in_head = False
        # Not the parser's should_keep_alive: it has forgotten a request that is complete.
        self.connection = self.tokens(b"connection")
        self.keep_alive = version == 11 and b"close" not in self.connection
        self.target = _origin_form(target, self._host())
        self.content_length = self._body_length()
        if self.content_length != 0 and self.is_complete:
            # The parser takes a request that could upgrade for complete, whatever body follows.
            self.is_complete = False
            if self.content_length is None:
                self._parser = HttpRequestParser(self)
                self._parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        if self.content_length is not None:
            self._parser = None  # the two refer to each other

    def feed(self, data: bytes) -> None:
        """Give the parser more: the head, then a chunked body.

        Raises:
            HTTPError: with status 400.
        """
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            pass
        except HttpParserError:
            if self.is_complete:
                return  # what comes behind a chunked body is not read, however it arrives
            raise HTTPError(400, "The request is malformed.") from None

    @property
    def body(self) -> bytes:
        """The body as far as it is there."""
        return b"".join(self._body)

    def on_body(self, data: bytes) -> None:
        """Take a part of the body; ignored behind its end."""
        if not self.is_complete:
            self._body.append(data)
            self.body_size += len(data)

    def on_message_complete(self) -> None:
        """Called by the parser at the end of the request."""
        self.is_complete = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header line, and for trailers, which are ignored."""
        if self._in_head:
            name = name.lower()
            value = value.strip()  # of spaces and tabs: other white space was refused before
            self.headers.setdefault(name, []).append(value)

    def get(self, name: bytes) -> list[bytes]:
        """Return all values of the header `name`, given in lower case."""
        return self.headers.get(name, _NOTHING)

    def tokens(self, name: bytes) -> list[bytes]:
        """Return the members of a comma-separated header over all its lines, in lower case."""
        values = self.headers.get(name, _NOTHING)
        if len(values) == 1:
            value = values[0]
            if _COMMA not in value:
                return [value.lower()]
        return [token.strip(b" \t").lower() for value in values for token in value.split(b",")]

    def _host(self) -> bytes:
        """Exactly one well-formed Host (RFC 9112 section 3.2)."""
        hosts = self.get(b"host")
        if not hosts and self.version == 10:
            return b""
        if len(hosts) != 1 or not _is_host(hosts[0]):
            raise HTTPError(400, "The request needs exactly one valid Host header.")
        return hosts[0]

    def _body_length(self) -> int | None:
        """How long the body is (RFC 9112 section 6.3); whatever is ambiguous is refused."""
        lengths = self.get(b"content-length")
        encodings = self.get(b"transfer-encoding")
        if encodings:
            if lengths or self.version == 10 or [e.lower() for e in encodings] != [b"chunked"]:
                raise HTTPError(400, "The request's body is framed in an ambiguous way.")
            return None
        if not lengths:
            return 0
        if len(lengths) > 1 or not _LENGTH.match(lengths[0]):
            raise HTTPError(400, "The request's Content-Length is malformed.")
        return int(lengths[0])


@lru_cache(maxsize=64)  # most requests name the same host
def _is_host(host: bytes) -> bool:
    return _HOST.match(host) is not None


def _request_line(raw: bytes) -> tuple[str, bytes, int]:
    line = raw.partition(b"\r\n")[0]
    parts = line.split(b" ")
    if len(parts) != 3:
        raise HTTPError(400, "The request line is malformed.")
    method, target, protocol = parts
    if protocol == b"HTTP/1.1":
        version = 11
    elif protocol == b"HTTP/1.0":
        version = 10
    elif _VERSION.match(protocol):
        raise HTTPError(505, "This server speaks HTTP/1.1.")
    else:
        raise HTTPError(400, "The request line is malformed.")
    if method == b"GET":
        return "GET", target, version
    if not _TOKEN.match(method):
        raise HTTPError(400, "The request's method is malformed.")
    name = method.decode("ascii")
    if name not in METHODS or name == "CONNECT":
        raise HTTPError(405, "This method is not supported.", {"Allow": "GET"})
    return name, target, version


def _origin_form(target: bytes, host: bytes) -> str:
    """The target as a path and query (RFC 9112 section 3.2)."""
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.match(target)
        if absolute is None or absolute[1].lower() != host.lower():
            raise HTTPError(400, "The request target must be a path.")
        target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    # No path has a NUL: it would end names elsewhere. To `in`, bytes could be a number first.
    if target.partition(b"?")[0].find(b"%00") >= 0:
        raise HTTPError(400, "The request target has a NUL in it.")
    return target.decode("ascii")
