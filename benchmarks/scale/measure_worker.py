"""What a worker needs by itself: the hub of its host, and tables that grow with the cluster."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

import uvloop

from benchmarks.layout import RESULTS
from benchmarks.proc import read_cpu
from wsgroups import Handle, HandlerStatus, Request, WebSocket, testing
from wsgroups.cluster.counting import Following
from wsgroups.cluster.letters import Kind, Letter
from wsgroups.cluster.peers import Peers
from wsgroups.cluster.unix import UnixBus

from .costs import LARGE, SMALL, Passing, Price, WorkerCosts
from .measure_brokers import in_new_process, resident

CHANNEL = b"r0123456789abcdef"
SUBSCRIBERS = 7  # beside the sender: a host of eight workers
TOGETHER, COUNT, COUNT_ALONE = 100, 10_000, 1_000
RUNS = 5
ENTRIES, SENDERS = 200_000, 50
PEERS = 8_192

Say = Callable[[str], None]


class Counter:
    """Receives, and counts."""

    def __init__(self) -> None:
        self.got = 0

    def received(self, data: bytes) -> None:
        """As of `Receiver`."""
        self.got += 1

    def published(self, channel: bytes, data: bytes) -> None:
        """As of `Receiver`."""
        self.got += 1

    def gap(self, count: int) -> None:
        """As of `Receiver`."""
        raise RuntimeError(f"{count} messages are lost: what is measured is not what was meant")

    def came(self, address: int) -> None:
        """As of `Receiver`."""

    def left(self, address: int) -> None:
        """As of `Receiver`."""


# --- the hub --------------------------------------------------------------------------------


class Subscribers(threading.Thread):
    """So many workers in one thread, whose CPU time is that of receiving."""

    def __init__(self, path: str, count: int) -> None:
        super().__init__()
        self.counters = [Counter() for _ in range(count)]
        self.ready = threading.Event()
        self.spent = 0.0
        self._path = path
        self._loop: asyncio.AbstractEventLoop | None = None
        self._enough: asyncio.Event | None = None
        self._error: Exception | None = None

    @property
    def got(self) -> int:
        """Messages that have come to all."""
        return sum(counter.got for counter in self.counters)

    def run(self) -> None:
        """Be there until told otherwise; what goes wrong is raised by `wait`."""
        try:
            uvloop.run(self._serve())
        except Exception as error:
            self._error = error
        finally:
            self.ready.set()

    def wait(self) -> None:
        """Wait until all have subscribed."""
        self.ready.wait()
        if self._error is not None:
            raise self._error

    async def _serve(self) -> None:
        self._loop, self._enough = asyncio.get_running_loop(), asyncio.Event()
        buses = [UnixBus(self._path, number) for number in range(1, len(self.counters) + 1)]
        for bus, counter in zip(buses, self.counters, strict=True):
            await bus.start(counter)
            bus.subscribe(CHANNEL)
            await bus.sync()
        began = time.thread_time()
        self.ready.set()
        await self._enough.wait()
        self.spent = time.thread_time() - began
        for bus in buses:
            await bus.stop()

    def finish(self) -> float:
        """End; return the CPU seconds since all had subscribed."""
        assert self._loop is not None
        assert self._enough is not None
        self._loop.call_soon_threadsafe(self._enough.set)
        self.join()
        return self.spent


def measure_hub(window: int, count: int, subscribers: int, size: int) -> tuple[float, float, float]:
    """Return CPU µs a message: of the hub, of the sender, of all receivers together."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/hub"
        command = [sys.executable, "-m", "benchmarks.scale.keeper", path]
        keeper = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert keeper.stdout is not None
            if keeper.stdout.readline() != "ready\n":
                raise RuntimeError("the hub does not start; what it wrote says why")
            return uvloop.run(_pass(path, keeper.pid, window, count, subscribers, b"x" * size))
        finally:
            keeper.terminate()
            keeper.communicate()


async def _pass(
    path: str, hub: int, window: int, count: int, subscribers: int, payload: bytes
) -> tuple[float, float, float]:
    receivers = Subscribers(path, subscribers)
    receivers.start()
    await asyncio.to_thread(receivers.wait)
    bus = UnixBus(path, 0)
    await bus.start(Counter())
    hub_before, began = read_cpu(hub), time.thread_time()
    for sent in range(window, count + 1, window):
        for _ in range(window):
            bus.publish(CHANNEL, payload)
        await bus.sync()
        while receivers.got < sent * subscribers:
            await asyncio.sleep(0.0002)
    own, hub_spent = time.thread_time() - began, read_cpu(hub).since(hub_before).seconds
    await bus.stop()
    theirs = await asyncio.to_thread(receivers.finish)
    return hub_spent * 1e6 / count, own * 1e6 / count, theirs * 1e6 / count


