"""The bus within one process: for several servers in it, and for tests."""

from __future__ import annotations

import asyncio
import contextlib

from wsgroups.cluster import frames
from wsgroups.cluster.bus import (
    OUTBOX_LIMIT,
    AddressTakenError,
    Bus,
    Receiver,
    check_size,
    hand_over,
    report,
)
from wsgroups.cluster.exchange import Exchange
from wsgroups.cluster.frames import PUBLISH, SEND, SENT_AT, Kind
from wsgroups.cluster.outbox import Outbox
from wsgroups.cluster.peers import Peers

_AT_ONCE = 256 << 10  # bytes handed over before the loop goes on


class LocalBus(Bus):
    """A place on an exchange of this process. Each may be in a loop of its own.

    Args:
        exchange: what those who want to reach one another share.
        address: as of `Bus`.
        since: the id sequence that this worker began above.
        limit: bytes that may wait for this worker; then the oldest go.
    """

    def __init__(
        self, exchange: Exchange, address: int, since: int = 0, *, limit: int = OUTBOX_LIMIT
    ) -> None:
        self.address = address
        self.since = since
        self.dropped = 0  # nothing is on its way out: it is with the others at once
        self._exchange = exchange
        self._inbox: Outbox[bytes] = Outbox(limit, len)
        self._told = 0
        self._peers = Peers(near=0, is_alone=True)
        self._early: set[bytes] = set()  # channels asked for before the start
        self._receiver: Receiver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def peers(self) -> Peers:
        """As of `Bus`."""
        return self._peers

    @property
    def backlog(self) -> int:
        """Nothing ever waits on this side."""
        return 0

    async def start(self, receiver: Receiver) -> None:
        """As of `Bus`."""
        self._receiver, self._loop = receiver, asyncio.get_running_loop()
        for channel in self._early:
            self._exchange.subscribe(self, channel)
        if not self._exchange.join(self):
            self._receiver = None
            for channel in self._early:
                self._exchange.unsubscribe(self, channel)
            raise AddressTakenError(f"address {self.address} is taken on this bus")

    async def stop(self) -> None:
        """As of `Bus`."""
        self._exchange.leave(self)
        self._receiver = None
        self._peers.clear()

    def send(self, destination: int, data: bytes) -> None:
        """As of `Bus`."""
        check_size(data)
        if self._receiver is not None:
            self._exchange.send(frames.send(destination, data))

    def publish(self, channel: bytes, data: bytes) -> None:
        """As of `Bus`."""
        check_size(data)
        if self._receiver is not None:
            self._exchange.publish(self, frames.publish(channel, data))

    def subscribe(self, channel: bytes) -> None:
        """As of `Bus`."""
        if self._receiver is not None:
            self._exchange.subscribe(self, channel)
        else:
            self._early.add(channel)

    def unsubscribe(self, channel: bytes) -> None:
        """As of `Bus`."""
        self._early.discard(channel)
        self._exchange.unsubscribe(self, channel)

    async def drain(self) -> None:
        """As of `Bus`."""

    async def sync(self) -> None:
        """As of `Bus`."""
        if self._receiver is None:
            raise ConnectionError("this bus is not started")
        while self._inbox.size:  # noqa: ASYNC110
            await asyncio.sleep(0)  # nothing tells of it

    # --- what the exchange calls, from any thread -------------------------------------------

    def put(self, frame: bytes) -> None:
        """Queue a message for this worker."""
        if self._inbox.put(frame) and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody is there any more
                self._loop.call_soon_threadsafe(self._hand_over)

    def tell(self, frame: bytes) -> None:
        """Note who has come and who has left."""
        is_there = frame[4] == Kind.PEER
        if is_there:
            self._peers.come(*frames.peer_of(frame))
        else:
            self._peers.go(frames.address_of(frame))
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                self._loop.call_soon_threadsafe(self._report, frames.address_of(frame), is_there)

    def _report(self, address: int, is_there: bool) -> None:
        """Tell the receiver who has come or left, in the loop's thread."""
        if self._receiver is not None:
            report(self._receiver, address, is_there=is_there)

    def _hand_over(self) -> None:
        """Give the receiver what has come, in the loop's thread."""
        lost, self._told = self._inbox.dropped - self._told, self._inbox.dropped
        if lost and self._receiver is not None:
            self._receiver.gap(lost)
        for frame in self._inbox.take(_AT_ONCE):
            if self._receiver is None:
                return
            if frame[4] == SEND:
                hand_over(self._receiver, None, frame[SENT_AT:])
            elif frame[4] == PUBLISH:
                channel, begin = frames.channel_of(frame)
                hand_over(self._receiver, channel, frame[begin:])
        if self._inbox.size and self._loop is not None:
            self._loop.call_soon(self._hand_over)
