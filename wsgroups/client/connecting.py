"""`wsgroups.connect`: one connection, or one after the other."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl as tls
from collections.abc import AsyncIterator, Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wsgroups.client.opening import Address, Opening
from wsgroups.client.socket import ClientSocket
from wsgroups.errors import HandshakeFailedError
from wsgroups.policy import Compression

logger = logging.getLogger("wsgroups")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before another attempt.

    Attributes:
        first: seconds after the first failure, at most; twice as many after each further one.
        most: seconds that it never exceeds.
    """

    first: float = 0.5
    most: float = 30.0

    def delays(self) -> Iterator[float]:
        """Yield seconds without end, each drawn between nothing and its bound.

        Clients that were thrown off together do not come back together.
        """
        bound = self.first
        while True:
            yield random.uniform(0, bound)
            bound = min(2 * bound, self.most)


class connect:
    """Connect to a WebSocket server.

    In three ways: `async with connect(url) as socket`, `socket = await connect(url)`, and `async
    for socket in connect(url)`, which connects again whenever the body is through with a socket,
    after a wait when the server could not be had.

    Args:
        url: `ws://` or `wss://`.
        subprotocols: offered, the preferred one first.
        headers: further headers of the handshake, `Authorization` for example.
        origin: the Origin header; None for none.
        compression: True, or a Compression, offers to compress messages.
        ssl: the SSLContext for `wss:`; None for one that checks certificates.
        open_timeout: seconds until the handshake is complete.
        close_timeout: seconds that the closing handshake may take.
        max_message_size: bytes of the largest message taken; a larger one closes with 1009.
        max_fragments: frames of one message; more close with 1008.
        max_queue: messages received and not asked for, then reading pauses.
        ping_interval: seconds of silence before a ping; None never.
        ping_timeout: seconds to its answer, then the socket closes with 1011; None never.
        backoff: the waits of `async for`.

    Raises:
        ValueError: for a URL or header that cannot be.
        HandshakeFailedError: on awaiting: the server refuses, or is none.
        OSError: on awaiting: it cannot be reached.
        TimeoutError: on awaiting: it takes too long.
    """

    def __init__(
        self,
        url: str,
        *,
        subprotocols: Collection[str] = (),
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        origin: str | None = None,
        compression: Compression | bool = False,
        ssl: tls.SSLContext | None = None,
        open_timeout: float = 10.0,
        close_timeout: float = 5.0,
        max_message_size: int = 1 << 20,
        max_fragments: int = 4096,
        max_queue: int = 16,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        backoff: Backoff = Backoff(),
    ) -> None:
        self._address = Address.of(url)
        self._url = url
        headers = list(headers.items() if isinstance(headers, Mapping) else headers)
        self._opening = (subprotocols, headers, origin, Compression.of(compression))
        Opening(self._address, *self._opening)  # refuses what cannot be, here and not later
        if ssl is not None and not self._address.is_secure:
            raise ValueError("ssl= is for wss:// addresses")
        self._tls = ssl or (tls.create_default_context() if self._address.is_secure else None)
        self._open_timeout = open_timeout
        self._backoff = backoff
        self._options: dict[str, Any] = {
            "max_message_size": max_message_size,
            "max_fragments": max_fragments,
            "max_queue": max_queue,
            "ping_interval": ping_interval,
            "ping_timeout": ping_timeout,
            "close_timeout": close_timeout,
        }
        self._socket: ClientSocket | None = None

    def __await__(self) -> Generator[Any, None, ClientSocket]:
        """Return an open socket."""
        return self._open().__await__()

    async def __aenter__(self) -> ClientSocket:
        """Return an open socket; it is closed at the end."""
        self._socket = await self._open()
        return self._socket

    async def __aexit__(self, *_: object) -> None:
        """Close the socket."""
        assert self._socket is not None
        await self._socket.close()

    async def __aiter__(self) -> AsyncIterator[ClientSocket]:
        """Yield one open socket after the other, as long as the server does not say no.

        Raises:
            HandshakeFailedError: for a refusal that will not change: any status below 500 but 408,
                425 and 429.
        """
        delays = self._backoff.delays()
        while True:
            try:
                socket = await self._open()
            except (OSError, HandshakeFailedError) as error:  # TimeoutError is an OSError
                if isinstance(error, HandshakeFailedError) and not error.may_pass:
                    raise
                delay = next(delays)
                logger.info("%s: %s; next attempt in %.1f s", self._url, error, delay)
                await asyncio.sleep(delay)
                continue
            delays = self._backoff.delays()
            try:
                yield socket
            finally:
                await socket.close()

    async def _open(self) -> ClientSocket:
        opening = Opening(self._address, *self._opening)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._open_timeout):
            transport, socket = await loop.create_connection(
                lambda: ClientSocket(opening, **self._options),
                self._address.host,
                self._address.port,
                ssl=self._tls,
                server_hostname=self._address.host if self._tls else None,
            )
            try:
                await socket.opened
            except BaseException:
                transport.abort()
                raise
        return socket
