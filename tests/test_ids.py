"""Socket ids: how they are made up, that none is given twice, what is known of any integer."""

import random
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import Gate, client, until, wire
from wsgroups import Handle, SendResult, SocketStatus, WebSocket, serve
from wsgroups.ids import MAX_ID, TICKS_PER_SECOND, IdParts, IdSequence, pack, unpack

SECOND = 1_000_000_000
IN_2026 = 1_790_000_000 * SECOND


class Clock:
    """A clock that only moves when it is told to, or slept by."""

    def __init__(self, now: int = IN_2026) -> None:
        self.now = now
        self.boot = random.Random(now).randrange(1 << 50)
        self.slept = 0.0

    def wall(self) -> int:
        return self.now

    def elapsed(self) -> int:
        return self.now - self.boot

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept += seconds
        self.now += max(1, int(seconds * SECOND))

    def sequence(self, node: int = 0, worker: int = 0) -> IdSequence:
        return IdSequence(
            node, worker, wall_ns=self.wall, elapsed_ns=self.elapsed, sleep=self.sleep
        )


# --- packing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        ((0, 0, 0), 0),
        ((0, 0, 1), 1),
        ((0, 1, 0), 1 << 47),
        ((1, 0, 0), 1 << 53),
        ((1023, 63, (1 << 47) - 1), (1 << 63) - 1),
        ((5, 3, 77), 5 << 53 | 3 << 47 | 77),
    ],
)
def test_an_id_is_node_worker_and_sequence(parts: tuple[int, int, int], value: int) -> None:
    assert pack(*parts) == value
    assert unpack(value) == IdParts(*parts)


def test_packing_and_unpacking_are_inverse() -> None:
    chance = random.Random(1)
    for _ in range(10_000):
        value = chance.randrange(MAX_ID + 1)
        assert pack(*unpack(value)) == value


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ((1024, 0, 0), "node"),
        ((-1, 0, 0), "node"),
        ((0, 64, 0), "worker"),
        ((0, -1, 0), "worker"),
        ((0, 0, 1 << 47), "sequence"),
        ((0, 0, -1), "sequence"),
    ],
)
def test_a_field_that_does_not_fit_is_refused(parts: tuple[int, int, int], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        pack(*parts)


@pytest.mark.parametrize("value", [-1, MAX_ID + 1, 1 << 100])
def test_what_does_not_fit_63_bits_is_no_id(value: int) -> None:
    with pytest.raises(ValueError, match="63 bits"):
        unpack(value)


# --- the sequence ---------------------------------------------------------------------------


def test_ten_million_ids_over_a_thousand_restarts_are_all_different() -> None:
    chance = random.Random(7)
    clock = Clock()
    last = 0
    for _ in range(1000):
        sequence = clock.sequence()
        take = sequence.next
        for _ in range(10):
            if chance.random() < 0.5:
                clock.now += chance.randrange(SECOND)
            # A thousand in no time at all is more than the clock allows as often as not.
            for _ in range(1000):
                id = take()
                assert id > last
                last = id
        # The next run starts at once, or later; never before what was given out.
        clock.now += chance.choice((0, 1, 100_000, SECOND))
    assert clock.slept > 0


def test_a_burst_waits_for_the_clock_and_never_runs_ahead_of_it() -> None:
    clock = Clock()
    sequence = clock.sequence()
    before = clock.now
    ids = [sequence.next() for _ in range(5 * TICKS_PER_SECOND)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert clock.now - before == pytest.approx(5 * SECOND, rel=0.01)
    assert unpack(ids[-1]).sequence <= clock.now * TICKS_PER_SECOND // SECOND


def test_ids_saved_up_while_idle_are_given_without_waiting() -> None:
    clock = Clock()
    sequence = clock.sequence()
    clock.now += 10 * SECOND
    for _ in range(10 * TICKS_PER_SECOND):
        sequence.next()
    assert clock.slept == 0
    sequence.next()
    assert clock.slept > 0


def test_a_wall_clock_that_is_set_back_changes_nothing() -> None:
    clock = Clock()
    wall = [IN_2026]
    sequence = IdSequence(wall_ns=lambda: wall[0], elapsed_ns=clock.elapsed, sleep=clock.sleep)
    first = sequence.next()
    wall[0] -= 1000 * SECOND
    clock.now += SECOND
    assert sequence.next() > first


def test_who_takes_over_a_number_begins_above_what_was_given_until_then() -> None:
    """Also when its process has started before the other one ended."""
    clock = Clock()
    successor, before = clock.sequence(), clock.sequence(node=1, worker=2)
    clock.now += SECOND
    last = [before.next() for _ in range(TICKS_PER_SECOND)][-1]
    successor.move(1, 2)
    clock.now += SECOND
    assert successor.next() > last
    assert successor.begun >= unpack(last).sequence


def test_nodes_and_workers_never_share_an_id() -> None:
    routes = [(0, 0), (0, 1), (1, 0), (1023, 63)]
    ids = [Clock().sequence(*route).next() for route in routes]
    assert len(set(ids)) == len(ids)
    assert [unpack(id)[:2] for id in ids] == routes


def test_threads_share_one_sequence() -> None:
    sequence = IdSequence()
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: [sequence.next() for _ in range(250)], range(8)))
    ids = [id for batch in batches for id in batch]
    assert len(set(ids)) == len(ids)
    assert all(batch == sorted(batch) for batch in batches)


