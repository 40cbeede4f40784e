"""The hub: what workers of one host are connected to, over a Unix socket.

Its directory lets in nobody but the user, and the kernel says who connects.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable

from wsgroups.cluster import frames
from wsgroups.cluster.bus import describe_address
from wsgroups.cluster.exchange import Exchange
from wsgroups.cluster.frames import PUBLISH, SEND, FrameError, Kind
from wsgroups.cluster.link import Link

logger = logging.getLogger("wsgroups")

QUEUE_LIMIT = 64 << 20  # bytes that wait for one worker; then the oldest messages go
_CROWDED = 8 << 20  # bytes from which everybody waits for that worker
# Seconds without taking anything; then nobody waits for it any longer. It loses nothing by that
# before its queue is full.
_STUCK_AFTER = 0.1
_A_READ, _READS = 256 << 10, 64  # bytes at once, and how often, of what is left
_LARGEST_CHANNEL_COUNT = 1 << 20  # that one worker may ask for


class Hub:
    """Passes messages on between the workers that connect to it, in the running loop.

    A worker that is slow makes all wait, so that nothing is lost; one that takes nothing at all is
    waited for no longer: its oldest messages are dropped, and it is told how many.

    Args:
        noted: called with the process id of a worker and the text of each note it sends.
        left: called with the address of one that is gone, and the id sequence it began above.
    """

    def __init__(
        self,
        noted: Callable[[int, str], None] | None = None,
        left: Callable[[int, int], None] | None = None,
    ) -> None:
        self.exchange = Exchange()
        self.noted = noted
        self.left = left
        self.links: set[HubLink] = set()
        self.announced = b""
        self.touched: list[HubLink] | None = None  # those with something to write, meanwhile
        self._server: asyncio.AbstractServer | None = None
        self._judging: asyncio.TimerHandle | None = None

    async def start(self, at: str | socket.socket) -> None:
        """Listen on a Unix socket.

        Args:
            at: its path, which is made for the user alone, or one that is bound already.

        Raises:
            OSError: when that is not possible.
        """
        loop = asyncio.get_running_loop()
        if isinstance(at, str):
            self._server = await loop.create_unix_server(lambda: HubLink(self), at)
            os.chmod(at, 0o600)
        else:
            self._server = await loop.create_unix_server(lambda: HubLink(self), sock=at)

    async def stop(self) -> None:
        """Let all workers go."""
        if self._judging is not None:
            self._judging.cancel()
        if self._server is not None:
            self._server.close()
        for link in list(self.links):
            link.abort()
        while self.links:  # noqa: ASYNC110
            await asyncio.sleep(0)  # a turn or two of the loop
        if self._server is not None:
            await self._server.wait_closed()

    def drop(self, pid: int) -> None:
        """Let a worker go whose process has ended; a child of it may hold its connection open."""
        for link in list(self.links):
            if link.pid == pid:
                link.read_rest()
                link.abort()

    def announce(self, note: str) -> None:
        """Send a note to all workers, and to those who come until the next one."""
        self.announced = frames.text(Kind.NOTE, note.encode())
        for member in self.exchange.members.values():
            member.tell(self.announced)

    def heard(self) -> set[int]:
        """Return the processes that have said something since this was last asked.

        Those that are held back as well: what they say is not read.
        """
        return {link.pid for link in self.links if link.was_heard()}

    @property
    def dropped(self) -> int:
        """Messages that were dropped because a worker took nothing."""
        return sum(link.outbox.dropped for link in self.links)

    # --- the slow and the stuck -------------------------------------------------------------

    def look_after_slow(self) -> None:
        """Read no further while much waits for a worker that still takes something."""
        if self._judging is None and any(link.is_crowded for link in self.links):
            for link in self.links:
                link.set_reading(False)
                link.has_moved()
            self._judging = asyncio.get_running_loop().call_later(_STUCK_AFTER, self._judge)

    def go_on(self) -> None:
        """Read again, unless somebody still has to catch up."""
        if self._judging is not None and not any(link.is_crowded for link in self.links):
            self._judging.cancel()
            self._judging = None
            for link in self.links:
                link.set_reading(True)

    def _judge(self) -> None:
        for link in self.links:
            if link.is_crowded and not link.has_moved():
                link.is_stuck = True
        self._judging = asyncio.get_running_loop().call_later(_STUCK_AFTER, self._judge)
        self.go_on()


class HubLink(Link):
    """The hub's end of one worker's connection.

    Attributes:
        address: the worker's, -1 until it has said it.
        since: the id sequence that it began above.
        pid: its process, as the kernel has it; 0 where that cannot be asked for.
        is_stuck: it takes nothing, and nobody waits for it.
    """

    def __init__(self, hub: Hub) -> None:
        super().__init__(QUEUE_LIMIT)
        self.address = -1
        self.since = 0
        self.pid = 0
        self.is_stuck = False
        self._hub = hub
        self._channel_count = 0
        self._unsent = 0
        self._is_reading = True
        self._was_heard = False
        self._is_aborted = False
        # The same one once more: a transport that has failed to write reads no further.
        self._socket: socket.socket | None = None

    @property
    def is_crowded(self) -> bool:
        """True while others have to wait for this worker."""
        return self.outbox.size > _CROWDED and not self.is_stuck

    def has_moved(self) -> bool:
        """True when the worker has taken something since this was last asked."""
        assert self.transport is not None
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        return self._unsent != before

    def was_heard(self) -> bool:
        """True when it has said something since this was last asked, or could not."""
        before, self._was_heard = self._was_heard, False
        return before or not self._is_reading

    def set_reading(self, wanted: bool) -> None:
        """Read, or let the worker wait."""
        if self.transport is None or wanted == self._is_reading:
            return
        self._is_reading = wanted
        self._was_heard = True  # it had no chance
        with contextlib.suppress(RuntimeError):  # it is closing
            (self.transport.resume_reading if wanted else self.transport.pause_reading)()

    def read_rest(self) -> None:
        """Take what a worker that has ended said last: it may be that its sockets are closed."""
        if self._socket is not None and not self._is_aborted:
            with contextlib.suppress(OSError):
                for _ in range(_READS):  # a child of it could go on without end
                    data = self._socket.recv(_A_READ)
                    if not data:
                        break
                    self.data_received(data)

    def abort(self) -> None:
        """End the connection at once, and hear nothing more."""
        self._is_aborted = True
        super().abort()

    def opened(self) -> None:
        """Look who it is."""
        assert self.transport is not None
        sock = self.transport.get_extra_info("socket")
        self._socket = socket.socket(fileno=os.dup(sock.fileno()))
        self._socket.setblocking(False)
        user, self.pid = _who(sock)
        if user != os.getuid():
            logger.error(
                "user %d may not connect to the hub; run that process as user %d",
                user,
                os.getuid(),
            )
            self.abort()
            return
        self._hub.links.add(self)

    def closed(self) -> None:
        """The worker is gone. A write that failed tells of it before all it said has been read."""
        self.read_rest()
        if self._socket is not None:
            self._socket.close()
        self._hub.links.discard(self)
        if self.address >= 0:
            self._hub.exchange.leave(self)
            if self._hub.left is not None:
                self._hub.left(self.address, self.since)
        self._hub.go_on()

    def missed(self, count: int) -> None:
        """Tell the worker what it did not get."""
        name = describe_address(self.address)
        logger.warning("%s took nothing: %d messages to it are lost", name, count)
        self.tell(frames.number(Kind.GAP, count))

    def resume_writing(self) -> None:
        """It takes something again."""
        self.is_stuck = False
        super().resume_writing()
        self._hub.go_on()

    def data_received(self, data: bytes) -> None:
        """Pass on what has come, with one write for each worker that gets something of it."""
        self._was_heard = True
        touched = self._hub.touched = []
        try:
            super().data_received(data)
        finally:
            self._hub.touched = None
            for link in touched:
                link.write()
            self._hub.look_after_slow()

    def wake(self) -> None:
        """Write soon, or when what has come is passed on."""
        if self._hub.touched is None:
            super().wake()
        else:
            self._hub.touched.append(self)

    def handle(self, frame: bytes) -> None:
        """Do what a frame asks for."""
        kind = frame[4]
        if self.address < 0:
            self._introduce(frame)
        elif kind == SEND:
            self._hub.exchange.send(frame)
        elif kind == PUBLISH:
            self._hub.exchange.publish(self, frame)
        elif kind == Kind.SUBSCRIBE:
            self._count_channels(1)
            self._hub.exchange.subscribe(self, frame[5:])
        elif kind == Kind.UNSUBSCRIBE:
            self._count_channels(-1)
            self._hub.exchange.unsubscribe(self, frame[5:])
        elif kind == Kind.SYNC:
            self.put(frame)  # behind all that was sent to it before
        elif kind == Kind.NOTE:
            if self._hub.noted is not None:
                self._hub.noted(self.pid, frame[5:].decode("utf-8", "replace"))
        else:
            raise FrameError(f"a worker sends no frame of kind {kind}")

    def _introduce(self, frame: bytes) -> None:
        if frame[4] != Kind.PEER:
            raise FrameError("a worker says first who it is")
        self.address, self.since = frames.peer_of(frame)
        if not self._hub.exchange.join(self):
            taken, self.address = self.address, -1
            raise FrameError(f"address {taken} is taken")
        if self._hub.announced:
            self.tell(self._hub.announced)

    def _count_channels(self, change: int) -> None:
        self._channel_count += change
        if self._channel_count > _LARGEST_CHANNEL_COUNT:
            raise FrameError("a worker asks for more than a million channels")


def _who(sock: socket.socket) -> tuple[int, int]:
    """User and process at the other end of a Unix socket."""
    if not hasattr(socket, "SO_PEERCRED"):  # the directory keeps others out
        return os.getuid(), 0
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, user, _ = struct.unpack("3i", found)
    return user, pid
