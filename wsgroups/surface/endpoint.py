"""Between a server's connections and a Handle: each request to its route, each result to bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from wsgroups.connection.address import format_address
from wsgroups.connection.forwarding import Proxies
from wsgroups.connection.handshake import check_upgrade, is_same_origin
from wsgroups.connection.head import RequestHead
from wsgroups.connection.http import HttpPhase
from wsgroups.enums import HandlerStatus
from wsgroups.errors import HTTPError, OriginRefusedError, too_many_of_one_address
from wsgroups.surface.group import Group
from wsgroups.surface.request import Request
from wsgroups.surface.response import Response, as_response
from wsgroups.surface.routing import Route

if TYPE_CHECKING:
    from wsgroups.surface.handle import Handle

logger = logging.getLogger("wsgroups")

_HANDLED = HandlerStatus.HANDLED  # an Enum class takes its time to look up a member


class Endpoint:
    """One listening port of a Handle.

    Attributes:
        scheme: `http` or `https`.
        port: the port it listens on; None for a Unix socket.
        is_closing: True once the server drains.
        health_path: where the server's health is told; None: nowhere.
        health: says whether all is well, and what there is to tell.
    """

    __slots__ = (
        "_app",
        "_groups",
        "_proxies",
        "_router",
        "health",
        "health_path",
        "is_closing",
        "port",
        "scheme",
    )

    def __init__(
        self, app: Handle, scheme: str, port: int | None, proxies: Proxies | None = None
    ) -> None:
        self._app = app
        self._router = app.router
        self._groups = app.groups
        self.scheme = scheme
        self.port = port
        self.is_closing = False
        self.health_path: str | None = None
        self.health: Callable[[], tuple[bool, dict[str, Any]]] | None = None
        self._proxies = proxies

    # --- who asks ---------------------------------------------------------------------------

    def client_of(self, peer: bytes, head: RequestHead) -> tuple[str, int] | None:
        """Return the client's address and port, behind proxies that are trusted."""
        return self._proxies.client(peer, head) if self._proxies else format_address(peer)

    def scheme_of(self, peer: bytes, head: RequestHead) -> str:
        """Return the scheme that the client used."""
        return self._proxies.scheme(peer, head, self.scheme) if self._proxies else self.scheme

    def _count_client(self, phase: HttpPhase, head: RequestHead) -> None:
        """Count an upgrade for the client behind a proxy."""
        connection, proxies = phase.connection, self._proxies
        if proxies is None or connection.server is None or not proxies.trusts(connection.peer):
            return
        key = proxies.client_key(connection.peer, head)
        if not connection.server.admission.count_address(connection, key):
            raise too_many_of_one_address()

    # --- requests ---------------------------------------------------------------------------

    def handle(self, phase: HttpPhase, head: RequestHead) -> None:
        """Answer a complete request, now or later.

        Raises:
            HTTPError: for a request that no handler gets to see; the connection then closes.
        """
        is_upgrade = check_upgrade(head) is not None
        if is_upgrade:
            if self._proxies is not None:
                self._count_client(phase, head)
            if head.get(b"origin"):
                self._check_origin(phase, head, self._app.all_origins())
        request = Request(head, phase, self, is_upgrade)
        route = self._route(request)
        if isinstance(route, Response):
            self._respond(phase, head, route)
        elif route.is_async:
            self._app.spawn(self._run_async(route, request, phase, head))
        else:
            try:
                result = _call(route, request)
            except BaseException as error:
                self._failed(phase, head, request, error)
                if not isinstance(error, Exception):
                    raise
            else:
                self._finish(phase, head, request, result)

    def group_for(self, name: str, phase: HttpPhase, head: RequestHead) -> Group:
        """Return the group that a request is upgraded into, if it may be.

        Raises:
            UnknownGroupError: with strict groups.
            OriginRefusedError: when the group does not allow the request's origin.
        """
        group = self._find_group(name)
        if head.get(b"origin"):
            allowed = group.policy.origins
            self._check_origin(phase, head, self._app.origins if allowed is None else allowed)
        return group

    def _find_group(self, name: str) -> Group:
        for port in (self.port, None):
            group = self._groups.get((port, name))
            if group is not None and group.is_known:
                return group
        return self._app.group_without_handlers(name)

    def group_of_instances(self, name: str) -> None:
        """Prepare a group for sockets that have a WebSocketHandler.

        Raises:
            DuplicateHandlerError: when functions are registered for it.
        """
        self._app.group_of_instances(name, self.port)

    # --- routes -----------------------------------------------------------------------------

    def _tell_health(self, request: Request) -> Response:
        assert self.health is not None
        if request.method not in ("GET", "HEAD"):
            return Response(status=405, headers={"Allow": "GET, HEAD"})
        is_well, told = self.health()
        return Response(told, 200 if is_well else 503, headers={"Cache-Control": "no-store"})

    def _route(self, request: Request) -> Route | Response:
        """The route of a request, or what to say when there is none."""
        path = request.uri.partition("?")[0]
        if self.health is not None and path == self.health_path:
            return self._tell_health(request)
        route, parameters, others = self._router.find(request.method, path, self.port)
        if route is None:
            if not others:
                return Response(status=404)
            return Response(status=405, headers={"Allow": ", ".join(sorted(others))})
        if parameters:
            request.path_params = parameters
        return route

    async def _run_async(
        self, route: Route, request: Request, phase: HttpPhase, head: RequestHead
    ) -> None:
        try:
            result = await _call(route, request)
        except BaseException as error:
            self._failed(phase, head, request, error)
            if not isinstance(error, Exception):
                raise
        else:
            self._finish(phase, head, request, result)

    # --- answers ----------------------------------------------------------------------------

    def _finish(self, phase: HttpPhase, head: RequestHead, request: Request, result: Any) -> None:
        """Turn what a handler returned into the answer."""
        if result is _HANDLED or (phase.is_answered() and result is None):
            if phase.is_answered():
                return
            logger.error(
                "%r was called HANDLED, but has no answer; only send_upgrade() gives one", request
            )
            result = Response(status=500)
        elif phase.is_answered():
            logger.error(
                "%r has its answer; the handler's %r is ignored; "
                "return HANDLED after send_upgrade()",
                request,
                result,
            )
            return
        try:
            self._respond(phase, head, as_response(result))
        except (TypeError, ValueError) as error:
            self._failed(phase, head, request, error)

    def _failed(
        self, phase: HttpPhase, head: RequestHead, request: Request, error: BaseException
    ) -> None:
        """Answer for a handler that raised; the client learns nothing of the cause."""
        connection = phase.connection
        if phase.is_answered():
            connection.handler_failed(error)
        elif isinstance(error, HTTPError):
            self._respond(
                phase, head, Response(error.detail or None, error.status, headers=error.headers)
            )
        elif isinstance(error, asyncio.CancelledError):
            logger.warning("handler of %r was cancelled", request)
            self._respond(phase, head, Response(status=503))
        else:
            logger.error("handler of %r failed", request, exc_info=error)
            self._respond(phase, head, Response(status=500))

    def _respond(self, phase: HttpPhase, head: RequestHead, response: Response) -> None:
        # A handshake that was not accepted ends the connection: its client will not go on in HTTP.
        is_handshake = head.get(b"upgrade") or response.status == 426
        keep_alive = head.keep_alive and not self.is_closing and not is_handshake
        phase.respond(
            response.encode(keep_alive=keep_alive, with_body=head.method != "HEAD"), keep_alive
        )

    # --- origins ----------------------------------------------------------------------------

    def _check_origin(
        self, phase: HttpPhase, head: RequestHead, allowed: Collection[str] | None
    ) -> None:
        """Refuse pages of other origins (RFC 6455 section 10.2); clients without one may pass."""
        origins = head.get(b"origin")
        if not origins or (allowed is not None and "*" in allowed):
            return
        origin = origins[0].decode("latin-1")
        if len(origins) == 1 and origin != "null":
            host, scheme = head.get(b"host")[0].decode("latin-1"), self.scheme
            if self._proxies is not None:
                peer = phase.connection.peer
                host = self._proxies.host(peer, head, host)
                scheme = self._proxies.scheme(peer, head, scheme)
            if is_same_origin(origin, scheme, host) or (allowed and origin in allowed):
                return
        logger.warning(
            "origin %a was refused; to allow it, write Handle(origins=[%a]) or name it in the "
            "policy of a group; behind a proxy see trusted_proxies",
            origin,
            origin,
        )
        raise OriginRefusedError(origin)


def _call(route: Route, request: Request) -> Any:
    if request.path_params:
        return route.function(request, **request.path_params)
    return route.function(request)