def test_the_sequence_lasts_for_272_years() -> None:
    clock = Clock(now=272 * 365 * 24 * 3600 * SECOND)
    assert unpack(clock.sequence().next()).sequence < 1 << 47


# --- status ---------------------------------------------------------------------------------


def test_status_says_what_any_integer_is() -> None:
    clock = Clock()
    sequence = clock.sequence(node=3, worker=2)
    issued = sequence.next()
    parts = unpack(issued)
    long_ago = 1_700_000_000 * TICKS_PER_SECOND
    expected = {
        issued: SocketStatus.CLOSED,
        issued + 1: SocketStatus.NEVER_ISSUED,
        issued - TICKS_PER_SECOND * 3600: SocketStatus.CLOSED,
        pack(3, 2, long_ago): SocketStatus.NEVER_ISSUED,
        pack(3, 2, 0): SocketStatus.NEVER_ISSUED,
        pack(3, 2, (1 << 47) - 1): SocketStatus.NEVER_ISSUED,
        pack(4, 2, parts.sequence): SocketStatus.UNKNOWN_NODE,
        pack(3, 3, parts.sequence): SocketStatus.UNKNOWN_NODE,
        0: SocketStatus.UNKNOWN_NODE,
        MAX_ID: SocketStatus.UNKNOWN_NODE,
        -1: SocketStatus.NEVER_ISSUED,
        -issued: SocketStatus.NEVER_ISSUED,
        MAX_ID + 1: SocketStatus.NEVER_ISSUED,
        1 << 64: SocketStatus.NEVER_ISSUED,
        10**40: SocketStatus.NEVER_ISSUED,
    }
    assert {value: sequence.status(value) for value in expected} == expected


async def test_status_of_a_live_socket_is_open_and_of_its_neighbours_is_not() -> None:
    handle = Handle()
    gate = Gate(handle)
    async with serve(handle, port=0) as server, client(server):
        ws = await gate.next()
        assert WebSocket(ws.id).status is SocketStatus.OPEN
        assert WebSocket(ws.id - 1).status is SocketStatus.CLOSED
        assert WebSocket(ws.id + 1).status is SocketStatus.NEVER_ISSUED
        assert WebSocket(ws.id + (1 << 47)).status is SocketStatus.UNKNOWN_NODE
        assert WebSocket(ws.id + (1 << 63)).status is SocketStatus.NEVER_ISSUED
        assert WebSocket(-ws.id).status is SocketStatus.NEVER_ISSUED


async def test_a_stale_id_never_leads_to_another_socket() -> None:
    handle = Handle()
    gate = Gate(handle)
    async with serve(handle, port=0) as server:
        stale: list[int] = []
        for _ in range(50):
            async with wire(server) as connection:
                await connection.upgrade()
                ws = await gate.next()
                assert all(ws.id > id for id in stale)
                stale.append(ws.id)
        await until(lambda: len(handle.group("room")) == 0)
        async with wire(server) as connection:
            await connection.upgrade()
            ws = await gate.next()
            for id in stale:
                assert WebSocket(id) != ws
                assert WebSocket(id).status is SocketStatus.CLOSED
                assert WebSocket(id).send("to a stranger") is SendResult.GONE
            ws.send("to its own")
            assert await connection.frame() == (1, b"to its own")


# --- stored ---------------------------------------------------------------------------------


def test_ids_can_be_stored_as_integers_of_sqlite() -> None:
    ids = [1, MAX_ID, IdSequence().next(), IdSequence(1023, 63).next()]
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE socket (id INTEGER PRIMARY KEY) STRICT")
    database.executemany("INSERT INTO socket VALUES (?)", [(id,) for id in ids])
    rows = database.execute("SELECT id, typeof(id) FROM socket ORDER BY id").fetchall()
    database.close()
    assert rows == [(id, "integer") for id in sorted(ids)]


async def test_a_socket_itself_is_stored_by_its_int() -> None:
    handle = Handle()
    gate = Gate(handle)
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE socket (id INTEGER PRIMARY KEY)")
    async with serve(handle, port=0) as server, client(server) as connection:
        database.execute("INSERT INTO socket VALUES (?)", (int(await gate.next()),))
        for (id,) in database.execute("SELECT id FROM socket"):
            WebSocket(id).send(f"Broadcasting id: {id}")
            assert await connection.recv() == f"Broadcasting id: {id}"
    database.close()
