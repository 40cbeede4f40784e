"""Who is here: counts and ids of all workers, and which of many ids are open."""

import asyncio
import logging
import os
import random
import signal
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.cluster.recording import Recorder
from tests.cluster.workers import Visitor, one_of_each, service
from tests.faults.service import Clients, wait_until
from tests.support import Gate, quiet_handle, soon, until
from wsgroups import Handle, WebSocket, live, testing
from wsgroups.cluster.channels import group_channel
from wsgroups.cluster.exchange import Exchange
from wsgroups.cluster.local import LocalBus
from wsgroups.cluster.questions import (
    ASK,
    COUNT,
    IDS,
    LIVE,
    TOLD,
    Question,
    Told,
    decode_question,
    decode_told,
    encode_question,
    encode_told,
    pack_ids,
    pack_number,
    pick,
    unpack_ids,
)
from wsgroups.ids import SEQUENCE_BITS, sequence

WORKERS = 4
OTHER = 5


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with service(WORKERS) as running:
        yield running.port


@pytest.fixture
def clients(port: int) -> Iterator[Clients]:
    with Clients(port) as all_clients:
        yield all_clients
        for peer in all_clients.peers:
            if peer.is_open:
                all_clients.close(peer)


# --- real workers ---------------------------------------------------------------------------


def test_a_group_is_counted_in_all_workers(clients: Clients) -> None:
    here = Visitor(clients, "command")
    assert here.do("count_group", "room") == "0 0"
    members = [v for _ in range(3) for v in one_of_each(clients, "room", WORKERS)]
    assert here.do("count_group", "room") == f"3 {3 * WORKERS}"
    ids = here.do("all_ids_of_group", "room").split()
    assert sorted(map(int, ids)) == sorted(member.id for member in members)
    clients.close(members[0].peer)
    wait_until(lambda: here.do("count_group", "room").split()[1] == str(3 * WORKERS - 1))


def test_a_room_is_counted_where_its_members_are(clients: Clients) -> None:
    commanders = one_of_each(clients, "command", WORKERS)
    for commander in commanders[1:]:
        commander.do("join", "chess")
    for commander in commanders:
        assert commander.do("count_room", "chess") == str(WORKERS - 1)
        assert commander.do("count_room", "no such room") == "0"
    ids = set(map(int, commanders[0].do("all_ids_of_room", "chess").split()))
    assert ids == {commander.id for commander in commanders[1:]}


def test_a_plain_loop_of_another_thread_may_ask(clients: Clients) -> None:
    here = Visitor(clients, "command")
    one_of_each(clients, "room", WORKERS)
    assert here.do("count_in_another_loop", "room") == str(WORKERS)


def test_of_a_hundred_thousand_ids_the_open_ones_are_found(clients: Clients) -> None:
    here = Visitor(clients, "command")
    members = [v for _ in range(10) for v in one_of_each(clients, "room", WORKERS)]
    closed = members[:5]
    for member in closed:
        clients.close(member.peer)
    wait_until(lambda: here.do("count_group", "room").split()[1] == str(len(members) - 5))
    chance = random.Random(7)
    routes = sorted({member.id >> SEQUENCE_BITS for member in members})
    near = min(member.id & ((1 << SEQUENCE_BITS) - 1) for member in members)
    ids = [member.id for member in members]
    ids += [
        chance.choice([*routes, 61]) << SEQUENCE_BITS | near - chance.randrange(1, 1 << 30)
        for _ in range(100_000 - len(ids) - 3)
    ]
    ids += [-1, 1 << 63, 0]
    chance.shuffle(ids)
    assert len(ids) == 100_000
    found, seconds = here.do("find_live", ids).split(";")
    print(f"live() of 100,000 ids over {WORKERS} workers: {seconds} s")
    assert set(map(int, found.split())) == {member.id for member in members[5:]}


def test_a_worker_that_does_not_answer_is_left_out_and_named(port: int) -> None:
    with service(3) as running, Clients(running.port) as clients:
        members = one_of_each(clients, "room", 3)
        here = Visitor(clients, "command")
        stopped = next(member for member in members if member.pid != here.pid)
        ids = [member.id for member in members]
        os.kill(stopped.pid, signal.SIGSTOP)
        try:
            assert here.do("count_group", "room") == "1 2"
            assert here.do("count_strictly", "room").startswith("TimeoutError")
            assert here.do("count_strictly", "room").endswith(f": worker {stopped.worker}")
            assert here.do("count_group", "room") == "1 2"
            found = here.do("find_live", ids).split(";")[0]
            assert set(map(int, found.split())) == set(ids) - {stopped.id}
            assert running.output.count("not counted") == 1
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
        wait_until(lambda: here.do("count_group", "room") == "1 3")
        os.kill(stopped.pid, signal.SIGKILL)
        wait_until(lambda: here.do("count_strictly", "room") == "2")


# --- another worker, played by the test -----------------------------------------------------


