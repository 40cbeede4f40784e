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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import nats
import redis.asyncio
import uvloop

from benchmarks.proc import read_cpu

from . import wires
from .brokers import Broker
from .costs import LARGE, PACED, SMALL, Pace, Passing, Price
from .measure_brokers import RUNS, SUBJECT
from .wires import NatsWire, RedisWire, Wire

COUNT = 20_000  # messages together
COUNT_ALONE = 500
RATES = 1_000, 3_000, 10_000, 30_000  # messages a second
APART = 0.001  # seconds between messages that travel alone
GATHERED = 100  # messages that are given to the client before it waits
_NOTHING = Price(0.0, 0.0)

Publish = Callable[[list[bytes]], Awaitable[None]]


class Client:
    """What is to be measured: a client of a broker.

    Attributes:
        publish: give it some messages; they are on their way a moment later.
        settle: wait until the broker has them.
        got: messages that have come.
    """

    def __init__(self, publish: Publish, settle: Callable[[], Awaitable[object]]) -> None:
        self.publish = publish
        self.settle = settle
        self.got = 0


Connect = Callable[[Broker], AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def nats_client(broker: Broker) -> AsyncIterator[Client]:
    """nats-py, which tells its callback of each message."""
    connection = await nats.connect(f"nats://127.0.0.1:{broker.port}", no_echo=True)

    async def publish(messages: list[bytes]) -> None:
        for message in messages:
            await connection.publish(SUBJECT, message)

    client = Client(publish, connection.flush)

    async def count(_: object) -> None:
        client.got += 1

    await connection.subscribe(SUBJECT, cb=count)
    await connection.flush()
    try:
        yield client
    finally:
        await connection.close()


@asynccontextmanager
async def redis_client(broker: Broker) -> AsyncIterator[Client]:
    """redis-py: one connection to publish, many messages in a pipeline, and one that listens."""
    connection = redis.asyncio.Redis(host="127.0.0.1", port=broker.port)

    async def publish(messages: list[bytes]) -> None:
        pipeline = connection.pipeline(transaction=False)
        for message in messages:
            pipeline.publish(SUBJECT, message)
        await pipeline.execute()

    async def settle() -> None:
        """It has answered already."""

    client = Client(publish, settle)
    listening = connection.pubsub(ignore_subscribe_messages=True)
    await listening.subscribe(SUBJECT)

    async def count() -> None:
        async for _ in listening.listen():
            client.got += 1

    task = asyncio.create_task(count())
    try:
        yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await listening.aclose()  # type: ignore[no-untyped-call]
        await connection.aclose()


def measure_client(broker: Broker, connect: Connect, wire: Wire) -> dict[str, Passing]:
    """Return CPU µs of a client, `together` and `alone`; the broker's part is left at nothing."""
    sends: dict[str, list[float]] = {"together": [], "alone": []}
    receives: dict[str, list[float]] = {"together": [], "alone": []}
    for size in (SMALL, LARGE):
        payload = b"x" * size
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
    return Pace(runs[0].rate, min(run.receive for run in runs), min(run.broker for run in runs))


async def _pace(broker: Broker, name: str, connect: Connect, rate: int) -> Pace:
    """From another process: a thread of this one would have to wait for the interpreter."""
    count = rate // 2
    async with connect(broker) as client:
        words = (name, broker.port, rate, count, PACED)
        command = [sys.executable, "-m", "benchmarks.scale.pacer", *map(str, words)]
        cpu = read_cpu(broker.pid)
        with subprocess.Popen(command) as pacer:
            started = time.thread_time()  # a fork is not what a message costs
            while client.got < count and pacer.poll() in (None, 0):
                await asyncio.sleep(0.05)
        if client.got < count:
            raise RuntimeError("messages are lost on loopback")
        spent, cpu = time.thread_time() - started, read_cpu(broker.pid).since(cpu)
    return Pace(rate, spent * 1e6 / count, cpu.seconds * 1e6 / count)


def nats_and_redis() -> dict[str, tuple[Connect, Wire]]:
    """Return the clients that there are."""
    return {"nats": (nats_client, NatsWire()), "redis": (redis_client, RedisWire())}


async def _measure(
    broker: Broker, connect: Connect, wire: Wire, payload: bytes, is_alone: bool
) -> tuple[float, float]:
    async with connect(broker) as client:
        await client.publish([payload])
        await client.settle()
        send = await _sending(client, payload, is_alone)
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
            await client.publish([payload] * GATHERED)
            await client.settle()
        return (time.thread_time() - began) * 1e6 / COUNT
    began = time.thread_time()
    for _ in range(COUNT_ALONE):
        await asyncio.sleep(APART)
    idle = time.thread_time() - began
    began = time.thread_time()
    for _ in range(COUNT_ALONE):
        await asyncio.sleep(APART)
        await client.publish([payload])
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
