"""`start`: an application in a test, and the ways to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from wsgroups.client.opening import Address, Opening
from wsgroups.policy import Compression, ServerConfig, check_options
from wsgroups.repeats import repeats
from wsgroups.server.server import Application, Server
from wsgroups.testing.client import Client
from wsgroups.testing.exchange import Exchange, Reply
from wsgroups.testing.memory import MemoryServer

Transport = Literal["tcp", "memory"]
Headers = Mapping[str, str] | Iterable[tuple[str, str]]

TIMEOUT = 5.0  # seconds


def start(
    app: Application,
    *,
    transport: Transport = "tcp",
    timeout: float = TIMEOUT,
    **config: Any,
) -> App:
    """Return an application for `async with`, in a running loop.

    Args:
        app: a Handle.
        transport: `"tcp"` listens on a free port of 127.0.0.1; `"memory"` uses no socket at all,
            and `App.advance` moves its clock.
        timeout: seconds that a client waits for anything, unless told otherwise.
        config: ServerConfig options; `uds=` serves a Unix socket.

    Raises:
        TypeError: for an option that does not exist.
        ValueError: for a value that cannot work.
    """
    check_options(ServerConfig, config)
    if config.get("workers", 1) != 1 or config.get("bus") is not None:
        raise ValueError("what runs in a test is one process: leave workers and bus out")
    if transport not in ("tcp", "memory"):
        raise ValueError(f"transport must be 'tcp' or 'memory', not {transport!r}")
    if transport == "memory" and (config.get("ssl") or config.get("ssl_certfile")):
        raise ValueError("from memory there is no TLS: leave transport='memory' out")
    kind = Server if transport == "tcp" else MemoryServer
    return App(kind(app, ServerConfig(**{"port": 0, "drain_timeout": timeout, **config})), timeout)


class App:
    """An application that runs for a test; `start` makes it.

    Attributes:
        server: what serves it.
        timeout: seconds that a client waits for anything.
        tls: what clients speak TLS with when it serves that. It takes every certificate; give it
            another context for clients that look, or `tls.load_cert_chain` for one of their own.
    """

    def __init__(self, server: Server, timeout: float) -> None:
        self.server = server
        self.timeout = timeout
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls.check_hostname = False
        self.tls.verify_mode = ssl.CERT_NONE
        self._clients: list[Client] = []

    async def __aenter__(self) -> Self:
        """Start serving, with a log that has left nothing out yet."""
        repeats.forget()
        await self.server.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the clients that are still open, then the server."""
        await self.close()

    async def close(self) -> None:
        """Close the clients that are still open, then the server; again makes no difference."""
        clients, self._clients = self._clients, []
        try:
            await asyncio.gather(*(client.close() for client in clients))
        finally:
            await self.server.close()

    @property
    def url(self) -> str:
        """Where it is: `http://127.0.0.1:41234`."""
        return self.server.url

    @property
    def ws_url(self) -> str:
        """The same for WebSocket clients: `ws://127.0.0.1:41234`."""
        return self.server.ws_url

    # --- clients ----------------------------------------------------------------------------

    def connect(
        self,
        path: str = "/",
        *,
        headers: Headers = (),
        cookies: Mapping[str, str] | None = None,
        subprotocols: Collection[str] = (),
        origin: str | None = None,
        compression: Compression | bool = False,
    ) -> Connecting:
        """Connect a client: `async with app.connect("/chat?name=Ann") as ann`, or `await` it.

        A client that was awaited is closed with the application.

        Args:
            path: path and query.
            headers: further headers of the handshake.
            cookies: sent in the handshake.
            subprotocols: offered, the preferred one first.
            origin: the Origin header of a browser; None for none.
            compression: True, or a Compression, offers to compress messages.

        Raises:
            HandshakeFailedError: on awaiting: the application refuses; `status` says how.
            AssertionError: on awaiting: it does not answer in time.
        """
        lines = _lines(headers, cookies)
        how = Compression.of(compression)
        return Connecting(self, Opening(self._address(path), subprotocols, lines, origin, how))

    async def get(
        self, path: str, *, headers: Headers = (), cookies: Mapping[str, str] | None = None
    ) -> Reply:
        """Send a GET request and return the answer; as `request`."""
        return await self.request("GET", path, headers=headers, cookies=cookies)

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Headers = (),
        cookies: Mapping[str, str] | None = None,
        body: bytes = b"",
        json: Any = None,
    ) -> Reply:
        """Send a request on a connection of its own and return the answer.

        Args:
            method: `GET`, `POST`, ...
            path: path and query.
            headers: of the request.
            cookies: sent with it.
            body: the body.
            json: sent as the body instead, unless None.

        Raises:
            AssertionError: when there is no answer in time.
        """
        exchange = Exchange(method, self._address(path), _lines(headers, cookies), body, json)
        transport = await self._dial(exchange)
        try:
            async with asyncio.timeout(self.timeout):
                return await exchange.reply
        except TimeoutError:
            raise AssertionError(f"{method} {path}: no answer in {self.timeout:g} s") from None
        finally:
            transport.abort()

    async def advance(self, seconds: float) -> None:
        """Let time pass for the sockets of a `transport="memory"`: timeouts, pings, deadlines.

        Clients get to see and to answer what happens meanwhile. Sessions, and everything else that
        asks the loop for the time, are not concerned.

        Raises:
            RuntimeError: for another transport, whose clock nobody can move.
        """
        if not isinstance(self.server, MemoryServer):
            raise RuntimeError(
                'only start(handle, transport="memory") has a clock that can be moved'
            )
        await self.server.advance(seconds)

    def _address(self, path: str) -> Address:
        if not path.startswith("/"):
            raise ValueError(f"a path begins with '/', {path!r} does not")
        if self.server.is_unix:
            scheme = "wss" if self.server.scheme == "https" else "ws"
            return Address.of(f"{scheme}://localhost{path}")
        return Address.of(self.ws_url + path)

    async def _join(self, opening: Opening) -> Client:
        client = Client(opening, self.timeout)
        transport = await self._dial(client)
        try:
            async with asyncio.timeout(self.timeout):
                await client.opened
        except TimeoutError:
            transport.abort()
            raise AssertionError(f"no answer to the handshake in {self.timeout:g} s") from None
        except BaseException:
            transport.abort()
            raise
        self._clients = [known for known in self._clients if known.close_info is None]
        self._clients.append(client)
        return client

    async def _dial(self, protocol: asyncio.BufferedProtocol) -> asyncio.Transport:
        loop, server = asyncio.get_running_loop(), self.server
        if isinstance(server, MemoryServer):
            return server.dial(protocol)
        tls = self.tls if server.scheme == "https" else None
        if server.is_unix:
            name = "localhost" if tls else None
            transport, _ = await loop.create_unix_connection(
                lambda: protocol, server.host, ssl=tls, server_hostname=name
            )
        else:
            transport, _ = await loop.create_connection(
                lambda: protocol, server.host, server.port, ssl=tls
            )
        return transport


class Connecting:
    """What `App.connect` returns: for `async with` or `await`."""

    def __init__(self, app: App, opening: Opening) -> None:
        self._app = app
        self._opening = opening
        self._client: Client | None = None

    def __await__(self) -> Generator[Any, None, Client]:
        """Return an open client."""
        return self._app._join(self._opening).__await__()

    async def __aenter__(self) -> Client:
        """Return an open client; it is closed at the end."""
        self._client = await self
        return self._client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the client."""
        assert self._client is not None
        await self._client.close()


def _lines(headers: Headers, cookies: Mapping[str, str] | None) -> list[tuple[str, str]]:
    lines = list(headers.items() if isinstance(headers, Mapping) else headers)
    if cookies:
        lines.append(("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
    return lines
