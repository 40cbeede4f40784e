"""The bus of workers on one host: a connection to the hub that their supervisor keeps."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable
from threading import RLock

from wsgroups.cluster import frames
from wsgroups.cluster.bus import OUTBOX_LIMIT, Bus, Receiver, check_size, hand_over, report
from wsgroups.cluster.frames import PUBLISH, SEND, SENT_AT, FrameError, Kind
from wsgroups.cluster.link import Link
from wsgroups.cluster.peers import Peers

logger = logging.getLogger("wsgroups")

_PATIENCE = 1.0  # seconds for what still waits, at the end


class UnixBus(Bus):
    """A place on a hub.

    Args:
        path: the hub's Unix socket.
        address: as of `Bus`.
        since: the id sequence that this worker began above.
        limit: bytes that may wait for the hub; then the oldest messages go.
        peers: where to keep who is there.
        on_lost: called when the hub is gone.
        on_note: called with the notes that the hub sends to all.
    """

    def __init__(
        self,
        path: str,
        address: int,
        since: int = 0,
        *,
        limit: int = OUTBOX_LIMIT,
        peers: Peers | None = None,
        on_lost: Callable[[], None] | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        self.address = address
        self.since = since
        self._path = path
        self._limit = limit
        self._on_lost = on_lost
        self._on_note = on_note
        self._peers = peers if peers is not None else Peers(near=0, is_alone=True)
        self._early: set[bytes] = set()  # channels asked for before the start
        self._link: WorkerLink | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def peers(self) -> Peers:
        """As of `Bus`."""
        return self._peers

    @property
    def dropped(self) -> int:  # type: ignore[override]
        """As of `Bus`."""
        return self._link.outbox.dropped if self._link is not None else 0

    @property
    def backlog(self) -> int:
        """As of `Bus`."""
        link = self._link
        return link.backlog if link is not None and not link.gone.is_set() else 0

    # --- life -------------------------------------------------------------------------------

    async def start(self, receiver: Receiver) -> None:
        """As of `Bus`."""
        loop = self._loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(
            lambda: WorkerLink(self._limit, receiver, self._peers, self._on_note), self._path
        )
        self._link = link
        link.tell(frames.peer(self.address, self.since))
        for channel in self._early:
            link.set_interest(channel, True)
        try:
            await link.sync()
        except BaseException as error:
            await self.stop()
            if isinstance(error, ConnectionError):
                raise OSError(
                    f"the hub does not take address {self.address}: "
                    "it takes each once, and only from processes of its own user; or it is ending"
                ) from None
            raise
        link.on_lost = self._on_lost

    async def stop(self) -> None:
        """As of `Bus`."""
        link = self._link
        if link is None:
            return
        link.on_lost = None
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_PATIENCE):
                await link.sync()  # with the hub, not only on the way to it
        if link.transport is not None:
            link.transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await link.gone.wait()
        link.abort()
        self._link = None

    # --- verbs ------------------------------------------------------------------------------

    def send(self, destination: int, data: bytes) -> None:
        """As of `Bus`."""
        check_size(data)
        if self._link is not None:
            self._link.put(frames.send(destination, data))

    def publish(self, channel: bytes, data: bytes) -> None:
        """As of `Bus`."""
        check_size(data)
        if self._link is not None:
            self._link.put(frames.publish(channel, data))

    def subscribe(self, channel: bytes) -> None:
        """As of `Bus`."""
        if self._link is not None:
            self._link.set_interest(channel, True)
        else:
            self._early.add(channel)

    def unsubscribe(self, channel: bytes) -> None:
        """As of `Bus`."""
        if self._link is not None:
            self._link.set_interest(channel, False)
        else:
            self._early.discard(channel)

    def note(self, text: str) -> None:
        """Tell whoever keeps the hub something. In the loop's thread."""
        if self._link is not None:
            self._link.tell(frames.text(Kind.NOTE, text.encode()))

    async def drain(self) -> None:
        """As of `Bus`; in any loop."""
        link, loop = self._link, self._loop
        if link is None or loop is None:
            return
        if loop is asyncio.get_running_loop():
            await link.drain()
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(link.drain(), loop))

    async def sync(self) -> None:
        """As of `Bus`."""
        if self._link is None:
            raise ConnectionError("this bus is not started")
        await self._link.sync()


