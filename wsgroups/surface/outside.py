"""Sending from outside: from a script, a task queue or a cron job that serves no sockets."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, TypeAlias, TypeVar

from wsgroups.closing import CloseCode, close_payload
from wsgroups.cluster.channels import group_channel, room_channel
from wsgroups.cluster.messages import BINARY, CLOSE, TEXT, Key, Many
from wsgroups.cluster.visitor import Visitor
from wsgroups.enums import ConnectionFlags, SendResult
from wsgroups.ids import TICKS_PER_SECOND, WORKER_BITS
from wsgroups.surface.websocket import ids_of, json_of, message_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

VARIABLE = "WSGROUPS_BUS"
"""The environment variable with the URL of the bus, for those who are told no other."""

Excluded: TypeAlias = "SupportsIndex | Iterable[Excluded]"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker, as `Cluster.workers` finds it.

    Attributes:
        node: its machine's number, as in the ids of its sockets.
        worker: its own number on that machine, as in the ids.
        since: when it began, by its machine's clock.
        pid: its process; None when the worker did not answer within five seconds, and the rest is
            empty then.
        sockets: how many are open.
        groups: the largest groups, with the number of their sockets in this worker.
        rooms: the same of rooms.
        left_out: how many groups and rooms there are beside the hundred of each that are named.
    """

    node: int
    worker: int
    since: datetime
    pid: int | None
    sockets: int
    groups: dict[str, int]
    rooms: dict[str, int]
    left_out: int


class Cluster:
    """The sockets of a server that runs with `--bus`, for a process that serves none itself.

    `async with Cluster(url) as cluster` has the verbs below, to be awaited in any loop of any
    thread. `with Cluster(url) as cluster` gives a `BlockingCluster`, which has the same verbs
    without `await`, for scripts.

    Messages that are sent one after the other to one socket arrive in this order. When the server
    restarts, the next message looks for it again.

    Args:
        bus: the URL that the server was given, `unix:/run/app/hub.sock` for example; None: the
            environment variable `WSGROUPS_BUS` has it.

    Raises:
        ValueError: when neither names a bus.
    """

    def __init__(self, bus: str | None = None) -> None:
        bus = bus if bus is not None else os.environ.get(VARIABLE)
        if not bus:
            raise ValueError(
                "which bus? Give the URL that the server was started with, "
                f"unix:/run/app/hub.sock for example, or set {VARIABLE}"
            )
        self._visitor = Visitor(bus)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._blocking: BlockingCluster | None = None

    # --- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Go to the bus.

        Raises:
            BusUnreachableError: when that is not possible, with the reason.
        """
        await self._visitor.open()
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave, once the bus has taken what was sent."""
        self._loop = None
        await self._visitor.close()

    def __enter__(self) -> BlockingCluster:
        """Go to the bus, with a loop in a thread of its own; as `__aenter__`.

        Raises:
            BusUnreachableError: as above.
            RuntimeError: where a loop runs: it would stand still meanwhile.
        """
        self._blocking = BlockingCluster(self)
        return self._blocking

    def __exit__(self, *_: object) -> None:
        """Leave."""
        if self._blocking is not None:
            self._blocking._leave()
            self._blocking = None

    async def _run(self, verb: Coroutine[Any, Any, T]) -> T:
        """Await a verb in the loop that the bus is in."""
        loop = self._loop
        if loop is None:
            verb.close()
            raise RuntimeError("this Cluster is not open: use it within `async with`")
        if loop is asyncio.get_running_loop():
            return await verb
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(verb, loop))

    # --- verbs ------------------------------------------------------------------------------

    async def send(
        self,
        id: SupportsIndex,
        data: str | Buffer,
        is_text: bool | None = None,
        flags: ConnectionFlags = ConnectionFlags.NONE,
        key: Key = None,
    ) -> SendResult:
        """Send one message to the socket of an id, wherever it is.

        Args:
            id: as of `ws.id`.
            data: str goes as text, bytes-like as binary.
            is_text: overrides either way; bytes sent as text must be UTF-8.
            flags: what to do with the connection afterwards.
            key: as of `WebSocket.send`.

        Returns:
            SendResult: what the worker that has the socket did: `OK`, `BUFFERED`, `DROPPED`, or
            `GONE` when there is no such socket any more; `QUEUED` when it has not answered within
            five seconds.

        Raises:
            BusUnreachableError: when the bus is lost and cannot be found again.
        """
        is_binary, payload, checked = message_of(data, is_text, key)
        what = BINARY if is_binary else TEXT
        return await self._run(self._visitor.deliver(what, index(id), payload, int(flags), checked))

    async def send_json(self, id: SupportsIndex, value: Any, key: Key = None) -> SendResult:
        """Send `value` as JSON text (orjson) to the socket of an id; as `send`."""
        return await self.send(id, json_of(value), key=key)

    async def close(
        self, id: SupportsIndex, code: int = CloseCode.NORMAL, reason: str | None = None
    ) -> SendResult:
        """Begin the close handshake with the socket of an id.

        Args:
            id: as of `ws.id`.
            code: 1000-1003, 1007-1014 or 3000-4999.
            reason: cut at 123 bytes, on a character boundary.

        Returns:
            SendResult: `OK`; `GONE` when there is no such socket any more; `QUEUED` when its
            worker has not answered within five seconds.

        Raises:
            ValueError: for a code that may not be sent.
            BusUnreachableError: as of `send`.
        """
        payload = close_payload(int(code), reason)
        return await self._run(self._visitor.deliver(CLOSE, index(id), payload))

    def group(self, name: str, *, port: int | None = None) -> ClusterSet:
        """Return the group of that name in all workers; with `port`, the one of that port."""
        return ClusterSet(partial(self._publish, group_channel(_checked(name), port)))

    def room(self, name: str) -> ClusterSet:
        """Return the room of that name in all workers."""
        return ClusterSet(partial(self._publish, room_channel(_checked(name))))

    async def workers(self) -> list[WorkerInfo]:
        """Ask all workers what they serve; waits for five seconds at most.

        Raises:
            BusUnreachableError: as of `send`.
        """
        found = await self._run(self._visitor.describe())
        return [
            WorkerInfo(
                node=address >> WORKER_BITS,
                worker=address & ((1 << WORKER_BITS) - 1),
                since=datetime.fromtimestamp(since / TICKS_PER_SECOND, UTC),
                pid=said.pid if said is not None else None,
                sockets=said.sockets if said is not None else 0,
                groups=said.groups if said is not None else {},
                rooms=said.rooms if said is not None else {},
                left_out=said.left_out if said is not None else 0,
            )
            for address, (since, said) in sorted(found.items())
        ]

    def _knows_workers(self) -> bool:
        """True unless we are on the bus and have heard of none; from any thread."""
        place = self._visitor._place
        return place is None or bool(place.bus.peers.known)

    async def _publish(self, channel: bytes, message: Many) -> None:
        await self._run(self._visitor.publish(channel, message))


