"""Sessions: what belongs to one visitor, over several sockets and requests."""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from wsgroups.closing import CloseCode
from wsgroups.surface.websocket import SocketSet, WebSocket

if TYPE_CHECKING:
    from wsgroups.surface.request import Request

logger = logging.getLogger("wsgroups")

COOKIE = "wsgroups_session"

_sessions: dict[str, Session] = {}
_sweep_at = 64
_tasks: set[asyncio.Task[object]] = set()  # a loop keeps no task of its own

Callback = TypeVar("Callback", bound=Callable[..., object])


class _Current:
    """`Session.current`: read on the class, as on an instance."""

    def __get__(self, instance: Session | None, owner: type[Session]) -> Session | None:
        socket = WebSocket.current
        session = None if socket is None else socket.session
        return session if isinstance(session, Session) else None


class Session:
    """What one visitor has: values, the live sockets, and an end.

    Give it to `Request.send_upgrade(session=...)`, as often as the visitor opens a socket. Every
    message on one of them keeps it alive; pings and pongs do not. From any thread, but it expires
    by itself only when it was made, or a socket was attached, in a running loop.

    Args:
        timeout: seconds, or a timedelta, without a message until it expires; None: never.

    Attributes:
        current: the session of the socket whose event is being handled, or None.
        key: a secret that nobody guesses, for a cookie; see `cookie` and `find`.
        timeout: seconds, or None.
        sockets: the live sockets, as a SocketSet.
    """

    current: ClassVar[Any] = _Current()

    def __init__(self, timeout: float | timedelta | None = 20 * 60) -> None:
        if isinstance(timeout, timedelta):
            timeout = timeout.total_seconds()
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be above 0, or None for never, not {timeout!r}")
        self.key = secrets.token_urlsafe(32)
        self.timeout = timeout
        self.sockets = SocketSet()
        self._began = self._seen = time.monotonic()
        self._created = datetime.now(UTC)
        self._values: dict[Any, Any] = {}
        self._callbacks: list[Callable[..., object]] = []
        self._order: dict[WebSocket, None] = {}  # live ones, the last active at the end
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # of the timer
        self._is_destroyed = False
        _remember(self)
        self._watch()

    def __repr__(self) -> str:
        state = "destroyed" if self._is_destroyed else f"of {len(self.sockets)} sockets"
        return f"<Session {state}>"  # without the key: logs are read by many

    # --- values -----------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        """Return a value; KeyError when there is none."""
        return self._values[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        """Keep a value until the session ends."""
        self._values[key] = value

    def __delitem__(self, key: Any) -> None:
        """Forget a value; KeyError when there is none."""
        del self._values[key]

    def __contains__(self, key: Any) -> bool:
        """True when there is such a value."""
        return key in self._values

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the keys."""
        return iter(list(self._values))

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a value, or `default` when there is none."""
        return self._values.get(key, default)

    # --- state ------------------------------------------------------------------------------

    @property
    def created(self) -> datetime:
        """When it was made, in UTC."""
        return self._created

    @property
    def last_active(self) -> datetime:
        """When the last message came, or a socket was attached, in UTC."""
        return self._created + timedelta(seconds=self._seen - self._began)

    @property
    def is_alive(self) -> bool:
        """True until it has expired or was destroyed."""
        return not self._is_destroyed and self._left() > 0

    @property
    def active_websocket(self) -> WebSocket | None:
        """The live socket that was active last, or None."""
        for socket in reversed(list(self._order)):
            if not socket.is_dead():
                return socket
        return None

    def _left(self) -> float:
        """Seconds to the end."""
        if self.timeout is None:
            return float("inf")
        return self._seen + self.timeout - time.monotonic()

    # --- activity ---------------------------------------------------------------------------

    def touch(self, socket: WebSocket | None = None) -> None:
        """Begin the timeout anew; `socket` becomes the active one."""
        self._seen = time.monotonic()
        if socket is not None:
            self._order.pop(socket, None)
            self._order[socket] = None

    def attach(self, socket: WebSocket) -> None:
        """Take in a socket that was upgraded with this session."""
        for dead in [each for each in self._order if each.is_dead()]:
            self._order.pop(dead, None)
        self.sockets.add(socket)
        self.touch(socket)
        self._watch()

    # --- the end ----------------------------------------------------------------------------

    def on_destroy(self, callback: Callback) -> Callback:
        """Have `callback(session)`, or `callback()`, called once when it expires or is destroyed.

        At once when that is over already. An `async def` function runs as a task of the loop that
        the session ends in. Returns the callback, so that this can be a decorator.
        """
        if self._is_destroyed:
            self._call(callback)
        else:
            self._callbacks.append(callback)
        return callback

    def destroy(self) -> None:
        """End it: close its sockets with 1001, call those who want to know, forget it."""
        if self._is_destroyed:
            return
        self._is_destroyed = True
        _sessions.pop(self.key, None)
        self.sockets.close(CloseCode.GOING_AWAY, "Session is expired.")
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._call(callback)
        self._order.clear()

    def _call(self, callback: Callable[..., object]) -> None:
        """Call one of those who want to know; what it raises goes to the log."""
        try:
            result = callback(self) if _takes_argument(callback) else callback()
            if inspect.iscoroutine(result):
                _spawn(result)
        except Exception:
            logger.exception("a callback of a session's end failed")

    def _watch(self) -> None:
        """See to it that the running loop looks when the time may be over."""
        if self.timeout is None or self._is_destroyed:
            return
        if self._timer is not None and self._loop is not None and not self._loop.is_closed():
            return
        try:
            loop = self._loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._timer = loop.call_later(max(0.0, self._left()), self._look)

    def _look(self) -> None:
        self._timer = None
        if self._left() <= 0:
            self.destroy()
        else:
            self._watch()

    # --- visitors ---------------------------------------------------------------------------

    def cookie(self, name: str = COOKIE, *, secure: bool = False, path: str = "/") -> str:
        """Return the cookie by which `find` knows the visitor's next request.

        Scripts cannot read it, and other sites cannot have it sent along (RFC 6265bis).

        Args:
            name: of the cookie.
            secure: only over HTTPS; set it where there is HTTPS.
            path: where it is sent to.
        """
        secured = "; Secure" if secure else ""
        return f"{name}={self.key}; Path={path}; HttpOnly; SameSite=Lax{secured}"

    @staticmethod
    def find(request: Request, name: str = COOKIE) -> Session | None:
        """Return the live session whose cookie came with a request, or None.

        It is touched: a request is activity.
        """
        session = _sessions.get(request.cookies.get(name, ""))
        if session is None or not session.is_alive:
            return None
        session.touch()
        return session


def _takes_argument(callback: Callable[..., object]) -> bool:
    try:
        inspect.signature(callback).bind(None)
    except TypeError:
        return False
    except ValueError:  # a built-in without a signature
        return True
    return True


def _spawn(coroutine: Coroutine[Any, Any, object]) -> None:
    try:
        task = asyncio.get_running_loop().create_task(coroutine)
    except RuntimeError:
        coroutine.close()
        raise RuntimeError(
            "the session ended where no loop runs, which an `async def` callback needs: "
            "destroy it in the loop's thread, or give on_destroy a plain function"
        ) from None
    _tasks.add(task)
    task.add_done_callback(_finished)


def _finished(task: asyncio.Task[object]) -> None:
    _tasks.discard(task)
    if not task.cancelled() and task.exception() is not None:
        logger.error("a callback of a session's end failed", exc_info=task.exception())


def _remember(session: Session) -> None:
    """Keep it for `find`. Those that expired where no loop looked are let go of now and then."""
    global _sweep_at
    _sessions[session.key] = session
    if len(_sessions) >= _sweep_at:
        for each in list(_sessions.values()):
            if each._left() <= 0:
                each.destroy()
        _sweep_at = 2 * len(_sessions) + 64
