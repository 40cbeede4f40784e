"""The sockets, groups and rooms of one application in its other workers."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from wsgroups.cluster.bus import LARGEST_MESSAGE, OUTBOX_LIMIT, Bus, backlog
from wsgroups.cluster.changes import GUARD
from wsgroups.cluster.channels import NEWS, TOPIC, name_of
from wsgroups.cluster.describing import (
    DESCRIBE,
    Description,
    decode_question,
    encode_description,
)
from wsgroups.cluster.messages import (
    BINARY,
    CLOSE,
    TEXT,
    Answer,
    Key,
    Many,
    One,
    decode_published,
    decode_sent,
    encode_answer,
    encode_many,
    encode_one,
)
from wsgroups.cluster.owners import OVERHEAD, Owners
from wsgroups.cluster.questions import ASK, TOLD
from wsgroups.enums import ConnectionFlags, SendResult, SocketStatus
from wsgroups.ids import SEQUENCE_BITS, sequence
from wsgroups.surface.census import Census
from wsgroups.surface.websocket import SocketSet, WebSocket

if TYPE_CHECKING:
    from wsgroups.surface.handle import Handle

logger = logging.getLogger("wsgroups")

_PATIENCE = 1.0  # seconds that a thread waits for a bus that is behind
_SHOWN = 100  # groups, and rooms, that a description names
_LOOKED_AT = 10_000  # rooms that are looked at for it


class Elsewhere:
    """Sends to sockets of other workers, and does here what other workers ask for.

    What is sent may be called from any thread, what a bus calls runs in its loop.

    Args:
        bus: how they are reached.
        handle: whose groups and rooms are meant.

    Attributes:
        lost: messages from or to this worker that the bus had to drop.
        census: asks the others about their sockets.
    """

    def __init__(self, bus: Bus, handle: Handle) -> None:
        self.lost = 0
        self._bus = bus
        self._handle = handle
        self._loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._owners = Owners(bus)
        self._changed: set[bytes] = set()
        self._lock = threading.RLock()  # a `__del__` may run anywhere, and leave a room
        self.census = Census(bus, self._set_of)
        self._others: dict[int, Callable[[bytes], None]] = {  # what else comes, by its first byte
            ASK: self.census.asked,
            DESCRIBE: self._describe,
            GUARD: handle.roster.heard,
            TOLD: self.census.told,
        }

    # --- to others --------------------------------------------------------------------------

    def status(self, id: int) -> SocketStatus:
        """Say what an id is that no live socket of this process has."""
        status = sequence.status(id, self._bus.peers.known)
        if status is SocketStatus.UNKNOWN_NODE and self._owners.may_live(id):
            return SocketStatus.ELSEWHERE  # of a worker that we may hear of any moment
        return status

    def send(
        self, id: int, is_binary: bool, data: bytes, flags: int = 0, key: Key = None
    ) -> SendResult:
        """Send a message to the worker that has the socket."""
        if not self._owners.may_live(id):
            return SendResult.GONE
        destination = id >> SEQUENCE_BITS
        if not _fits(len(data) + OVERHEAD) or not self._has_room(destination):
            return SendResult.DROPPED
        message = encode_one(One(BINARY if is_binary else TEXT, id, data, flags, key))
        self._bus.send(destination, message)
        return SendResult.QUEUED

    def disconnect(self, id: int, payload: bytes) -> None:
        """Have the worker that has the socket begin the close handshake."""
        if self._owners.may_live(id):
            self._bus.send(id >> SEQUENCE_BITS, encode_one(One(CLOSE, id, payload)))

    async def deliver(
        self, id: int, is_binary: bool, data: bytes, flags: int = 0, key: Key = None
    ) -> SendResult:
        """Send a message and return what the worker that has the socket did with it.

        `QUEUED` means that it has not answered within five seconds. In any loop.
        """
        return await self._owners.deliver(BINARY if is_binary else TEXT, id, data, flags, key)

    def publish(
        self, channel: bytes, is_binary: bool, data: bytes, excluded: Collection[int], key: Key
    ) -> None:
        """Send a message to the members of a set in all other workers that have some."""
        # Those left out here are nobody's business there.
        far = tuple(id for id in excluded if id >> SEQUENCE_BITS != self._bus.address)
        message = encode_many(Many(BINARY if is_binary else TEXT, data, far, key))
        if _fits(len(message)):
            self._has_room()  # if there is still none, the bus drops the oldest and tells of it
            self._bus.publish(channel, message)

    def close(self, channel: bytes, payload: bytes) -> None:
        """Close the members of a set in all other workers."""
        self._bus.publish(channel, encode_many(Many(CLOSE, payload)))

    async def drain(self) -> None:
        """Wait until everything is with the bus."""
        await self._bus.drain()

    def watch(self, channel: bytes) -> None:
        """A set has got or lost its only member.

        Who joins and leaves in other threads may come here in another order: what is so in the end
        is looked up later, once.
        """
        with self._lock:
            is_first = not self._changed
            self._changed.add(channel)
        if is_first:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the bus with it
                self._loop.call_soon_threadsafe(self._announce)

    def _announce(self) -> None:
        """Ask for what is published for sets that have members here, and for nothing else."""
        with self._lock:
            changed, self._changed = self._changed, set()
        for channel in changed:
            (self._bus.subscribe if self._set_of(channel) else self._bus.unsubscribe)(channel)

    def _has_room(self, destination: int | None = None) -> bool:
        """False when the bus is so far behind that something would be lost.

        A plain thread waits a moment first. A loop has others to serve, and may `drain`.
        """
        until = 0.0
        while backlog(self._bus, destination) >= OUTBOX_LIMIT // 2:
            if asyncio._get_running_loop() is not None:
                return True
            until = until or time.monotonic() + _PATIENCE
            if time.monotonic() > until:
                return False
            time.sleep(0.001)
        return True

    # --- from others: what the bus calls -----------------------------------------------------

    def received(self, data: bytes) -> None:
        """Do what another worker asks for one socket, or hear what it did."""
        other = self._others.get(data[0]) if data else None
        if other is not None:
            other(data)
            return
        message = decode_sent(data)
        if isinstance(message, Answer):
            self._owners.hear(message.token, message.result)
            return
        result = SendResult.GONE
        if message.id >> SEQUENCE_BITS == self._bus.address:  # otherwise it would go round
            result = _do(message)
        if message.token:
            self._bus.send(message.address, encode_answer(Answer(message.token, result)))

    def published(self, channel: bytes, data: bytes) -> None:
        """Send to the members here what another worker has sent to a group or a room."""
        if channel == NEWS:
            self._handle.roster.news(data)
            return
        if channel[:1] == TOPIC:
            self._handle.telling.heard(channel, data)
            return
        message = decode_published(data)
        found = self._set_of(channel)
        if found is None:
            return
        if message.what == CLOSE:
            code, reason = int.from_bytes(message.data[:2], "big"), message.data[2:].decode()
            for socket in found:
                socket.disconnect(reason, code)
        else:
            found.take(message.data, message.what == BINARY, message.excluded, message.key)

    def gap(self, count: int) -> None:
        """The bus has lost something."""
        self.lost += count
        self._handle.roster.gap()
        self._handle.telling.lost(count)

    def came(self, address: int) -> None:
        """A worker is there."""
        self._handle.roster.came(address)

    def left(self, address: int) -> None:
        """A worker has ended."""
        self.census.left(address)
        self._handle.roster.left(address)

    def _describe(self, data: bytes) -> None:
        """Tell who asks what is here, of groups and rooms the largest."""
        token, address = decode_question(data)
        groups = {
            name if port is None else f"{name} on port {port}": len(group)
            for (port, name), group in list(self._handle.groups.items())
        }
        looked_at, left_out = self._handle.list_rooms(_LOOKED_AT)
        rooms = {room.name: len(room) for room in looked_at}
        left_out += max(0, len(groups) - _SHOWN) + max(0, len(rooms) - _SHOWN)
        sockets = sum(groups.values())
        said = Description(os.getpid(), sockets, _largest(groups), _largest(rooms), left_out)
        self._bus.send(address, encode_description(token, said))

    def _set_of(self, channel: bytes) -> SocketSet | None:
        name, port, is_room = name_of(channel)
        if is_room:
            return self._handle.find_room(name)
        return self._handle.groups.get((port, name))


def _fits(size: int) -> bool:
    """False, and a line in the log, for a message of so many bytes that no bus takes."""
    if size > LARGEST_MESSAGE:
        logger.warning(
            "a message of %d bytes is too large for other workers, which take 64 MiB", size
        )
    return size <= LARGEST_MESSAGE


def _largest(counts: dict[str, int]) -> dict[str, int]:
    return dict(heapq.nlargest(_SHOWN, counts.items(), key=lambda item: item[1]))


def _do(message: One) -> SendResult:
    """Do what is asked for a socket of this worker, and say what became of it."""
    socket = WebSocket(message.id)
    if message.what == CLOSE:
        is_gone = socket.is_dead()
        socket.disconnect(message.data[2:].decode(), int.from_bytes(message.data[:2], "big"))
        return SendResult.GONE if is_gone else SendResult.OK
    return socket.send(
        message.data,
        is_text=message.what == TEXT,
        flags=ConnectionFlags(message.flags) if message.flags else ConnectionFlags.NONE,
        key=message.key,
    )
