"""The error tree. What the peer is told is in the exception: `.status` or `.close_code`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches


class WSGroupsError(Exception):
    """Base of the exceptions of this package; wrong arguments are TypeError and ValueError."""


class HTTPError(WSGroupsError):
    """Raised in a GET handler to answer with an error status instead of a return value.

    Args:
        status: the HTTP status code to answer with.
        detail: plain text for the body; empty means the status phrase.
        headers: further response headers.
    """

    def __init__(
        self, status: int, detail: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail or f"HTTP status {status}")
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


class UpgradeRequiredError(HTTPError):
    """The route answers WebSocket upgrades only: 426 (RFC 9110 section 15.5.22)."""

    def __init__(self, detail: str = "This address speaks WebSocket only.") -> None:
        super().__init__(426, detail, {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"})


class OriginRefusedError(HTTPError):
    """The page's origin may not open sockets here: 403 (RFC 6455 section 10.2)."""

    def __init__(self, origin: str) -> None:
        super().__init__(403, "This origin may not connect.")
        self.origin = origin


class AlreadyAnsweredError(WSGroupsError):
    """A second answer was given to one request."""


class UnknownGroupError(WSGroupsError, LookupError):
    """A group name that no handler is registered for, with `Handle(strict_groups=True)`."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no group {name!r} is registered{did_you_mean(name, known)}")
        self.name = name


class DuplicateHandlerError(WSGroupsError):
    """Two handlers were registered for the same event of one group, or for one route."""


class HandlerSignatureError(WSGroupsError, TypeError):
    """A function cannot be called the way its decorator promises to call it."""


class SocketGoneError(WSGroupsError):
    """What was awaited cannot happen any more: the socket has closed.

    `close_code` is the code it closed with.
    """

    def __init__(self, message: str, close_code: int = 1006) -> None:
        super().__init__(message)
        self.close_code = close_code


class BusUnreachableError(WSGroupsError, ConnectionError):
    """There is no way to the workers: no server keeps the bus, or it has ended meanwhile."""


class HandshakeFailedError(WSGroupsError):
    """A client's handshake was refused or misunderstood.

    Attributes:
        status: the HTTP status of the answer; None when there was no answer that has one.
        headers: of the answer, without regard to case.
    """

    def __init__(
        self, message: str, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers: Mapping[str, str] = headers if headers is not None else {}

    @property
    def may_pass(self) -> bool:
        """True when another attempt may succeed: the server is overloaded or restarting."""
        return self.status is None or self.status >= 500 or self.status in (408, 425, 429)


def too_many_of_one_address() -> HTTPError:
    """Return the refusal for an address that has as many connections as it may have."""
    return HTTPError(503, "There are too many connections from this address.", {"Retry-After": "1"})


class TargetError(WSGroupsError):
    """The `module:attribute` given on the command line does not lead to a `Handle`."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'chat'?` for a near miss, otherwise an empty string."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
