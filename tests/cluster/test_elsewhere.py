"""A Handle on a bus, with another worker played by the test."""

import asyncio
import logging
import os
import random
import threading
from collections.abc import AsyncIterator

import pytest

from tests.cluster.recording import Recorder
from tests.support import Gate, quiet_handle, soon, turns, until
from wsgroups import Handle, PresenceEvent, SendResult, WebSocket, testing
from wsgroups.cluster.changes import (
    CHANGES,
    GUARD,
    SNAPSHOT,
    Guarding,
    decode_changes,
    decode_guarding,
    encode_changes,
    encode_guarding,
)
from wsgroups.cluster.channels import NEWS, group_channel, room_channel
from wsgroups.cluster.describing import decode_description, encode_question
from wsgroups.cluster.exchange import Exchange
from wsgroups.cluster.local import LocalBus
from wsgroups.cluster.messages import (
    BINARY,
    CLOSE,
    TEXT,
    Answer,
    Many,
    One,
    decode_published,
    decode_sent,
    encode_answer,
    encode_many,
    encode_one,
)
from wsgroups.errors import DuplicateHandlerError, HandlerSignatureError
from wsgroups.ids import SEQUENCE_BITS, sequence

OTHER = 5  # the other worker's address


class World:
    """This process on a bus, and another worker that sends what a test wants sent."""

    def __init__(self, handle: Handle) -> None:
        exchange = Exchange()
        self.handle = handle
        self.bus = LocalBus(exchange, sequence.address, sequence.begun)
        self.other = LocalBus(exchange, OTHER, sequence.begun)
        self.recorder = Recorder()

    async def settle(self) -> None:
        for _ in range(3):
            await turns()  # who has come and gone is announced in the next one
            await soon(self.bus.sync())
            await soon(self.other.sync())

    def far_id(self) -> int:
        """Return an id that the other worker may have given out."""
        return OTHER << SEQUENCE_BITS | sequence.now


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(quiet_handle())
    await world.bus.start(world.handle.join_bus(world.bus))
    await world.other.start(world.recorder)
    yield world
    world.handle.leave_bus()
    await world.bus.stop()
    await world.other.stop()


