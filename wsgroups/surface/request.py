"""What a handler gets: one HTTP request, and the way to turn it into a WebSocket."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy

from wsgroups.connection.deflate import Deflate, negotiate
from wsgroups.connection.handshake import encode_switch, requested_subprotocols
from wsgroups.connection.head import RequestHead
from wsgroups.connection.http import HttpPhase
from wsgroups.connection.wire import check_text
from wsgroups.enums import HandlerStatus
from wsgroups.errors import AlreadyAnsweredError, HTTPError, UpgradeRequiredError
from wsgroups.ids import sequence
from wsgroups.policy import Compression, GroupPolicy
from wsgroups.surface.instances import WebSocketHandler
from wsgroups.surface.session import Session
from wsgroups.surface.websocket import WebSocket, open_socket

if TYPE_CHECKING:
    from wsgroups.surface.endpoint import Endpoint

Cookies = Iterable[str] | Mapping[str, str] | SimpleCookie
Headers = Mapping[str, str] | Iterable[tuple[str, str]]

_OURS = frozenset(
    {
        "connection",
        "content-length",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "transfer-encoding",
        "upgrade",
    }
)


_NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})
_ANSWERED = "this request already has its answer; return HANDLED after send_upgrade()"


class Body(bytes):
    """A request's body: bytes, which `await` also gives, for handlers written that way."""

    def __await__(self) -> Generator[Any, None, bytes]:
        """Return itself without waiting: the body is complete before a handler is called."""
        yield from ()
        return self