class Answering(Recorder):
    """Another worker, which answers what it is asked as `say` has it."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[Question] = []
        self.say: list[bytes] = []
        self.bus: LocalBus | None = None

    def received(self, data: bytes) -> None:
        if data[0] == ASK and self.bus is not None:
            question = decode_question(data)
            self.questions.append(question)
            for body in self.say:
                self.bus.send(question.address, encode_told(Told(question.token, OTHER, body)))
        else:
            super().received(data)


class World:
    """This process on a bus, with another worker."""

    def __init__(self, handle: Handle) -> None:
        exchange = Exchange()
        self.handle = handle
        self.bus = LocalBus(exchange, sequence.address, sequence.begun)
        self.other = LocalBus(exchange, OTHER, sequence.begun)
        self.far = Answering()
        self.far.bus = self.other


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(quiet_handle())
    await world.bus.start(world.handle.join_bus(world.bus))
    await world.other.start(world.far)
    yield world
    world.handle.leave_bus()
    await world.bus.stop()
    await world.other.stop()


async def test_what_is_asked_and_how_it_is_answered(world: World) -> None:
    gate = Gate(world.handle)
    far_ids = [OTHER << SEQUENCE_BITS | sequence.now + i for i in range(11)]
    async with testing.start(world.handle) as app:
        pairs = await gate.admit(app, 3)
        mine = [ws.id for _, ws in pairs]
        group = world.handle.group("room")
        channel = group_channel("room", None)
        world.far.say = [pack_number(8)]
        assert await soon(group.count()) == 11
        world.far.say = [pack_ids(far_ids)]
        assert await soon(group.all_ids()) == mine + far_ids
        world.far.say = [bytes([0b10000001, 0b100])]
        wanted = [*far_ids, *mine, mine[0] + 1, 60 << SEQUENCE_BITS | 5, -7]
        found = await soon(live(wanted))
        assert found == {*mine, far_ids[0], far_ids[7], far_ids[10]}
        asked = [(question.what, question.body) for question in world.far.questions]
        assert asked == [(COUNT, channel), (IDS, channel), (LIVE, pack_ids(far_ids))]
        await until(lambda: not world.bus._inbox.size)
        for what, body in (
            (COUNT, channel),
            (IDS, channel),
            (COUNT, b"r" + b"nobody"),
            (LIVE, pack_ids([mine[0], 1, -1, mine[2]])),
        ):
            world.other.send(sequence.address, encode_question(Question(what, 7, OTHER, body)))
        await until(lambda: len(world.far.got) == 4)
        told = [decode_told(data) for _, data in world.far.got]
        assert [answer.body for answer in told] == [
            pack_number(3),
            pack_ids(mine),
            pack_number(0),
            bytes([0b1001]),
        ]
        assert {(answer.token, answer.address) for answer in told} == {(7, sequence.address)}


async def test_sockets_may_be_given_too_and_what_is_no_id_is_refused(world: World) -> None:
    gate = Gate(world.handle)
    async with testing.start(world.handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        assert await live([ws, WebSocket(5)]) == {ws.id}
        with pytest.raises(TypeError, match="not str"):
            await live(["5"])  # type: ignore[list-item]
        await client.close()
        await until(lambda: ws.is_dead())
        assert await live([ws]) == set()


async def test_a_worker_that_leaves_is_not_waited_for(world: World) -> None:
    asking = asyncio.ensure_future(world.handle.group("room").count(strict=True))
    await until(lambda: world.far.questions)
    await world.other.stop()
    assert await soon(asking) == 0


async def test_answers_that_are_none_hurt_nobody(
    world: World, error_log: list[logging.LogRecord]
) -> None:
    world.far.say = [b"", b"\1" * 7, pack_number(2)]
    assert await soon(world.handle.group("room").count()) == 2
    far = [OTHER << SEQUENCE_BITS | sequence.now]
    world.far.say = [b"", bytes(2), b"\1", b"\0"]
    assert await soon(live(far)) == set(far)
    for data in (bytes([ASK]), bytes([TOLD]), bytes([ASK]) * 12, bytes([TOLD]) * 12):
        world.other.send(sequence.address, data)
    ask = Question(LIVE, 1, OTHER, b"no ids")
    world.other.send(sequence.address, encode_question(ask))
    world.far.say = [pack_number(3)]
    assert await soon(world.handle.group("room").count()) == 3
    assert len(error_log) == 8


async def test_without_other_workers_it_is_what_is_here() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with testing.start(handle) as app:
        pairs = await gate.admit(app, 2)
        ids = [ws.id for _, ws in pairs]
        pairs[0][1].join("chess")
        assert await handle.group("room").count() == 2
        assert await handle.group("room").all_ids() == ids
        assert await handle.room("chess").count() == 1
        assert await handle.room("chess").all_ids(strict=True) == ids[:1]
        assert await live([*ids, ids[-1] + 5, 9 << SEQUENCE_BITS | ids[0]]) == set(ids)


async def test_two_threads_ask_at_once(world: World) -> None:
    world.far.say = [pack_number(4)]
    found: list[int] = []

    def ask() -> None:
        for _ in range(50):
            found.append(asyncio.run(world.handle.group("room").count(strict=True)))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    await until(lambda: not any(thread.is_alive() for thread in threads))
    assert found == [4] * 100


def test_bits_and_ids_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="bits"):
        pick([1, 2], b"")
    with pytest.raises(ValueError, match="bytes"):
        unpack_ids(b"1234567")
    assert list(unpack_ids(pack_ids([1, 1 << 62, -1]))) == [1, 1 << 62, -1]