class ClusterSet:
    """A group or a room in all workers, as `Cluster.group` and `Cluster.room` return it."""

    def __init__(self, publish: Callable[[Many], Coroutine[Any, Any, None]]) -> None:
        self._publish = publish

    async def send(
        self,
        data: str | Buffer,
        exclude: Excluded = (),
        is_text: bool | None = None,
        key: Key = None,
    ) -> None:
        """Send one message to every member; returns when the bus has taken it.

        Args:
            data: str goes as text, bytes-like as binary; 64 MiB at most.
            exclude: leaves out an id, or an iterable of ids.
            is_text: overrides the kind of frame.
            key: as of `WebSocket.send`.

        Raises:
            BusUnreachableError: as of `Cluster.send`.
        """
        is_binary, payload, checked = message_of(data, is_text, key)
        what = BINARY if is_binary else TEXT
        await self._publish(Many(what, payload, _excluded(exclude), checked))

    async def send_json(self, value: Any, exclude: Excluded = (), key: Key = None) -> None:
        """Send `value` as JSON text (orjson) to every member; as `send`."""
        await self.send(json_of(value), exclude, key=key)

    async def close(self, code: int = CloseCode.NORMAL, reason: str | None = None) -> None:
        """Begin the close handshake with every member; as `Cluster.close`, without a result."""
        await self._publish(Many(CLOSE, close_payload(int(code), reason)))