class Request:
    """One HTTP request.

    Only in the loop's thread until it is answered; from then on it can be read anywhere.

    Attributes:
        path_params: the parameters of the route.
        websocket_upgrade: True for a valid WebSocket handshake.
    """

    __slots__ = (
        "_certificate", "_endpoint", "_head", "_id", "_peer", "_phase", "_uri", "path_params",
        "websocket_upgrade",
    )  # fmt: skip

    def __init__(
        self, head: RequestHead, phase: HttpPhase, endpoint: Endpoint, is_upgrade: bool
    ) -> None:
        self._head: RequestHead | bytes = head
        self._phase: HttpPhase | None = phase
        self._peer = b""
        self._certificate: dict[str, Any] | None = None
        self._endpoint = endpoint
        self._id = -1
        self._uri: str | None = head.target
        self.path_params: Mapping[str, Any] = _NO_PARAMETERS
        self.websocket_upgrade = is_upgrade

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri!r}>"

    # --- what was asked ---------------------------------------------------------------------

    def _parsed(self) -> RequestHead:
        head = self._head
        return RequestHead(head) if isinstance(head, bytes) else head

    @property
    def method(self) -> str:
        """The method, upper case."""
        head = self._head
        return "GET" if isinstance(head, bytes) else head.method  # nothing else is upgraded

    @property
    def uri(self) -> str:
        """The request target, path and query, as sent."""
        if self._uri is None:
            self._uri = self._parsed().target
        return self._uri

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        return unquote(self.uri.partition("?")[0])

    @property
    def scheme(self) -> str:
        """`http` or `https`, as the client used it where `trusted_proxies` say so."""
        return self._endpoint.scheme_of(self._sender(), self._parsed())

    @property
    def client(self) -> tuple[str, int] | None:
        """The client's address and port; None on a Unix socket.

        Behind proxies that `trusted_proxies` names it is whom they saw, with port 0 when they do
        not tell.
        """
        return self._endpoint.client_of(self._sender(), self._parsed())

    @property
    def peer_certificate(self) -> dict[str, Any] | None:
        """The certificate that the client has shown and that was verified, else None.

        Clients show one where `ssl_ca_certs` or the context asks for it. It is the dict of
        `ssl.SSLSocket.getpeercert`: `{"subject": ..., "subjectAltName": ..., ...}`.
        """
        return self._phase.connection.peer_certificate if self._phase else self._certificate

    def _sender(self) -> bytes:
        """The address of who is at the other end of the connection."""
        return self._phase.connection.peer if self._phase else self._peer

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """The subprotocols that the client offers, in its order."""
        return requested_subprotocols(self._parsed())

    def body(self) -> Body:
        """Return the whole body. `await request.body()` gives the same."""
        return Body(self._parsed().body)

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """All headers: names without regard to case, several values each (latin-1).

        The values of one name keep their order; names stand in the order of their first lines.
        """
        return CIMultiDictProxy(
            CIMultiDict(
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, values in self._parsed().headers.items()
                for value in values
            )
        )

    @property
    def query(self) -> MultiDictProxy[str]:
        """The query's parameters, percent-decoded; several values each."""
        query = self.uri.partition("?")[2]
        return MultiDictProxy(MultiDict(parse_qsl(query, keep_blank_values=True)))

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that came with the request; malformed ones are left out."""
        cookies: dict[str, str] = {}
        for header in self._parsed().get(b"cookie"):
            for part in header.decode("latin-1").split(";"):
                name, equals, value = part.strip().partition("=")
                if equals:
                    cookies.setdefault(name.strip(), value.strip().strip('"'))
        return cookies

    # --- the answer -------------------------------------------------------------------------

    def get_websocket_id(self) -> int:
        """Return the id that the socket has, or will have, when this request is upgraded."""
        if self._id < 0:
            self._id = sequence.next()
        return self._id

    def require_upgrade(self) -> None:
        """Go on only with a WebSocket handshake.

        Raises:
            UpgradeRequiredError: for any other request; it is answered with 426.
        """
        if not self.websocket_upgrade:
            raise UpgradeRequiredError

    def send_upgrade(
        self,
        group: str,
        cookies: Cookies | None = None,
        headers: Headers | None = None,
        session: Any = None,
        *,
        subprotocol: str | None = None,
        data: Any = None,
    ) -> WebSocket:
        """Answer with 101 and make the connection a socket of `group`.

        The socket can be used at once: what is sent queues behind the 101, in order. Return
        `HandlerStatus.HANDLED` afterwards.

        Args:
            group: names the handlers that get the socket's messages.
            cookies: `"name=value"` strings with attributes if wanted, a dict, or a SimpleCookie.
            headers: further headers of the 101.
            session: a Session, or any object; becomes `ws.session`.
            subprotocol: what to agree on; None for the group's first one that the client offers.
            data: becomes `ws.data`.

        Raises:
            UpgradeRequiredError: the request is no WebSocket handshake.
            AlreadyAnsweredError: the request has its answer.
            UnknownGroupError: with `Handle(strict_groups=True)`.
            OriginRefusedError: the group does not allow the request's origin.
            ValueError: CR, LF or NUL in a cookie or header, a header that is ours to send, or a
                session that has ended.
        """
        self.require_upgrade()
        phase, head = self._phase, self._parsed()
        if phase is None or phase.is_answered():
            raise AlreadyAnsweredError(_ANSWERED)
        ours = session if session is not None and isinstance(session, Session) else None
        if ours is not None and not ours.is_alive:
            raise ValueError("this session has ended; Session.find() gives None for such")
        endpoint = self._endpoint
        if endpoint.is_closing:
            raise HTTPError(503, "The server is shutting down.", {"Retry-After": "1"})
        target = endpoint.group_for(group, phase, head)
        subprotocol = _agree(subprotocol, target.policy.subprotocols, head)
        lines = _cookie_headers(cookies) + _checked_headers(headers)
        deflate = None
        if target.policy.compression:
            deflate = _compression(target.policy, head, lines)
        response = encode_switch(head.get(b"sec-websocket-key")[0], subprotocol, lines)
        id = self.get_websocket_id()
        connection = phase.connection
        socket = open_socket(connection, id)
        # Idle sockets are many: what can be had from the head again is not kept beside it.
        self._head, self._uri = head.raw, None
        self._certificate, self._peer = connection.peer_certificate, connection.peer
        self._phase = None
        connection.request = self
        connection.session = session
        if ours is not None:
            connection.touch = ours.touch
        connection.data = data
        connection.subprotocol = subprotocol
        if deflate is not None:
            connection.compress(deflate)
        phase.upgrade(response, target.core, id, socket)
        if ours is not None:
            ours.attach(socket)
        return socket

    def accept(
        self, handler: WebSocketHandler, group: str | None = None, **upgrade: Any
    ) -> HandlerStatus:
        """Upgrade into a socket whose events are the methods of an object of its own.

        Args:
            handler: a new object for each request.
            group: of the socket; by default the name of the object's class. It must have no
                functions registered.
            upgrade: what `send_upgrade` takes beside the group.

        Returns:
            HandlerStatus: `HANDLED`, for the handler of the request to return.

        Raises:
            TypeError: when the handler is no WebSocketHandler.
            ValueError: when it has a socket already.
            DuplicateHandlerError: when functions are registered for the group.
        """
        if not isinstance(handler, WebSocketHandler):
            raise TypeError(f"accept() takes a WebSocketHandler, not {type(handler).__name__}")
        if hasattr(handler, "socket"):
            raise ValueError("each socket needs a WebSocketHandler of its own")
        if self._phase is None:
            raise AlreadyAnsweredError(_ANSWERED)
        name = type(handler).__name__ if group is None else group
        self._endpoint.group_of_instances(name)
        connection = self._phase.connection
        handler.socket, handler.request = self.send_upgrade(name, **upgrade), self
        connection.handler = handler
        return HandlerStatus.HANDLED


def _compression(
    policy: GroupPolicy, head: RequestHead, lines: list[tuple[str, str]]
) -> Deflate | None:
    """Agree on compression with a client that offers it; adds the header that says how."""
    how = Compression.of(policy.compression)
    agreed = how and negotiate(head.get(b"sec-websocket-extensions"), how)
    if not agreed:
        return None
    lines.append(("Sec-WebSocket-Extensions", agreed[0]))
    return agreed[1]


def _agree(chosen: str | None, spoken: Iterable[str], head: RequestHead) -> str | None:
    """The subprotocol to answer with (RFC 6455 section 4.2.2): only one that was offered."""
    if chosen is None and not spoken:
        return None
    offered = requested_subprotocols(head)
    if chosen is not None:
        if chosen not in offered:
            raise ValueError(
                f"subprotocol {chosen!r} was not offered by the client; it offers "
                f"{', '.join(offered) or 'none'}"
            )
        return chosen
    return next((name for name in spoken if name in offered), None)


def _cookie_headers(cookies: Cookies | None) -> list[tuple[str, str]]:
    if cookies is None:
        return []
    if isinstance(cookies, str):
        raise TypeError("cookies is a list of 'name=value' strings, a dict or a SimpleCookie")
    if isinstance(cookies, SimpleCookie):
        lines: Iterable[str] = _baked(cookies)
    elif isinstance(cookies, Mapping):
        jar = SimpleCookie()
        try:
            for name, value in cookies.items():
                jar[name] = value
        except CookieError as error:
            raise ValueError(f"cookie {name!r} is malformed: {error}") from None
        lines = _baked(jar)
    else:
        lines = cookies
    return [("Set-Cookie", line) for line in lines]


def _baked(jar: SimpleCookie) -> list[str]:
    """The cookies of a jar, which would write a line end as digits that hide what was tried."""
    for name, morsel in jar.items():
        check_text(morsel.value, f"cookie {name}")
    return [morsel.OutputString() for morsel in jar.values()]


def _checked_headers(headers: Headers | None) -> list[tuple[str, str]]:
    if headers is None:
        return []
    items = list(headers.items() if isinstance(headers, Mapping) else headers)
    for name, _ in items:
        if name.lower() in _OURS:
            raise ValueError(f"header {name!r} is part of the handshake and cannot be set")
    return items
