"""One end of a connection between a worker and its hub."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import cast

from wsgroups.cluster.frames import FrameError, FrameReader
from wsgroups.cluster.outbox import Outbox

logger = logging.getLogger("wsgroups")

_A_WRITE = 256 << 10  # bytes joined for one write
_HIGH_WATER = 1 << 20  # bytes in the transport, from which the outbox keeps the rest


class Link(asyncio.Protocol):
    """Sends what is put into its outbox, in order, and cuts what comes into frames.

    Args:
        limit: bytes that may wait; then the oldest messages go.

    Attributes:
        outbox: messages on their way out.
        transport: None before and after the connection.
    """

    def __init__(self, limit: int) -> None:
        self.outbox: Outbox[bytes] = Outbox(limit, len)
        self.transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._reader = FrameReader()
        self._first: list[bytes] = []  # what may not be dropped goes before all messages
        self._is_full = False
        self._told = 0
        self._waiters: list[Callable[[], None]] = []

    # --- what the two ends do differently ----------------------------------------------------

    def handle(self, frame: bytes) -> None:
        """A frame has come."""
        raise NotImplementedError

    def opened(self) -> None:
        """The connection is there."""

    def closed(self) -> None:
        """The connection is gone."""

    def missed(self, count: int) -> None:
        """So many messages more had no room in the outbox."""

    def before_writing(self) -> None:
        """What waits is about to be sent."""

    # --- out --------------------------------------------------------------------------------

    def put(self, frame: bytes) -> None:
        """Send a message, in order. From any thread."""
        if self.outbox.put(frame):
            self.wake()

    def tell(self, frame: bytes) -> None:
        """Send, before all messages that wait, what must not be dropped. In the loop's thread."""
        self._first.append(frame)
        self.wake()

    def wake(self) -> None:
        """Have the loop write, from any thread."""
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self.write)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and this with it
                self._loop.call_soon_threadsafe(self.write)

    def write(self) -> None:
        """Send what waits, as far as the other end takes it. In the loop's thread."""
        if self.transport is None or self._is_full:
            return
        self.before_writing()
        lost, self._told = self.outbox.dropped - self._told, self.outbox.dropped
        if lost:
            self.missed(lost)
        if self._first:
            first, self._first = self._first, []
            self.transport.write(b"".join(first))
        while self.outbox.size and not self._is_full:
            self.transport.write(b"".join(self.outbox.take(_A_WRITE)))
        self._release_waiters()

    @property
    def backlog(self) -> int:
        """Bytes that the other end has not taken yet."""
        waiting = self.transport.get_write_buffer_size() if self.transport is not None else 0
        return self.outbox.size + waiting

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call back once everything is with the transport and that takes more. In the loop."""
        self._waiters.append(callback)
        self._release_waiters()

    def _release_waiters(self) -> None:
        if self.transport is None or (not self.outbox.size and not self._is_full):
            waiters, self._waiters = self._waiters, []
            for callback in waiters:
                callback()

    # --- what asyncio calls -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)
        self.opened()
        self.write()

    def data_received(self, data: bytes) -> None:
        """Handle the frames that are complete; one that is none ends the connection."""
        try:
            for frame in self._reader.feed(data):
                self.handle(frame)
        except FrameError as error:
            logger.error("a connection between workers is broken: %s", error)
            self.abort()

    def pause_writing(self) -> None:
        """The other end is behind."""
        self._is_full = True

    def resume_writing(self) -> None:
        """The other end has caught up."""
        self._is_full = False
        self.write()

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self.transport = None
        self.closed()
        self._release_waiters()

    def abort(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.transport.abort()