def measure_hub_passing(window: int, count: int) -> Passing:
    """Return all prices of the hub for one way of sending."""
    publish, deliver, send, receive = [], [], [], []
    for size in (SMALL, LARGE):
        none = [measure_hub(window, count, 0, size) for _ in range(RUNS)]
        many = [measure_hub(window, count, SUBSCRIBERS, size) for _ in range(RUNS)]
        publish.append(min(hub for hub, _, _ in none))
        deliver.append((min(hub for hub, _, _ in many) - publish[-1]) / SUBSCRIBERS)
        send.append(min(own for _, own, _ in none))
        receive.append(min(theirs for _, _, theirs in many) / SUBSCRIBERS)
    return Passing(Price(*publish), Price(*deliver), Price(*send), Price(*receive))


# --- tables ---------------------------------------------------------------------------------


def grown(fill: Callable[[], object]) -> float:
    """Return the bytes by which this process grows while something is filled."""
    gc.collect()
    before = resident()
    kept = fill()
    after = resident()
    del kept
    return float(after - before)


def _sequences() -> object:
    """Counts that are followed: of so many senders on each of some channels."""
    following = Following(0)
    for number in range(ENTRIES // SENDERS):
        channel = b"rroom %016x" % number
        for sender in range(SENDERS):
            letter = Letter(Kind.MESSAGE, sender + 5000, 1 << 31, 1 << 20, 1 << 16, 0, 1, b"")
            following.take(channel, letter)
    return following


def _interest() -> object:
    """Names of channels, as the worker's ends of the hub and of a broker keep them."""
    names = [b"rroom %016x" % number for number in range(ENTRIES)]
    return set(names), {b"wsgroups.on.%040x" % at: name for at, name in enumerate(names)}


def measure_peers() -> float:
    """Return the CPU µs for each of many workers that come to be known."""
    return _meet(Peers()) * 1e6 / PEERS


def _meet(peers: Peers) -> float:
    began = time.thread_time()
    for address in range(PEERS):
        peers.come(address, (1 << 46) + address)
    return time.thread_time() - began


def measure_sequences() -> float:
    """Return the bytes of a count that is followed."""
    return grown(_sequences) / ENTRIES


def measure_channels() -> float:
    """Return the bytes of a channel that is asked for."""
    return grown(_interest) / ENTRIES


def measure_peer_bytes() -> float:
    """Return the bytes of a worker that is known."""

    def fill() -> object:
        kept = [Peers() for _ in range(8)]
        for peers in kept:
            _meet(peers)
        return kept

    return grown(fill) / (8 * PEERS)


def measure_room_bytes() -> float:
    """Return the bytes of a room with one member."""
    return asyncio.run(measure_rooms())


async def measure_rooms() -> float:
    """Return the bytes of a room with one member."""
    handle = Handle()

    @handle.get("/")
    def enter(request: Request) -> HandlerStatus:
        request.send_upgrade("member")
        return HandlerStatus.HANDLED

    @handle.websocket("member")
    def ignore(message: str, ws: WebSocket) -> None:
        """Members do not talk."""

    async with testing.start(handle, transport="memory") as app:
        for _ in range(20):
            await app.connect("/")
        sockets = list(handle.group("member"))

        def fill() -> None:
            for number in range(20_000):
                sockets[number // 1000].join(f"room {number:016x}")

        return grown(fill) / 20_000


# --- what other benchmarks have found -------------------------------------------------------


def _benchmark(scenario: str) -> float:
    found = json.loads((RESULTS / "latest.json").read_text())["measurements"]
    values = [
        one["value"]
        for one in found
        if one["peer"] == "wsgroups" and one["scenario"] == scenario and one["value"] is not None
    ]
    return float(statistics.median(values))


def _membership() -> float:
    match = re.search(r"a membership, bytes \| ([\d.]+)", (RESULTS / "rooms.md").read_text())
    assert match is not None, "rooms.md has no membership: python -m benchmarks.rooms"
    return float(match[1])


def measure_worker(say: Say) -> WorkerCosts:
    """Return all of it."""
    say("the hub, messages together")
    together = measure_hub_passing(TOGETHER, COUNT)
    say("the hub, messages alone")
    alone = measure_hub_passing(1, COUNT_ALONE)
    say("tables")
    return WorkerCosts(
        hub_together=together,
        hub_alone=alone,
        sequence_bytes=in_new_process(measure_sequences),
        peer_bytes=in_new_process(measure_peer_bytes),
        peer_come=measure_peers(),
        channel_bytes=in_new_process(measure_channels),
        idle_bytes=_benchmark("idle"),
        echo=_benchmark("echo32-c100-k1"),
        delivery=_benchmark("group1"),
        membership_bytes=_membership(),
        room_bytes=in_new_process(measure_room_bytes),
    )