class WorkerLink(Link):
    """The worker's end of the connection.

    Attributes:
        gone: set when the connection is.
        on_lost: called then, too.
    """

    def __init__(
        self,
        limit: int,
        receiver: Receiver,
        peers: Peers,
        on_note: Callable[[str], None] | None,
    ) -> None:
        super().__init__(limit)
        self._peers = peers
        self.gone = asyncio.Event()
        self.on_lost: Callable[[], None] | None = None
        self._on_note = on_note
        self._receiver = receiver
        self._tokens = itertools.count(1)
        self._syncing: dict[int, asyncio.Future[None]] = {}
        # Wanted anew since the last write: joining and leaving in a hurry costs one frame.
        self._interest: dict[bytes, bool] = {}
        self._channels: set[bytes] = set()
        self._lock = RLock()

    def set_interest(self, channel: bytes, wanted: bool) -> None:
        """Ask for a channel, or for no more of it. From any thread."""
        with self._lock:
            is_first = not self._interest
            self._interest[channel] = wanted
        if is_first:
            self.wake()

    def before_writing(self) -> None:
        """Tell what has changed of what we ask for."""
        if not self._interest:
            return
        with self._lock:
            changed, self._interest = self._interest, {}
        for channel, wanted in changed.items():
            if wanted == (channel in self._channels):
                continue
            (self._channels.add if wanted else self._channels.discard)(channel)
            kind = Kind.SUBSCRIBE if wanted else Kind.UNSUBSCRIBE
            self._first.append(frames.text(kind, channel))

    async def sync(self) -> None:
        """Wait for the hub to answer what stands behind all messages."""
        if self.transport is None:
            raise ConnectionError("the hub is gone")
        token = next(self._tokens)
        done = self._syncing[token] = self._loop.create_future()
        self.put(frames.number(Kind.SYNC, token))
        try:
            await done
        finally:
            self._syncing.pop(token, None)

    async def drain(self) -> None:
        """Wait until the hub has taken everything, or is gone."""
        done: asyncio.Future[None] = self._loop.create_future()

        def settle() -> None:
            if not done.done():
                done.set_result(None)

        self.when_drained(settle)
        await done

    def missed(self, count: int) -> None:
        """Tell of what this worker has lost itself."""
        logger.warning("the hub is behind: %d messages to other workers are lost", count)
        self._lost(count)

    def _lost(self, count: int) -> None:
        """What `sync` waits for may be among what is lost; a second answer does no harm."""
        for token in self._syncing:
            self.put(frames.number(Kind.SYNC, token))
        self._receiver.gap(count)

    def closed(self) -> None:
        """The hub is gone."""
        self._peers.clear()
        self.gone.set()
        for done in self._syncing.values():
            if not done.done():
                done.set_exception(ConnectionError("the hub is gone"))
        if self.on_lost is not None:
            self.on_lost()

    def handle(self, frame: bytes) -> None:
        """Do what a frame says."""
        kind = frame[4]
        if kind == SEND:
            hand_over(self._receiver, None, frame[SENT_AT:])
        elif kind == PUBLISH:
            channel, begin = frames.channel_of(frame)
            hand_over(self._receiver, channel, frame[begin:])
        elif kind == Kind.PEER:
            address, since = frames.peer_of(frame)
            self._peers.come(address, since)
            report(self._receiver, address, is_there=True)
        elif kind == Kind.GONE:
            address = frames.address_of(frame)
            self._peers.go(address)
            report(self._receiver, address, is_there=False)
        elif kind == Kind.SYNC:
            done = self._syncing.get(frames.number_of(frame))
            if done is not None and not done.done():
                done.set_result(None)
        elif kind == Kind.GAP:
            self._lost(frames.number_of(frame))
        elif kind == Kind.NOTE:
            if self._on_note is not None:
                self._on_note(frame[5:].decode("utf-8", "replace"))
        else:
            raise FrameError(f"the hub sends no frame of kind {kind}")
