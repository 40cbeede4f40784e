"""Brokers and workers that have more to do than they can: nobody is taken for gone, or goes on."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.cluster.brokers import BROKERS, Broker
from tests.cluster.conftest import Join
from tests.cluster.recording import Recorder
from tests.support import soon, until
from wsgroups.cluster import keeper as keeper_module
from wsgroups.cluster import neighbours as neighbours_module
from wsgroups.cluster import session as session_module
from wsgroups.cluster.broker import BrokerBus
from wsgroups.cluster.kinds import open_bus, session_of


async def test_who_has_no_time_for_signs_of_life_is_there_while_messages_come(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "BEAT", 0.1)
    monkeypatch.setattr(neighbours_module, "GONE_AFTER", 0.5)
    a, from_a = await join(1)
    b, _from_b = await join(2)
    await until(lambda: a.peers.known.keys() == {2})
    monkeypatch.setattr(b, "beat", lambda: None)
    for number in range(30):
        b.send(1, b"%d" % number)
        await asyncio.sleep(0.05)
        assert a.peers.known.keys() == {2}
    await until(lambda: a.peers.known == {})
    assert from_a.got == [(None, b"%d" % number) for number in range(30)]


@pytest.mark.parametrize("kind", BROKERS)
async def test_others_have_the_loop_however_much_has_come(kind: str) -> None:
    got = most = 0

    def count(subject: bytes, payload: bytes) -> None:
        nonlocal got
        got += 1

    with BROKERS[kind]() as broker:
        open_session = session_of(broker.url)
        receiving = await soon(open_session(broker.url, count))
        sending = await soon(open_session(broker.url, lambda *_: None))
        await soon(receiving.subscribe([b"x"]))
        publishing = asyncio.ensure_future(sending.publish([(b"x", b"data")] * 10_000))
        while got < 10_000:
            before = got
            await asyncio.sleep(0)
            most = max(most, got - before)
        await soon(publishing)
        await receiving.close()
        await sending.close()
    assert most <= 200


class Slow(Recorder):
    """Takes its time over each message."""

    def received(self, data: bytes) -> None:
        super().received(data)
        time.sleep(0.0001)


async def much_for_a_slow_one(join: Join, count: int) -> tuple[BrokerBus, BrokerBus, Recorder]:
    """Have one worker send so many messages to another one, which is slow."""
    a, _from_a = await join(1)
    b, slow = await join(2, recorder=Slow())
    await until(lambda: 2 in a.peers.known)
    for number in range(count):
        a.send(2, b"%d" % number)
    return a, b, slow


async def test_a_worker_that_is_behind_keeps_its_broker(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it reads says that the broker is there, though its answer lies behind all of it."""
    monkeypatch.setattr(keeper_module, "BEAT", 0.1)
    monkeypatch.setattr(session_module, "_ANSWER_WITHIN", 0.2)
    _a, _b, slow = await much_for_a_slow_one(join, 10_000)
    await until(lambda: len(slow.got) + slow.lost >= 10_000)
    assert slow.lost == 0
    assert slow.got == [(None, b"%d" % number) for number in range(10_000)]


async def test_who_has_no_time_to_read_does_not_go_on_sending(join: Join) -> None:
    a, b, slow = await much_for_a_slow_one(join, 10_000)
    await soon(a.sync())  # the broker has them
    for _ in range(18):  # more than may be unconfirmed
        b.send(3, bytes(64 << 10))
    await soon(b.drain())
    assert len(slow.got) == 10_000


async def test_who_is_to_read_before_it_sends_more_gives_signs_of_life(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "BEAT", 0.1)
    monkeypatch.setattr(neighbours_module, "GONE_AFTER", 1.0)
    a, b, _slow = await much_for_a_slow_one(join, 25_000)
    await soon(a.drain())
    for _ in range(18):
        b.send(3, bytes(64 << 10))
    draining = asyncio.ensure_future(b.drain())
    while not draining.done():
        await asyncio.sleep(0.01)
        assert 2 in a.peers.known


async def test_who_waits_does_not_wait_for_what_comes_meanwhile(join: Join) -> None:
    """There may never be a moment in which nothing waits."""
    a, _from_a = await join(1)

    async def talk() -> None:
        while True:
            for _ in range(100):
                a.send(3, bytes(10_000))  # four times what is written in a turn
            await asyncio.sleep(0)

    talking = asyncio.ensure_future(talk())
    try:
        await until(lambda: a.backlog > 1 << 20)
        for _ in range(5):
            await soon(a.drain())
            assert a.backlog
            await soon(a.sync())
    finally:
        talking.cancel()


async def test_who_waits_waits_for_what_goes_first_as_well(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _from_a = await join(1)
    await soon(a.sync())
    session = a._writer.session
    assert session is not None
    publish, gate = session.publish, asyncio.Event()
    published: list[bytes] = []

    async def publish_later(payloads: list[tuple[bytes, bytes]]) -> None:
        await gate.wait()
        await publish(payloads)
        await asyncio.sleep(0.05)
        published.extend(subject for subject, _ in payloads)

    monkeypatch.setattr(session, "publish", publish_later)
    a.send(3, b"x")
    await asyncio.sleep(0.01)  # it is in the middle of that
    a.beat()
    draining = asyncio.ensure_future(a.drain())
    await asyncio.sleep(0)
    gate.set()
    await soon(draining)
    assert published == [a._subject_of(3), a._everybody]


class Relay:
    """Stands between workers and a Redis server.

    Attributes:
        port: where it listens.
        kills: the next connection on which one of these commands is sent is dead from then on.
    """

    def __init__(self) -> None:
        self.port = 0
        self.kills: list[bytes] = []
        self._to = 0
        self._serving = 0
        self._end = asyncio.Event()

    @asynccontextmanager
    async def before(self, broker: Broker) -> AsyncIterator[None]:
        self._to = broker.port
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            self._end.set()
            await until(lambda: not self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, commands = await asyncio.open_connection("127.0.0.1", self._to)
        tasks = [
            asyncio.ensure_future(self._pass_on(reader, commands, self.kills)),
            asyncio.ensure_future(self._pass_on(answers, writer, [])),
            asyncio.ensure_future(self._end.wait()),
        ]
        self._serving += 1
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in (commands, writer):
            end.close()
            await asyncio.wait([asyncio.ensure_future(end.wait_closed())])
        self._serving -= 1

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kills: list[bytes]
    ) -> None:
        while data := await reader.read(1 << 16):
            if any(word in data for word in kills):
                kills.clear()
                await self._end.wait()
            writer.write(data)


async def test_a_dead_line_for_what_goes_out_is_noticed_while_much_comes_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper_module, "BEAT", 0.1)
    monkeypatch.setattr(session_module, "_ANSWER_WITHIN", 0.3)
    relay = Relay()
    with BROKERS["redis"]() as broker:
        async with relay.before(broker):
            a, b = open_bus(broker.url, 1), open_bus(f"redis://127.0.0.1:{relay.port}", 2)
            heard = Recorder()
            await soon(a.start(Recorder()))
            await soon(b.start(heard))
            await until(lambda: 2 in a.peers.known)
            relay.kills.append(b"PUBLISH")
            async with asyncio.timeout(5):
                while b.is_connected:
                    a.send(2, b"x")
                    await asyncio.sleep(0.01)
            assert len(heard.got) > 10
            await until(lambda: b.is_connected)
            await b.stop()
            await a.stop()
