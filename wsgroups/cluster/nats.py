"""NATS as the broker, by nats-py."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from nats.aio.client import Client
from nats.errors import Error

from wsgroups.cluster.session import (
    CONNECT_WITHIN,
    OnPayload,
    Session,
    batches,
    close_within,
    display,
)

logger = logging.getLogger("wsgroups")

_NEVER = 1 << 30  # seconds
_IN_A_TURN = 100  # messages that are handled before others have the loop


class NatsSession(Session):
    """A connection to a NATS server, or to any of a cluster."""

    def __init__(self, client: _Client) -> None:
        self.lost = asyncio.get_running_loop().create_future()
        self._client = client
        self._numbers: dict[bytes, int] = {}  # of subscriptions
        self._last = 0

    @property
    def arrivals(self) -> int:  # type: ignore[override]
        """As of `Session`."""
        return self._client.arrivals

    @classmethod
    async def open(cls, url: str, on_payload: OnPayload) -> NatsSession:
        """As of `Session`; `nats://a:4222,b:4222` names several servers of a cluster."""
        client = _Client(on_payload)
        session = cls(client)
        client.on_lost = session.end
        scheme, _, names = url.partition("://")
        hosts = names.rstrip("/").split(",")
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await client.connect(
                    [f"{scheme}://{host}" for host in hosts],
                    name="wsgroups",
                    allow_reconnect=False,  # it would send again what the server may have
                    max_reconnect_attempts=1,  # that is two of each, at once: who tries for longer
                    reconnect_time_wait=0,  # than that is late when the server comes back
                    connect_timeout=CONNECT_WITHIN / (1 + len(hosts)),  # type: ignore[arg-type]
                    error_cb=_heard,
                    no_echo=True,
                    ping_interval=_NEVER,  # somebody else looks whether the server is there
                )
        except (Exception, asyncio.CancelledError) as error:
            await session.close()
            if isinstance(error, asyncio.CancelledError):
                raise
            reason = str(error) or type(error).__name__
            raise OSError(f"no NATS server at {display(url)}: {reason}") from error
        session.largest = client.max_payload
        return session

    async def subscribe(self, subjects: Iterable[bytes]) -> None:
        """As of `Session`."""
        new = [subject for subject in subjects if subject not in self._numbers]
        for batch in batches(new):  # a task of the library's is woken for each
            first = self._last + 1
            self._last += len(batch)
            self._numbers.update(zip(batch, range(first, self._last + 1), strict=True))
            lines = [b"SUB %b %d\r\n" % (subject, self._numbers[subject]) for subject in batch]
            await self._client.tell(b"".join(lines))

    async def unsubscribe(self, subjects: Iterable[bytes]) -> None:
        """As of `Session`."""
        for subject in subjects:
            number = self._numbers.pop(subject, None)
            if number is not None:
                await self._client.tell(b"UNSUB %d\r\n" % number)

    async def publish(self, payloads: list[tuple[bytes, bytes]]) -> None:
        """As of `Session`."""
        for subject, payload in payloads:
            if self.lost.done():  # the library takes a cancellation for a timeout, and goes on
                raise ConnectionError("the connection is given up")
            await self._client.publish(subject.decode(), payload)

    async def sync(self) -> None:
        """As of `Session`: the server answers in order."""
        await self._client.ping()

    async def close(self) -> None:
        """As of `Session`."""
        # Closing stops half-way when there was something left to write.
        await close_within(self._client.close(), self._client.abort)
        self.end()


class _Client(Client):
    """Hands over what comes at once, in the order in which it comes.

    As it stands the library has a queue and a task for each subscription: between two of them there
    is no order, and a room would cost 4 KB in each worker. Its `flush` writes its PING before what
    waits to be written, so that the answer says nothing of that.

    Attributes:
        on_lost: called when the connection fails.
        arrivals: messages that have come.
    """

    def __init__(self, on_payload: OnPayload) -> None:
        super().__init__()
        self.on_lost: Callable[[], None] = _nothing
        self._on_payload = on_payload
        self.arrivals = 0

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any
    ) -> None:
        self._on_payload(bytes(subject), bytes(data))
        self.arrivals += 1
        if self.arrivals % _IN_A_TURN == 0:  # the library goes on with all that it has read
            await asyncio.sleep(0)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """The library leaves it to the server whether there is TLS."""
        if initial_connection and not info.get("tls_required"):
            assert self._current_server is not None
            if self._current_server.uri.scheme == "tls":
                raise Error("it offers no TLS; write nats:// if that is meant")
        await super()._process_info(info, initial_connection)

    async def _process_op_err(self, e: Exception) -> None:
        self.on_lost()

    async def _read_loop(self) -> None:
        """Whatever ends the reading ends the connection: some errors the library tells nobody."""
        try:
            await super()._read_loop()
        finally:
            self.on_lost()

    async def tell(self, line: bytes) -> None:
        """Send a line of the protocol, behind all that was sent before."""
        await self._send_command(line)
        await self._flush_pending()

    async def ping(self) -> None:
        """Wait until the server has answered a PING behind all that was sent before."""
        answered = asyncio.get_running_loop().create_future()
        self._pongs.append(answered)
        await self.tell(b"PING\r\n")
        # Its PONG comes even when nobody waits any more; the library stops reading on a future that
        # takes no result then.
        await asyncio.shield(answered)

    def abort(self) -> None:
        """Close the socket, whatever waits to be written."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()


def _nothing() -> None:
    """Nobody has to be told yet."""


async def _heard(error: Exception) -> None:
    """Log what would otherwise show by nothing coming; the connection's end is told elsewhere."""
    if "permissions violation" in str(error).lower():
        logger.error("%s: this user of the NATS server may not do what wsgroups needs", error)
