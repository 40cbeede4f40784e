"""Wards and guardians on every kind of bus: who acts for whom, and never twice."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cluster.brokers import BROKERS
from tests.cluster.recording import Recorder
from tests.cluster.test_bus import KINDS
from tests.support import soon, until
from wsgroups.cluster import keeper as keeper_module
from wsgroups.cluster import neighbours as neighbours_module
from wsgroups.cluster.bus import Bus
from wsgroups.cluster.changes import (
    AGAIN,
    CHANGES,
    GUARD,
    SNAPSHOT,
    Change,
    Guarding,
    decode_changes,
    decode_guarding,
    encode_changes,
    encode_guarding,
)
from wsgroups.cluster.guarding import Guardian, Sets, Ward, choose_guardian, hear
from wsgroups.cluster.kinds import open_bus

ROOM = b"room"


class Worker(Recorder):
    """A worker with ids that are open, and what it has acted for.

    Attributes:
        open: the ids.
        acted: ids, in the order in which it has acted for them.
        deaf: it hears nothing of what is sent to it.
    """

    def __init__(self, bus: Bus, since: int) -> None:
        super().__init__()
        self.bus = bus
        self.open: set[int] = set()
        self.acted: list[int] = []
        self.deaf = False
        self.ward = Ward(bus, since, self._snapshot)
        self.guardian = Guardian(bus, since, self._lost)

    def _snapshot(self) -> list[Change]:
        return [(ROOM, id, True) for id in self.open]

    def _lost(self, sets: Sets) -> None:
        self.acted += sorted(sets.get(ROOM, ()))

    def received(self, data: bytes) -> None:
        super().received(data)
        if not self.deaf:
            hear(data, self.ward, self.guardian)

    def gap(self, count: int) -> None:
        super().gap(count)
        self.ward.repeat_soon()
        self.guardian.missed()

    def came(self, address: int) -> None:
        super().came(address)
        self.ward.came(address)

    def left(self, address: int) -> None:
        super().left(address)
        self.ward.look_around()
        self.guardian.left(address)

    def let_in(self, *ids: int) -> None:
        self.open |= set(ids)
        self.ward.changed([(ROOM, id, True) for id in ids])

    def let_out(self, *ids: int) -> None:
        self.open -= set(ids)
        self.ward.changed([(ROOM, id, False) for id in ids])

    async def end(self) -> None:
        """Stop as is usual."""
        self.ward.stop()
        self.guardian.stop()
        await self.bus.stop()

    async def die(self) -> None:
        """Be gone without a word."""
        await self.bus.stop()


Begin = Callable[..., Awaitable[Worker]]


@pytest.fixture(params=KINDS)
async def begin(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Begin]:
    """Starts workers that want to be guarded."""
    since = 0
    async with AsyncExitStack() as stack:
        make = await stack.enter_async_context(KINDS[request.param](tmp_path))

        async def start(address: int, *ids: int) -> Worker:
            nonlocal since
            since += 1
            bus = make(address, since)
            worker = Worker(bus, since)
            worker.open = set(ids)
            await soon(bus.start(worker))
            worker.ward.want(True)
            stack.push_async_callback(bus.stop)
            return worker

        yield start


async def settle(*workers: Worker) -> None:
    """Wait until what was sent has been heard, and acted upon."""
    for _ in range(4):
        for worker in workers:
            await soon(worker.bus.sync())
        await asyncio.sleep(0)


def guardian_of(worker: Worker, *others: Worker) -> Worker:
    return next(other for other in others if other.bus.address == worker.ward.guardian)


# --- who guards whom ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "others", "chosen"),
    [
        (3, [], None),
        (3, [5, 9], 5),
        (9, [3, 5], 3),  # the first follows the last
        (3, [4, 1 << 6 | 7], 1 << 6 | 7),  # another node before a neighbour
        (3, [1 << 6 | 7, 2 << 6 | 3, 9 << 6 | 3], 2 << 6 | 3),  # there, the same number
        (2 << 6 | 3, [0 << 6 | 3, 1 << 6 | 3], 0 << 6 | 3),
        (1023 << 6 | 63, [0, 63], 63),
    ],
)
def test_whom_a_worker_chooses(address: int, others: list[int], chosen: int | None) -> None:
    assert choose_guardian(address, others) == chosen


@pytest.mark.parametrize("workers", [2, 8, 32])
def test_the_work_is_shared(workers: int) -> None:
    for nodes in (1, 2, 5):
        all_of_them = [node << 6 | number for node in range(nodes) for number in range(workers)]
        chosen = [
            choose_guardian(own, [other for other in all_of_them if other != own])
            for own in all_of_them
        ]
        assert len(set(chosen)) == len(all_of_them)


# --- what becomes of what was open ----------------------------------------------------------


async def test_one_acts_for_all_that_was_open_when_a_worker_died(begin: Begin) -> None:
    workers = [await begin(address) for address in range(4)]
    dying, *others = workers
    await settle(*workers)
    dying.let_in(1, 2, 3, 4)
    dying.let_out(2)
    dying.let_in(5)
    await settle(*workers)
    guardian = guardian_of(dying, *others)
    await dying.die()
    await until(lambda: guardian.acted)
    await settle(*others)
    assert [worker.acted for worker in others if worker is not guardian] == [[], []]
    assert guardian.acted == [1, 3, 4, 5]


async def test_what_was_open_before_there_was_a_guardian_is_known_too(begin: Begin) -> None:
    dying = await begin(0, *range(120_000))
    other = await begin(1)
    await settle(dying, other)
    dying.let_out(*range(100))
    await dying.die()
    await until(lambda: len(other.acted) == 119_900)


async def test_nobody_acts_for_a_worker_that_stops_as_is_usual(begin: Begin) -> None:
    workers = [await begin(address, address * 10) for address in range(3)]
    await settle(*workers)
    await workers[0].end()
    await until(lambda: all(0 in [a for a, there in w.heard if not there] for w in workers[1:]))
    await settle(*workers[1:])
    assert [worker.acted for worker in workers] == [[], [], []]


async def test_one_that_dies_at_once_is_acted_for_too(begin: Begin) -> None:
    other = await begin(1)
    for life in range(20):
        dying = await begin(0, life)
        assert dying.ward.guardian == 1
        await dying.die()
    await until(lambda: other.acted == list(range(20)))


async def test_what_it_said_last_counts_even_when_its_end_is_known_before(begin: Begin) -> None:
    ward, other = await begin(0), await begin(1)
    await settle(ward, other)
    everything = range(400_000)
    for start in range(0, len(everything), 200):  # more than is handed over at once
        ward.let_in(*everything[start : start + 200])
    ward.let_out(*everything[1:])
    await ward.die()
    await until(lambda: other.acted)
    assert other.acted == [0]


async def test_when_the_guardian_dies_the_next_one_knows_all(begin: Begin) -> None:
    workers = [await begin(address) for address in range(4)]
    ward = workers[0]
    await settle(*workers)
    ward.let_in(1, 2)
    first = guardian_of(ward, *workers)
    await settle(*workers)
    await first.die()
    await until(lambda: ward.ward.guardian not in (None, first.bus.address))
    second = guardian_of(ward, *workers)
    ward.let_in(3)
    left = [worker for worker in workers if worker not in (ward, first)]
    await settle(ward, *left)
    await ward.die()
    await until(lambda: second.acted == [1, 2, 3])
    await settle(*left)
    assert sum(len(worker.acted) for worker in workers) == 3


async def test_a_worker_of_another_node_is_preferred_and_the_old_one_forgets(begin: Begin) -> None:
    ward, old = await begin(0, 1, 2), await begin(1)
    await settle(ward, old)
    assert ward.ward.guardian == 1
    better = await begin(1 << 6)
    await until(lambda: ward.ward.guardian == 1 << 6)
    ward.let_in(3)
    await settle(ward, old, better)
    await ward.die()
    await until(lambda: better.acted == [1, 2, 3])
    await settle(old, better)
    assert old.acted == []


async def test_the_successor_of_a_worker_is_not_taken_for_it(begin: Begin) -> None:
    other = await begin(1)
    first = await begin(0, 1)
    await settle(first, other)
    await first.die()
    second = await begin(0, 2)
    await until(lambda: other.acted == [1])
    await settle(second, other)
    assert other.acted == [1]
    await second.die()
    await until(lambda: other.acted == [1, 2])


async def test_who_missed_something_asks_again(begin: Begin) -> None:
    ward, other = await begin(0, 1), await begin(1)
    await settle(ward, other)
    other.deaf = True
    ward.let_out(1)
    await settle(ward, other)
    other.deaf = False
    ward.let_in(2)
    await settle(ward, other)
    await until(lambda: any(data[:2] == bytes([GUARD, AGAIN]) for _, data in ward.got))
    await settle(ward, other)
    await ward.die()
    await until(lambda: other.acted == [2])


async def test_who_is_not_certain_does_nothing(
    begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    ward, other = await begin(0, 1), await begin(1)
    await settle(ward, other)
    other.deaf = True
    ward.let_out(1)
    await settle(ward, other)
    other.deaf, ward.deaf = False, True
    ward.let_in(2)
    await settle(ward, other)
    with caplog.at_level(logging.WARNING, "wsgroups"):
        await ward.die()
        await until(lambda: "what was open in worker 0 is not known here" in caplog.text)
    assert other.acted == []


async def test_after_a_loss_a_snapshot_follows(begin: Begin) -> None:
    ward, other = await begin(0, 1), await begin(1)
    await settle(ward, other)
    other.deaf = True
    ward.let_out(1)  # and nothing follows from which it could be seen
    await settle(ward, other)
    other.deaf = False
    ward.ward.repeat_soon()
    ward.ward.repeat_soon()
    before = len(other.got)
    await until(lambda: len(other.got) == before + 1)
    await settle(ward, other)
    await ward.die()
    await until(lambda: (0, False) in other.heard)
    await settle(other)
    assert other.acted == []


async def test_who_hears_of_a_loss_does_not_trust_what_it_knows(begin: Begin) -> None:
    ward, other = await begin(0, 1), await begin(1)
    await settle(ward, other)
    other.deaf = True
    ward.let_out(1)  # and nothing follows from which it could be seen
    await settle(ward, other)
    other.deaf, ward.deaf = False, True
    other.gap(1)
    await settle(ward, other)
    assert any(data[:2] == bytes([GUARD, AGAIN]) for _, data in ward.got)
    await ward.die()
    await until(lambda: (0, False) in other.heard)
    await settle(other)
    assert other.acted == []


@pytest.mark.parametrize("kind", BROKERS)
async def test_nobody_acts_for_who_has_stopped_while_the_broker_was_away(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "BEAT", 0.1)
    monkeypatch.setattr(neighbours_module, "GONE_AFTER", 0.5)
    with BROKERS[kind]() as broker:
        workers = [Worker(open_bus(broker.url, address, 1), 1) for address in range(2)]
        for worker in workers:
            worker.open = {worker.bus.address}
            await soon(worker.bus.start(worker))
            worker.ward.want(True)
        ward, other = workers
        await settle(*workers)
        broker.kill()
        await until(lambda: not any(worker.bus.is_connected for worker in workers))
        await ward.end()  # which calls its handlers itself
        await asyncio.to_thread(broker.start)
        await until(lambda: (0, False) in other.heard)
        await settle(other)
        assert other.acted == []
        await other.bus.stop()


async def test_who_wants_to_be_guarded_no_longer_is_forgotten(begin: Begin) -> None:
    ward, other = await begin(0, 1), await begin(1)
    await settle(ward, other)
    ward.ward.want(False)
    ward.let_in(2)
    await settle(ward, other)
    await ward.die()
    await until(lambda: (0, False) in other.heard)
    await settle(other)
    assert other.acted == []
    assert other.guardian._guarded == {}


async def test_nobody_acts_when_its_own_bus_is_lost(tmp_path: Path) -> None:
    async with KINDS["unix"](tmp_path) as make:
        workers = [Worker(make(address, 1), 1) for address in range(3)]
        for worker in workers:
            worker.open = {worker.bus.address}
            await worker.bus.start(worker)
            worker.ward.want(True)
        await settle(*workers)
    for worker in workers:
        await until(lambda worker=worker: not worker.bus.peers.known)
        await worker.bus.stop()
        assert worker.acted == []


async def test_in_a_storm_each_is_acted_for_once(begin: Begin) -> None:
    """Workers come and die one after another; what was open in each is acted for by one."""
    chance = random.Random(5)
    ids = iter(range(1, 1 << 30))
    workers = {address: await begin(address) for address in (0, 1, 64, 65, 128)}
    gone: list[Worker] = []
    expected: list[int] = []

    def all_are_acted_for() -> bool:
        return sum(len(w.acted) for w in (*gone, *workers.values())) >= len(expected)

    for _ in range(25):
        for worker in workers.values():
            worker.let_in(*(next(ids) for _ in range(chance.randrange(5))))
            worker.let_out(*chance.sample(sorted(worker.open), len(worker.open) // 3))
        await settle(*workers.values())
        address = chance.choice(sorted(workers))
        dying = workers.pop(address)
        gone.append(dying)
        if chance.random() < 0.3:
            await dying.end()
        else:
            expected += dying.open
            await dying.die()
        await until(all_are_acted_for)
        if chance.random() < 0.8:
            workers[address] = await begin(address)
        elif len(workers) < 3:
            workers[address ^ 2] = await begin(address ^ 2)
    everybody = [*gone, *workers.values()]
    await settle(*workers.values())
    assert sorted(id for worker in everybody for id in worker.acted) == sorted(expected)
    assert len(expected) > 50


# --- bytes ----------------------------------------------------------------------------------

CHANGES_OF_ALL_KINDS: list[Change] = [
    (b"a", 1, True),
    (b"a", 1 << 62, True),
    (b"a", 1, False),
    (b"", 3, False),
    (b"\xff" * 300, 4, True),
]


def test_changes_come_out_as_they_went_in() -> None:
    runs = decode_changes(encode_changes(CHANGES_OF_ALL_KINDS))
    assert runs == [
        (b"a", True, [1, 1 << 62]),
        (b"a", False, [1]),
        (b"", False, [3]),
        (b"\xff" * 300, True, [4]),
    ]
    assert decode_changes(b"") == []


def test_changes_that_are_cut_off_are_none() -> None:
    whole = encode_changes(CHANGES_OF_ALL_KINDS[:1])
    for size in range(1, len(whole)):
        with pytest.raises(ValueError, match="changes"):
            decode_changes(whole[:size])


def test_messages_of_other_kinds_are_none() -> None:
    message = Guarding(CHANGES, 1 << 31, 1 << 40, 7, b"data")
    whole = encode_guarding(message)
    assert decode_guarding(whole) == message
    for size in range(18):
        with pytest.raises(ValueError, match="guardian"):
            decode_guarding(whole[:size])
    for what in (0, 5, 255):
        with pytest.raises(ValueError, match="no message of kind"):
            decode_guarding(whole[:1] + bytes([what]) + whole[2:])


async def test_nonsense_from_another_worker_is_no_reason_to_act(
    begin: Begin, error_log: list[logging.LogRecord]
) -> None:
    ward, other = await begin(0, 1), await begin(1)
    await settle(ward, other)
    broken = encode_changes([(ROOM, 2, True)])[:-1]
    message = Guarding(CHANGES, 0, ward.ward._since, 1, broken)
    ward.bus.send(1, encode_guarding(message))
    ward.bus.send(1, bytes([GUARD, 9]) + bytes(16))
    ward.deaf = True  # so that it is not asked again to any avail
    await settle(ward, other)
    await ward.die()
    await until(lambda: (0, False) in other.heard)
    await settle(other)
    assert other.acted == []
    assert len(error_log) == 2


async def test_workers_that_nobody_has_heard_of_are_not_kept_without_end(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgroups.cluster.guarding._MOST_GUARDED", 4)
    ward, other = await begin(0, 1), await begin(1)
    await settle(ward, other)
    for since in range(1000, 1100):
        other.guardian.heard(Guarding(SNAPSHOT, 7, since, 0, encode_changes([(ROOM, 9, True)])))
    assert len(other.guardian._guarded) <= 4
    await ward.die()
    await until(lambda: other.acted == [1])
