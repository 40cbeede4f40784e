"""CPU of a worker for what it says to a broker and hears from it, through the clients in Python.

A plain thread plays the other side; only the time of the loop's own thread is counted.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import uvloop

from benchmarks.proc import read_cpu
from wsgroups.cluster.counting import Following
from wsgroups.cluster.letters import decode
from wsgroups.cluster.nats import NatsSession
from wsgroups.cluster.redis import RedisSession
from wsgroups.cluster.session import Session

from . import wires
from .brokers import Broker
from .costs import LARGE, PACED, SMALL, Pace, Passing, Price
from .measure_brokers import RUNS, SUBJECT, make_letter, resident
from .wires import NatsWire, RedisWire, Wire

COUNT = 20_000  # messages together
COUNT_ALONE = 500
RATES = 1_000, 3_000, 10_000, 30_000  # messages a second
APART = 0.001  # seconds between messages that travel alone
GATHERED = 100  # messages that are given to the client before it waits
SUBSCRIPTIONS = 20_000
_NOTHING = Price(0.0, 0.0)
_SUBJECT = SUBJECT.encode()


class Client:
    """A worker's connection to a broker, which follows the numbers of what comes.

    Attributes:
        session: the connection.
        got: messages that have come.
    """

    def __init__(self) -> None:
        self.session: Session
        self.got = 0
        self._following = Following(0)

    def take(self, subject: bytes, payload: bytes) -> None:
        """Something has come."""
        self._following.take(subject, decode(payload))
        self.got += 1

    async def publish(self, payload: bytes, count: int) -> None:
        """Publish so many letters."""
        size = len(payload)
        await self.session.publish([(_SUBJECT, make_letter(size)) for _ in range(count)])


Connect = Callable[[Broker], AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def nats_client(broker: Broker) -> AsyncIterator[Client]:
    """What the bus over NATS is made of."""
    client = Client()
    client.session = await NatsSession.open(f"nats://127.0.0.1:{broker.port}", client.take)
    yield client
    await client.session.close()


@asynccontextmanager
async def redis_client(broker: Broker) -> AsyncIterator[Client]:
    """What the bus over Redis is made of."""
    client = Client()
    client.session = await RedisSession.open(f"redis://127.0.0.1:{broker.port}", client.take)
    yield client
    await client.session.close()


def measure_interest(broker: Broker, name: str) -> float:
    """Return the bytes of a worker for each subscription, in its client; in a new process."""
    connect, _ = nats_and_redis()[name]
    subjects = [b"wsgroups.on.%040x" % number for number in range(SUBSCRIPTIONS)]

    async def subscribe() -> float:
        async with connect(broker) as client:
            before = resident()
            await client.session.subscribe(subjects)
            return (resident() - before) / SUBSCRIPTIONS

    return uvloop.run(subscribe())


def measure_client(broker: Broker, connect: Connect, wire: Wire) -> dict[str, Passing]:
    """Return CPU µs of a client, `together` and `alone`; the broker's part is left at nothing."""
    sends: dict[str, list[float]] = {"together": [], "alone": []}
    receives: dict[str, list[float]] = {"together": [], "alone": []}
    for size in (SMALL, LARGE):
        payload = make_letter(size)
        for way in sends:
            runs = [
                uvloop.run(_measure(broker, connect, wire, payload, way == "alone"))
                for _ in range(RUNS)
            ]
            sends[way].append(min(send for send, _ in runs))
            receives[way].append(min(receive for _, receive in runs))
    return {
        way: Passing(_NOTHING, _NOTHING, Price(*sends[way]), Price(*receives[way])) for way in sends
    }


def measure_paces(broker: Broker, name: str, connect: Connect) -> tuple[Pace, ...]:
    """Return what messages cost that come one by one; `name` is that of the broker's wire."""
    return tuple(
        _best([uvloop.run(_pace(broker, name, connect, rate)) for _ in range(RUNS)])
        for rate in RATES
    )


def _best(runs: list[Pace]) -> Pace:
    return Pace(
        max(run.rate for run in runs),
        min(run.receive for run in runs),
        min(run.broker for run in runs),
    )


async def _pace(broker: Broker, name: str, connect: Connect, rate: int) -> Pace:
    """From another process: a thread of this one would have to wait for the interpreter."""
    count = rate // 2
    async with connect(broker) as client:
        await client.session.subscribe([_SUBJECT])
        await asyncio.sleep(0.1)
        words = (name, broker.port, rate, count, PACED)
        command = [sys.executable, "-m", "benchmarks.scale.pacer", *map(str, words)]
        cpu = read_cpu(broker.pid)
        with subprocess.Popen(command, stdout=subprocess.PIPE) as pacer:
            started = time.thread_time()  # a fork is not what a message costs
            while client.got < count and pacer.poll() in (None, 0):
                await asyncio.sleep(0.05)
            assert pacer.stdout is not None
            reached = float(pacer.stdout.read())
        if client.got < count:
            raise RuntimeError("messages are lost on loopback")
        spent, cpu = time.thread_time() - started, read_cpu(broker.pid).since(cpu)
    return Pace(reached, spent * 1e6 / count, cpu.seconds * 1e6 / count)


def nats_and_redis() -> dict[str, tuple[Connect, Wire]]:
    """Return the clients that there are."""
    return {"nats": (nats_client, NatsWire()), "redis": (redis_client, RedisWire())}


async def _measure(
    broker: Broker, connect: Connect, wire: Wire, payload: bytes, is_alone: bool
) -> tuple[float, float]:
    async with connect(broker) as client:
        await client.publish(payload, 1)
        await client.session.sync()
        send = await _sending(client, payload, is_alone)
        await client.session.sync()
        await client.session.subscribe([_SUBJECT])
        await asyncio.sleep(0.1)
        before, count = client.got, COUNT_ALONE if is_alone else COUNT
        other = threading.Thread(
            target=_speak, args=(broker, wire, wire.publish(SUBJECT, payload), count, is_alone)
        )
        began = time.thread_time()
        other.start()
        while client.got - before < count:
            await asyncio.sleep(0.05)
        spent = time.thread_time() - began
        other.join()
    return send, spent * 1e6 / count


async def _sending(client: Client, payload: bytes, is_alone: bool) -> float:
    """CPU µs of a publish. What waiting between them costs is measured too, and taken off."""
    if not is_alone:
        began = time.thread_time()
        for _ in range(COUNT // GATHERED):
            await client.publish(payload, GATHERED)
            await client.session.sync()
        return (time.thread_time() - began) * 1e6 / COUNT
    began = time.thread_time()
    for _ in range(COUNT_ALONE):
        await asyncio.sleep(APART)
    idle = time.thread_time() - began
    began = time.thread_time()
    for _ in range(COUNT_ALONE):
        await asyncio.sleep(APART)
        await client.publish(payload, 1)
    return (time.thread_time() - began - idle) * 1e6 / COUNT_ALONE


def _speak(broker: Broker, wire: Wire, message: bytes, count: int, is_alone: bool) -> None:
    with socket.create_connection(("127.0.0.1", broker.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(wire.greeting())
        if is_alone:
            for _ in range(count):
                sock.sendall(message)
                time.sleep(APART)
        else:
            for _ in range(count // GATHERED):
                sock.sendall(message * GATHERED)
        wires.settle(sock, wire)  # closing early might lose something