async def test_without_members_nothing_is_asked_for(world: World) -> None:
    gate = Gate(world.handle)
    async with testing.start(world.handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        room = room_channel("chess")
        world.other.publish(room, encode_many(Many(TEXT, b"early")))
        await world.settle()
        ws.join("chess")
        await world.settle()
        world.other.publish(room, encode_many(Many(TEXT, b"now")))
        await client.expect("now")
        ws.leave("chess")
        await world.settle()
        world.other.publish(room, encode_many(Many(TEXT, b"late")))
        world.other.publish(group_channel("room", None), encode_many(Many(BINARY, b"all")))
        await client.expect(b"all")
        await client.expect_silence()


async def test_a_room_without_members_here_is_sent_to_others(world: World) -> None:
    world.other.subscribe(room_channel("chess"))
    far, near = world.far_id(), sequence.next()
    assert world.handle.room("chess").send("hello", exclude=[far, near], key="k") == 0
    await world.settle()
    ((channel, data),) = world.recorder.got
    assert channel == room_channel("chess")
    assert decode_published(data) == Many(TEXT, b"hello", (far,), "k")


async def test_what_an_id_is_told_of(world: World) -> None:
    far = WebSocket(world.far_id())
    assert far.status.name == "ELSEWHERE"
    assert not far.is_dead()
    assert far.send(b"data", key=7) is SendResult.QUEUED
    far.disconnect("bye", 4000)
    await world.settle()
    assert [decode_sent(data) for _, data in world.recorder.got] == [
        One(BINARY, far.id, b"data", key=7),
        One(CLOSE, far.id, (4000).to_bytes(2, "big") + b"bye"),
    ]
    await world.other.stop()
    assert far.send("x") is SendResult.GONE
    assert await far.deliver("x") is SendResult.GONE
    assert far.status.name == "UNKNOWN_NODE"
    assert far.is_dead()


async def test_a_thread_s_message_to_a_set_goes_to_the_bus_however_far_behind_that_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it drops then it counts, and tells."""
    monkeypatch.setattr("wsgroups.surface.elsewhere._PATIENCE", 0.05)
    monkeypatch.setattr(LocalBus, "backlog", 100 << 20)
    world.other.subscribe(room_channel("chess"))
    sending = asyncio.to_thread(world.handle.room("chess").send, "hello")
    assert await soon(sending) == 0
    far = WebSocket(world.far_id())
    assert await soon(asyncio.to_thread(far.send, "x")) is SendResult.DROPPED
    await world.settle()
    ((_, data),) = world.recorder.got
    assert decode_published(data) == Many(TEXT, b"hello", (), None)


async def test_what_no_bus_takes_is_logged_and_not_raised(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsgroups.surface.elsewhere.LARGEST_MESSAGE", 1 << 17)
    world.other.subscribe(room_channel("chess"))
    excluded = [OTHER << SEQUENCE_BITS | number for number in range(20_000)]
    assert world.handle.room("chess").send("hello", exclude=excluded) == 0
    assert WebSocket(world.far_id()).send(bytes(1 << 17)) is SendResult.DROPPED
    await world.settle()
    assert world.recorder.got == []
    assert caplog.text.count("is too large for other workers") == 2


async def test_nobody_is_dead_who_may_have_come_a_moment_ago(world: World) -> None:
    """What the id is said to be agrees with what becomes of a message to it."""
    unknown = WebSocket(9 << SEQUENCE_BITS | sequence.now)
    assert unknown.status.name == "ELSEWHERE"
    assert not unknown.is_dead()
    assert unknown.send("x") is SendResult.QUEUED
    another_node = WebSocket(640 << SEQUENCE_BITS | sequence.now)
    assert another_node.status.name == "UNKNOWN_NODE"
    assert another_node.is_dead()
    assert another_node.send("x") is SendResult.GONE


async def test_the_application_is_told_what_is_lost(world: World) -> None:
    counts: list[int] = []

    @world.handle.messages_lost()
    async def on_lost(count: int) -> None:
        await asyncio.sleep(0)
        counts.append(count)

    with pytest.raises(DuplicateHandlerError, match="messages_lost has a function already"):
        world.handle.messages_lost()(on_lost)
    with pytest.raises(HandlerSignatureError):
        Handle().messages_lost()(lambda: None)
    world.bus._inbox._limit = 1000
    for _ in range(5):
        world.other.send(world.bus.address, encode_one(One(TEXT, sequence.next(), b"x" * 900)))
    await until(lambda: counts == [4])


async def test_whoever_wants_to_know_is_told(world: World) -> None:
    gate = Gate(world.handle)
    async with testing.start(world.handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        for token, id in ((1, ws.id), (2, ws.id + 1), (3, world.far_id())):
            world.other.send(
                sequence.address, encode_one(One(TEXT, id, b"hello", 0, None, token, OTHER))
            )
        await client.expect("hello")
        await until(lambda: len(world.recorder.got) == 3)
        answers = [decode_sent(data) for _, data in world.recorder.got]
        gone = SendResult.GONE
        assert answers == [Answer(1, SendResult.OK), Answer(2, gone), Answer(3, gone)]


async def test_whoever_asks_is_told_what_is_served(world: World) -> None:
    gate = Gate(world.handle)
    async with testing.start(world.handle) as app:
        pairs = await gate.admit(app, 3)
        for number in range(150):
            pairs[0][1].join(f"room {number}")
        for _, ws in pairs:
            ws.join("all")
        world.handle.room("nobody is in it")
        world.handle.group("of a port", port=8080)
        world.other.send(sequence.address, encode_question(7, OTHER))
        await until(lambda: world.recorder.got)
        token, found = decode_description(world.recorder.got[0][1])
        assert (token, found.pid, found.sockets) == (7, os.getpid(), 3)
        assert found.groups == {"room": 3, "of a port on port 8080": 0}
        assert len(found.rooms) == 100
        assert found.rooms["all"] == 3
        assert found.left_out == 51


async def test_closing_tells_whether_there_was_a_socket(world: World) -> None:
    gate = Gate(world.handle)
    async with testing.start(world.handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        for token, id in ((1, ws.id), (2, ws.id + 1), (3, world.far_id())):
            message = One(CLOSE, id, (4000).to_bytes(2, "big"), token=token, address=OTHER)
            world.other.send(sequence.address, encode_one(message))
        await until(lambda: len(world.recorder.got) == 3)
        answers = [decode_sent(data) for _, data in world.recorder.got]
        gone = SendResult.GONE
        assert answers == [Answer(1, SendResult.OK), Answer(2, gone), Answer(3, gone)]
        await client.wait_closed()


NONSENSE = [
    b"\x60",
    b"\x60" * 8,
    b"\x61\0\0\0\1{}",
    b"",
    b"\x10",
    b"\x01" * 20,
    b"\xff" * 60,
    encode_answer(Answer(77, 200)),
    encode_many(Many(TEXT, b"x", tuple(range(100))))[:50],
    encode_many(Many(CLOSE, b"\x03\xe7")),  # 999 is no close code
]


async def test_nonsense_from_another_worker_hurts_nobody(
    world: World, error_log: list[logging.LogRecord]
) -> None:
    gate = Gate(world.handle)
    async with testing.start(world.handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        await world.settle()
        wrong = [One(TEXT, ws.id, b"\xff not text"), One(CLOSE, ws.id, b"\0\0")]
        for data in [*NONSENSE, *map(encode_one, wrong)]:
            world.other.send(sequence.address, data)
            world.other.publish(group_channel("room", None), data)
        world.other.publish(b"p80", b"nobody subscribes to this")
        world.other.send(sequence.address, encode_one(One(TEXT, ws.id, b"still here")))
        await client.expect("still here")
        assert not ws.is_dead()


async def test_after_a_storm_of_threads_each_room_reaches_its_members(world: World) -> None:
    gate = Gate(world.handle)
    names = [f"room {number}" for number in range(6)]
    async with testing.start(world.handle) as app:
        pairs = await gate.admit(app, 12)
        go = threading.Event()

        def wander(seed: int) -> None:
            chance = random.Random(seed)
            go.wait()
            for _ in range(2000):
                _, ws = pairs[chance.randrange(len(pairs))]
                name = chance.choice(names)
                (ws.join if chance.random() < 0.5 else ws.leave)(name)

        threads = [threading.Thread(target=wander, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        go.set()
        await until(lambda: not any(thread.is_alive() for thread in threads))
        for _, ws in pairs[:3]:
            ws.disconnect()
        await until(lambda: all(ws.is_dead() for _, ws in pairs[:3]))
        await world.settle()
        members = {name: set(world.handle.room(name).ids()) for name in names}
        assert any(members.values())
        for name in names:
            world.other.publish(room_channel(name), encode_many(Many(TEXT, name.encode())))
        await world.settle()
        for client, ws in pairs[3:]:
            await client.expect(*(name for name in names if ws.id in members[name]))
            await client.expect_silence()
        for name in names:
            assert world.bus._exchange.channels_of(world.bus) == 1 + sum(
                bool(members[name]) for name in names
            )


async def test_who_comes_and_who_leaves_is_told_once_a_turn(world: World) -> None:
    gate = Gate(world.handle)
    world.other.subscribe(NEWS)
    async with testing.start(world.handle) as app:
        ((_, ws),) = await gate.admit(app, 1)
        await world.settle()
        assert world.recorder.got == []  # nobody wants to know
        world.handle.presence(room="chess:*")(lambda event: None)
        await world.settle()
        for number in range(50):
            ws.join(f"chess:{number}")
        ws.leave("chess:7")
        await world.settle()
        news = [data for channel, data in world.recorder.got if channel == NEWS]
        guarding = [decode_guarding(d) for channel, d in world.recorder.got if channel is None]
        changes = [(room_channel(f"chess:{n}"), True, [ws.id]) for n in range(50)]
        changes.append((room_channel("chess:7"), False, [ws.id]))
        assert [decode_changes(data) for data in news] == [changes]
        assert [(m.what, m.number, decode_changes(m.changes)) for m in guarding] == [
            (SNAPSHOT, 0, []),
            (CHANGES, 1, changes),
        ]


async def test_nonsense_about_who_is_there_hurts_nobody(
    world: World, error_log: list[logging.LogRecord]
) -> None:
    events: list[PresenceEvent] = []
    world.handle.presence(room="*")(events.append)
    good = (room_channel("chess"), world.far_id(), True)
    bad = [
        b"x",
        encode_changes([good])[:-1],
        encode_changes([(b"?", 1, True)]),
        encode_changes([(b"px:room", 1, True)]),
        encode_changes([(b"r\xff", 1, True)]),
        bytes([GUARD]),
        bytes([GUARD]) * 30,
    ]
    await world.settle()
    for data in bad:
        world.other.publish(NEWS, data)
    world.other.send(sequence.address, bad[-2])
    world.other.send(sequence.address, bad[-1])
    wrong = encode_changes([(b"?", 1, True), good])
    snapshot = Guarding(SNAPSHOT, OTHER, sequence.begun, 0, wrong)
    world.other.send(sequence.address, encode_guarding(snapshot))
    world.other.publish(NEWS, encode_changes([good]))
    await until(lambda: events)
    await world.settle()
    assert events == [PresenceEvent("join", good[1], None, "chess", False)]
    assert len(error_log) == len(bad) + 2
    await world.other.stop()
    await until(lambda: len(events) == 2)
    assert events[1] == PresenceEvent("leave", good[1], None, "chess", False)
    assert "stands for no group" in error_log[-1].getMessage()