class BlockingCluster:
    """What `with Cluster(url)` gives: the verbs of a `Cluster` without `await`.

    From any thread, but not from one in which a loop runs, which would stand still meanwhile. A
    process that forks opens a `Cluster` in each child.
    """

    def __init__(self, cluster: Cluster) -> None:
        _refuse_loops()
        self._cluster = cluster
        self._process = os.getpid()
        self._is_open = True
        self._ended = asyncio.Event()
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(
            target=self._serve, args=(started,), name="wsgroups-cluster", daemon=True
        )
        self._thread.start()
        self._loop = started.result()
        try:
            self._wait(cluster.__aenter__())
        except BaseException:
            self._end()
            raise

    def _serve(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        living = self._live(started)
        try:
            asyncio.run(living)
        except BaseException as error:
            if started.done():
                raise
            living.close()
            started.set_exception(error)  # no descriptor is left for a loop, for example

    async def _live(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        started.set_result(asyncio.get_running_loop())
        await self._ended.wait()

    def _wait(self, verb: Coroutine[Any, Any, T]) -> T:
        try:
            _refuse_loops()
            if os.getpid() != self._process:
                raise RuntimeError("this process was forked: open a Cluster of its own")
            if not self._is_open:
                raise RuntimeError("this Cluster is not open: use it within `with`")
            done = asyncio.run_coroutine_threadsafe(verb, self._loop)
        except BaseException:
            verb.close()
            raise
        try:
            return done.result()
        except BaseException:  # Ctrl-C, too
            done.cancel()
            raise

    def _end(self) -> None:
        self._is_open = False
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _leave(self) -> None:
        if not self._is_open or os.getpid() != self._process:
            return
        try:
            self._wait(self._cluster.__aexit__())
        finally:
            self._end()

    def send(
        self,
        id: SupportsIndex,
        data: str | Buffer,
        is_text: bool | None = None,
        flags: ConnectionFlags = ConnectionFlags.NONE,
        key: Key = None,
    ) -> SendResult:
        """Send one message to the socket of an id; as `Cluster.send`."""
        return self._wait(self._cluster.send(id, data, is_text, flags, key))

    def send_json(self, id: SupportsIndex, value: Any, key: Key = None) -> SendResult:
        """Send `value` as JSON text to the socket of an id; as `Cluster.send`."""
        return self._wait(self._cluster.send_json(id, value, key))

    def close(
        self, id: SupportsIndex, code: int = CloseCode.NORMAL, reason: str | None = None
    ) -> SendResult:
        """Begin the close handshake with the socket of an id; as `Cluster.close`."""
        return self._wait(self._cluster.close(id, code, reason))

    def group(self, name: str, *, port: int | None = None) -> BlockingSet:
        """Return the group of that name in all workers; with `port`, the one of that port."""
        return BlockingSet(self._wait, self._cluster.group(name, port=port))

    def room(self, name: str) -> BlockingSet:
        """Return the room of that name in all workers."""
        return BlockingSet(self._wait, self._cluster.room(name))

    def workers(self) -> list[WorkerInfo]:
        """Ask all workers what they serve; as `Cluster.workers`."""
        return self._wait(self._cluster.workers())

    def _knows_workers(self) -> bool:
        return self._cluster._knows_workers()


class BlockingSet:
    """A group or a room in all workers: a `ClusterSet` without `await`."""

    def __init__(
        self, wait: Callable[[Coroutine[Any, Any, None]], None], found: ClusterSet
    ) -> None:
        self._wait = wait
        self._set = found

    def send(
        self,
        data: str | Buffer,
        exclude: Excluded = (),
        is_text: bool | None = None,
        key: Key = None,
    ) -> None:
        """Send one message to every member; as `ClusterSet.send`."""
        self._wait(self._set.send(data, exclude, is_text, key))

    def send_json(self, value: Any, exclude: Excluded = (), key: Key = None) -> None:
        """Send `value` as JSON text to every member; as `ClusterSet.send`."""
        self._wait(self._set.send_json(value, exclude, key))

    def close(self, code: int = CloseCode.NORMAL, reason: str | None = None) -> None:
        """Begin the close handshake with every member."""
        self._wait(self._set.close(code, reason))


def _checked(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a group or room is a str, not {type(name).__name__}")
    return name


def _excluded(exclude: Excluded) -> tuple[int, ...]:
    if not isinstance(exclude, SupportsIndex | Iterable):
        raise TypeError(
            f"exclude takes an id, or an iterable of ids, not {type(exclude).__name__}; "
            "leave it out when all are meant"
        )
    return tuple(ids_of(exclude))


def _refuse_loops() -> None:
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "a loop runs in this thread and would stand still: use `async with Cluster(...)`"
        )
