"""What a GET handler returns, as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from wsgroups.connection.wire import PHRASES, check_text, check_token, encode_response

# They say where the response ends: with a second one, peers do not agree on that.
_OURS = frozenset({"content-length", "transfer-encoding"})

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class Response:
    """An HTTP response.

    Args:
        body: str, bytes, or a dict or list, which goes as JSON. With none, an error status says
            its reason in plain text.
        status: 200 to 599.
        reason: the reason phrase; None for the registered one.
        headers: names and values.
        content_type: None for what fits the body.

    Raises:
        ValueError: for a status out of range, CR, LF or NUL in a header or the reason, or a
            `Content-Length` or `Transfer-Encoding` of one's own.
        TypeError: for a body of another type.
    """

    __slots__ = ("body", "headers", "reason", "status")

    def __init__(
        self,
        body: str | bytes | dict[Any, Any] | list[Any] | None = None,
        status: int = 200,
        reason: str | None = None,
        headers: Headers | None = None,
        content_type: str | None = None,
    ) -> None:
        if not 200 <= status <= 599:
            raise ValueError(f"status must be 200 to 599, not {status}; 101 is send_upgrade's")
        if reason is not None:
            check_text(reason, "reason")
        items = headers.items() if isinstance(headers, Mapping) else headers or ()
        self.headers = [
            (check_token(name, "header name"), check_text(value, "header value"))
            for name, value in items
        ]
        for name, _ in self.headers:
            if name.lower() in _OURS:
                raise ValueError(f"header {name!r} is made from the response and cannot be set")
        self.status = status
        self.reason = reason
        self.body, guessed = self._encode(body)
        if content_type is not None:
            guessed = check_text(content_type, "content_type")
        if self.body and not any(name.lower() == "content-type" for name, _ in self.headers):
            self.headers.append(("Content-Type", guessed))

    def _encode(self, body: Any) -> tuple[bytes, str]:
        """The body as bytes, and the content type that fits it."""
        if body is None:
            text = (self.reason or PHRASES.get(self.status, "")) if self.status >= 400 else ""
            return text.encode(), "text/plain; charset=utf-8"
        if isinstance(body, str):
            return body.encode(), "text/plain; charset=utf-8"
        if isinstance(body, bytes | bytearray | memoryview):
            return bytes(body), "application/octet-stream"
        if isinstance(body, dict | list):
            return orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS), "application/json"
        raise TypeError(f"a response body is str, bytes, dict or list, not {type(body).__name__}")

    def encode(self, *, keep_alive: bool, with_body: bool = True) -> bytes:
        """Return the response as it goes on the wire."""
        return encode_response(
            self.status,
            self.headers,
            self.body,
            reason=self.reason,
            keep_alive=keep_alive,
            with_body=with_body,
        )


def as_response(value: object) -> Response:
    """Return the response for what a handler returned (SPEC: return values).

    Raises:
        TypeError: for a value that is none of them.
    """
    if isinstance(value, Response):
        return value
    if value is None:
        return Response(status=404)
    if isinstance(value, bool):
        raise TypeError("a handler cannot return a bool; return a status or a Response")
    if isinstance(value, int):
        return Response(status=value)
    if isinstance(value, str | bytes | dict | list):
        return Response(value)
    raise TypeError(
        f"a handler cannot return {type(value).__name__}; return a Response, str, bytes, int, "
        "dict, list, None or HandlerStatus.HANDLED"
    )
