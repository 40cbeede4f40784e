"""One server inside a running loop: start, serve, drain."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from wsgroups.closing import CloseCode, close_payload
from wsgroups.connection.admission import Admission
from wsgroups.connection.connection import Connection
from wsgroups.connection.forwarding import Proxies
from wsgroups.connection.head import RequestHead
from wsgroups.connection.http import HttpLimits, HttpPhase
from wsgroups.connection.stream import Driver, limit_write_buffers
from wsgroups.drivers.choice import acquire_driver, release_driver
from wsgroups.errors import HTTPError
from wsgroups.policy import ServerConfig, check_options
from wsgroups.server.certificates import make_context
from wsgroups.server.listening import Listening, describe, is_tcp, open_sockets

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]

logger = logging.getLogger("wsgroups")

_CONNECTING = 2.0  # seconds from accept to the end of a request, of those who are not slow
_SPARE_DESCRIPTORS = 128  # for the application's own files and sockets
_MANY_CONNECTIONS = 0xFFFFFFFF  # where the system does not say how many there may be
_SOME_MEMORY = 4 << 30  # bytes; where it does not say how much there is


class Endpoint(Protocol):
    """What answers the requests that come to one port."""

    is_closing: bool
    health_path: str | None
    health: Callable[[], tuple[bool, dict[str, Any]]] | None

    def handle(self, phase: HttpPhase, head: RequestHead) -> None:
        """Answer a request, now or later."""


class Application(Protocol):
    """What a server serves."""

    def endpoint(self, scheme: str, port: int | None, proxies: Proxies | None) -> Endpoint:
        """Return what answers the requests that come to one port."""

    async def settle(self, timeout: float, hurry: asyncio.Event) -> None:
        """Wait for the handlers that still run, in a hurry only until they are cancelled."""


class Server:
    """Serves an application in the running loop, asyncio's or uvloop's.

    An asynchronous context manager: leaving it stops accepting, closes every socket with 1001, or
    with 1012 when it is to `restart`, and waits for their disconnect handlers, for `drain_timeout`
    seconds at most.

    Attributes:
        config: the options in force.
        admission: who is connected; not for applications.
        service: what is known of the service that this server is a part of; not for applications.
    """

    def __init__(self, app: Application, config: ServerConfig) -> None:
        self.config = config
        self._app = app
        self._listening: Listening | None = None
        self._endpoints: list[Endpoint] = []
        self._host, self._port = config.uds or config.host, 0 if config.uds else config.port
        self._is_unix = config.uds is not None
        self._listeners: list[Callable[[], None]] = []  # what stops each
        self._driver: Driver | None = None
        self._is_retired = False
        self.service: dict[str, Any] = {}
        self._hurry = asyncio.Event()
        self._closed = asyncio.Event()
        self._tls = _context(config)
        self._proxies: Proxies | None = None
        if config.trusted_proxies:
            self._proxies = Proxies(config.trusted_proxies, config.forwarded_header)
        self._limits = HttpLimits(
            max_header_line=config.max_header_line,
            max_head_size=config.max_head_size,
            max_body_size=config.max_body_size,
            max_headers=config.max_headers,
            handshake_timeout=config.handshake_timeout,
            keep_alive_timeout=config.keep_alive_timeout,
            proxies=self._proxies if config.proxy_protocol else None,
        )
        self.admission = Admission(
            self,
            max_connections=config.max_connections,
            max_handshakes=config.max_handshakes_in_progress,
            max_per_address=config.max_connections_per_ip,
            possible=_possible_connections(),
            proxies=self._proxies,
        )

    # --- where it listens -------------------------------------------------------------------

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets."""
        return () if self._listening is None else tuple(self._listening.sockets)

    @property
    def port(self) -> int:
        """The port it listens on; 0 for a Unix socket. Still known after it has closed."""
        return self._port

    @property
    def host(self) -> str:
        """The address it listens on, the first of several, or the path of its Unix socket."""
        return self._host

    @property
    def is_unix(self) -> bool:
        """True when `host` is the path of a Unix socket; `@name` for one without a file."""
        return self._is_unix

    @property
    def scheme(self) -> str:
        """`http`, or `https` when it serves TLS."""
        return "http" if self._tls is None else "https"

    @property
    def url(self) -> str:
        """Where a browser finds it: `http://127.0.0.1:8080`, with TLS `https://...`."""
        if self._is_unix:
            return f"{self.scheme}+unix://{self.host}"
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        host = host.replace("%", "%25")  # RFC 6874 section 2
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The same for WebSocket clients: `ws://127.0.0.1:8080`, with TLS `wss://...`."""
        return "ws" + self.url.removeprefix("http")

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Say whether all is well, and what `health_path` tells."""
        told = {"status": "ok", "connections": self.admission.connections, **self.service}
        if self._driver is None or self._is_retired:
            told["status"] = "stopping"
        return told["status"] in ("ok", "degraded"), told

    # --- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start listening."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drain and stop."""
        await self.close()

    async def start(self) -> None:
        """Begin to listen and serve.

        Raises:
            OSError: when the address cannot be had.
            ValueError: when `uds_owner` names nobody.
        """
        if self._driver is not None:
            raise RuntimeError("this server was started already; serve() makes another one")
        limit_write_buffers(self.config.max_total_write_buffer or _memory() // 4)
        try:
            await self._open(asyncio.get_running_loop())
        except BaseException:
            await self.close()
            raise

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen, and set `_driver` to what serves those who come."""
        listening = open_sockets(self.config)
        try:
            driver = self._driver = acquire_driver(loop, self.config.driver)
        except BaseException:
            listening.close()
            raise
        self._listening = listening
        self._is_unix = not is_tcp(self.sockets[0])
        self._host, self._port = describe(self.sockets[0])
        for sock in self.sockets:
            port = sock.getsockname()[1] if is_tcp(sock) else None
            listener = await driver.listen(sock, self._acceptor(port), backlog=self.config.backlog)
            self._listeners.append(listener.close)

    def _acceptor(self, port: int | None) -> Callable[[Connection], None]:
        """Return what gives each new connection of a port its first phase."""
        endpoint = self._app.endpoint(self.scheme, port, self._proxies)
        if self.config.health_path is not None:
            endpoint.health_path, endpoint.health = self.config.health_path, self.health
        self._endpoints.append(endpoint)

        admit, limits = self.admission.admit, self._limits

        def accepted(connection: Connection) -> None:
            refusal, why_not = None, admit(connection)
            if why_not is not None:
                refusal = HTTPError(503, why_not, {"Retry-After": "1"})
            HttpPhase(connection, endpoint, limits, refusal, self._tls)

        return accepted

    # --- certificates -----------------------------------------------------------------------

    def reload_certificates(self) -> bool:
        """Read the files of `ssl_...` anew, for those who connect from now on; others stay.

        When that cannot be done the old certificate stays in use, and the log says why. In the
        loop's thread; `loop.add_signal_handler` may call it.

        Returns:
            bool: whether the new ones are in use.

        Raises:
            RuntimeError: when the certificate is not from files of the configuration.
        """
        if self.config.ssl_certfile is None:
            raise RuntimeError(
                "only certificates of ssl_certfile can be read anew; call load_cert_chain on the "
                "context given as ssl instead"
            )
        try:
            self._tls = _context(self.config)
        except (OSError, ValueError) as error:
            logger.error("the old certificate stays in use: %s", error)
            return False
        logger.info(
            "new connections get the certificate that is in %s now", self.config.ssl_certfile
        )
        return True

    async def serve_forever(self) -> None:
        """Wait until the server is closed; cancelling it closes the server."""
        try:
            await self._closed.wait()
        finally:
            await self.close()

    async def wait_closed(self) -> None:
        """Wait until the server is closed."""
        await self._closed.wait()

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Stop: accept nothing more, close every socket, wait for handlers, then drop what is left.

        Args:
            code: what the sockets are closed with; by default 1001, or 1012 with the option
                `restart`.
            reason: the text beside it.

        Raises:
            ValueError: for a code that may not be sent; the server goes on.
            RuntimeError: in another loop than the server's.
        """
        if code is None:
            code = CloseCode.SERVICE_RESTART if self.config.restart else CloseCode.GOING_AWAY
        payload = close_payload(code, reason)
        if self._driver is not None and self._driver.loop is not asyncio.get_running_loop():
            raise RuntimeError(
                "this server runs in another loop; close it there, with "
                "asyncio.run_coroutine_threadsafe(server.close(), loop)"
            )
        driver, self._driver = self._driver, None
        if driver is None:
            if self._listening is not None:  # it was started, and somebody else is closing it
                await self._closed.wait()
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.config.drain_timeout
        try:
            self._stop_listening()
            await self._drain(driver, payload, deadline)
            driver.drop(self)
            await self._app.settle(max(1.0, deadline - loop.time()), self._hurry)
        finally:
            driver.drop(self)
            self._release(loop)
            self._closed.set()

    def _release(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the driver go."""
        release_driver(loop)

    def hurry(self) -> None:
        """Cut a drain short: drop what is still connected, cancel handlers that still run."""
        self._hurry.set()

    async def retire(self) -> None:
        """Accept nothing more, and wait for those who are connecting: for two seconds at most.

        For a process whose listening sockets another one goes on with.
        """
        self._is_retired = True
        while self._listeners:
            self._listeners.pop()()
        loop = asyncio.get_running_loop()
        until = loop.time() + _CONNECTING
        while self.admission.handshakes and not self._hurry.is_set() and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # nothing tells of them

    def _stop_listening(self) -> None:
        for endpoint in self._endpoints:
            endpoint.is_closing = True
        while self._listeners:
            self._listeners.pop()()
        if self._listening is not None:
            self._listening.close()

    async def _drain(self, driver: Driver, payload: bytes, deadline: float) -> None:
        """Close every connection and wait until they are gone, in time or in a hurry."""
        gone = asyncio.Event()
        driver.watchers.append(gone.set)
        hurry = asyncio.ensure_future(self._hurry.wait())
        loop = asyncio.get_running_loop()
        try:
            for connection in driver.connections_of(self):
                connection.shut(payload)
            while driver.connections_of(self) and not hurry.done():
                left = deadline - loop.time()
                if left <= 0:
                    break
                gone.clear()
                change = asyncio.ensure_future(gone.wait())
                try:
                    await asyncio.wait(
                        {change, hurry}, timeout=left, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    change.cancel()
        finally:
            hurry.cancel()
            driver.watchers.remove(gone.set)


def serve(app: Application, **config: Any) -> Server:
    """Return a server for `async with`, in a running loop.

    Args:
        app: a Handle.
        config: ServerConfig options: `host`, `port`, `uds`, ...

    Raises:
        TypeError: for an option that does not exist.
        ValueError: for a value that cannot work.
        OSError: when a file of `ssl_...` cannot be read.
    """
    check_options(ServerConfig, config)
    if config.get("workers", 1) != 1:
        raise ValueError(
            "workers: a server inside a loop is one process; run() and the command start several"
        )
    if config.get("bus") is not None:
        raise ValueError("bus: a server inside a loop keeps none; run() and the command do")
    return Server(app, ServerConfig(**config))


def _context(config: ServerConfig) -> ssl.SSLContext | None:
    """Return what the configuration serves TLS with, or None for plain text."""
    if config.ssl_certfile is None:
        return config.ssl
    return make_context(
        config.ssl_certfile, config.ssl_keyfile, config.ssl_keyfile_password, config.ssl_ca_certs
    )


def _memory() -> int:
    """The bytes of memory that this process may have: the machine's, or its control group's."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # on Windows
        return _SOME_MEMORY
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no control groups here, or "max"
        return total


def _possible_connections() -> int:
    """The most connections that the descriptors of the process allow."""
    if resource is None:
        return _MANY_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MANY_CONNECTIONS
    return max(1, min(soft - _SPARE_DESCRIPTORS, _MANY_CONNECTIONS))
