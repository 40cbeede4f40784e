"""Ids, groups and rooms reach sockets wherever they live: real workers, real clients."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NamedTuple

import pytest

from tests.cluster.application import plan
from tests.cluster.brokers import BROKERS, Broker
from tests.cluster.workers import Visitor, one_of_each, service, until_known
from tests.faults.service import Clients


class Cluster(NamedTuple):
    """What is tested: one node alone, or several on a broker."""

    ports: list[int]
    workers: int


@contextmanager
def alone() -> Iterator[Cluster]:
    with service(4) as running:
        yield Cluster([running.port], 4)


def joined_by(kind: type[Broker]) -> Callable[[], AbstractContextManager[Cluster]]:
    @contextmanager
    def start() -> Iterator[Cluster]:
        with ExitStack() as stack:
            broker = stack.enter_context(kind())
            nodes = [stack.enter_context(service(2, "--bus", broker.url)) for _ in range(3)]
            yield Cluster([node.port for node in nodes], 6)

    return start


KINDS = {"alone": alone, **{name: joined_by(kind) for name, kind in BROKERS.items()}}


@pytest.fixture(scope="module", params=KINDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with KINDS[request.param]() as running:
        yield running


@pytest.fixture
def clients(cluster: Cluster) -> Iterator[Clients]:
    with Clients(*cluster.ports) as all_clients:
        yield all_clients
        for peer in all_clients.peers:
            if peer.is_open:
                all_clients.close(peer)


@pytest.fixture
def workers(cluster: Cluster) -> int:
    return cluster.workers


def test_the_id_says_which_worker(clients: Clients, workers: int) -> None:
    visitors = one_of_each(clients, "room", workers)
    assert len({visitor.worker for visitor in visitors}) == workers


def test_a_send_by_id_reaches_a_socket_of_another_worker(clients: Clients, workers: int) -> None:
    here = Visitor(clients, "command")
    others = [v for v in one_of_each(clients, "room", workers) if v.pid != here.pid]
    for there in others:
        assert here.do("send", there.id, "hello") == "QUEUED"
        assert there.next() == b"hello"
        assert here.do("status", there.id) == "ELSEWHERE False"


def test_deliver_tells_what_the_owner_did(clients: Clients, workers: int) -> None:
    here = Visitor(clients, "command")
    there = next(v for v in one_of_each(clients, "room", workers) if v.pid != here.pid)
    assert here.do("deliver", there.id, "hello") == "OK"
    assert there.next() == b"hello"
    clients.close(there.peer)
    assert here.do("deliver", there.id, "hello") == "GONE"
    assert here.do("send", there.id, "hello") == "QUEUED"  # only its owner knows


def test_threads_and_other_loops_reach_other_workers(clients: Clients, workers: int) -> None:
    here = Visitor(clients, "command")
    there = next(v for v in one_of_each(clients, "room", workers) if v.pid != here.pid)
    assert here.do("deliver_in_another_loop", there.id, "hello") == "OK"
    assert there.next() == b"hello"
    assert here.do("send_from_threads", there.id, 3, 2000) == "QUEUED"
    clients.until(lambda: len(there.peer.messages) == 6000)
    for name in range(3):
        mine = [m.split() for m in there.peer.messages if m.startswith(b"%d " % name)]
        assert [int(number) for _, number in mine] == list(range(2000))


def test_ids_that_nobody_has_are_gone(clients: Clients, workers: int) -> None:
    here = Visitor(clients, "command")
    unknown_worker = (here.id | 60 << 47) - 60 * 16384
    assert here.do("send", unknown_worker, "x") == "GONE"
    assert here.do("status", unknown_worker) == "UNKNOWN_NODE True"
    there = next(v for v in one_of_each(clients, "room", workers) if v.pid != here.pid)
    before_it_began = there.id >> 47 << 47 | 1_767_225_600 * 16384 + 1
    assert here.do("status", before_it_began) == "CLOSED True"
    assert here.do("send", before_it_began, "x") == "GONE"
    assert here.do("status", there.id >> 47 << 47 | 5) == "NEVER_ISSUED True"


def test_disconnect_reaches_another_worker(clients: Clients, workers: int) -> None:
    here = Visitor(clients, "command")
    there = next(v for v in one_of_each(clients, "room", workers) if v.pid != here.pid)
    here.do("disconnect", there.id, "enough", 4000)
    clients.until(lambda: there.peer.ended)
    assert (there.peer.code, there.peer.reason) == (4000, b"enough")


def test_a_group_send_reaches_all_workers_but_whom_it_leaves_out(
    clients: Clients, workers: int
) -> None:
    here = Visitor(clients, "command")
    members = [*one_of_each(clients, "room", workers), *one_of_each(clients, "room", workers)]
    until_known(here, "room", members)
    left_out = members[::2]
    here.do("group", "room", "all but some", [visitor.id for visitor in left_out])
    here.do("group", "room", "all", [])
    for visitor in members:
        if visitor not in left_out:
            assert visitor.next() == b"all but some"
        assert visitor.next() == b"all"
    assert not any(visitor.peer.messages for visitor in members)


def test_a_large_binary_group_send_arrives_whole(clients: Clients, workers: int) -> None:
    here = Visitor(clients, "command")
    members = one_of_each(clients, "room", workers)
    until_known(here, "room", members)
    here.do("group_bytes", "room", 3 << 20)
    for visitor in members:
        assert visitor.next() == bytes(3 << 20)


def test_closing_a_group_closes_it_everywhere(clients: Clients, workers: int) -> None:
    here = Visitor(clients, "command")
    members = one_of_each(clients, "room", workers)
    until_known(here, "room", members)
    here.do("close", "room", 4001, "over")
    clients.until(lambda: all(visitor.peer.ended for visitor in members))
    assert {(v.peer.code, v.peer.reason) for v in members} == {(4001, b"over")}
    assert here.peer.is_open


NAMES = [
    "a", "A", "a ", " a", "a\0", "\0a", "a.b", "a.*", "a.>", "*", ">", "a\r\nb", "ga", "ra",
    "p80:a", "80:a", "room", "\u00e9", "e\u0301", "%s", "../a", "a" * 5000, "",
]  # fmt: skip


def test_rooms_of_any_names_never_cross(clients: Clients, workers: int) -> None:
    here = Visitor(clients, "command")
    far = [v for v in one_of_each(clients, "command", workers) if v.pid != here.pid]
    for number, name in enumerate(NAMES):
        assert far[number % len(far)].do("join", name) == "True"
        assert far[(number + 1) % len(far)].do("leave", name) == "done"
    for number, name in enumerate(NAMES):
        owner = far[number % len(far)]

        def probe(name: str = name, owner: Visitor = owner) -> bool:
            assert here.do("room", name, name) == "0"
            clients.during(0.01)
            return bool(owner.peer.messages)

        clients.until(probe)
        clients.during(0.02)
        got = {message for visitor in far for message in visitor.peer.messages}
        assert got == {name.encode("utf-8", "replace")}, name[:20]
        assert [v for v in far if v.peer.messages] == [owner]
        owner.peer.messages.clear()


def test_whoever_has_left_a_room_gets_nothing_of_it(clients: Clients, workers: int) -> None:
    here = Visitor(clients, "command")
    a, b = [v for v in one_of_each(clients, "command", workers) if v.pid != here.pid][:2]
    for visitor in (a, b):
        visitor.do("join", "club")
    clients.until(lambda: here.do("room", "club", "one") and a.peer.messages and b.peer.messages)
    a.do("leave", "club")
    clients.during(0.05)
    a.peer.messages.clear()
    b.peer.messages.clear()
    here.do("room", "club", "two")
    assert b.next() == b"two"
    assert not a.peer.messages


def test_every_message_arrives_once_and_in_order(clients: Clients, workers: int) -> None:
    check_storm(clients, workers, sends=5000, group_sends=50)


def check_storm(
    clients: Clients, workers: int, *, sends: int, group_sends: int, targets: int = 24
) -> int:
    """Have each worker send to sockets of all, and compare with what was planned.

    Returns:
        int: how many messages were received.
    """
    members = [Visitor(clients, "room") for _ in range(targets)]
    senders = one_of_each(clients, "command", workers)
    until_known(senders[0], "room", members)
    until_known(senders[1], "room", members)
    ids = [member.id for member in members]
    for seed, sender in enumerate(senders):
        command = ["storm", str(seed), seed, sends, group_sends, ids]
        sender.peer.send(json.dumps(command))
    expected: list[dict[int, list[bytes]]] = [{} for _ in members]
    total = 0
    for seed in range(len(senders)):
        for number, target in enumerate(plan(seed, sends, group_sends, targets)):
            for which in range(targets) if target is None else (target,):
                expected[which].setdefault(seed, []).append(b"%d %d" % (seed, number))
                total += 1
    assert {sender.answer() for sender in senders} == {"done"}
    clients.until(lambda: sum(len(m.peer.messages) for m in members) >= total, 60)
    clients.during(0.2)  # in which nothing comes a second time
    for member, wanted in zip(members, expected, strict=True):
        got: dict[int, list[bytes]] = {}
        for message in member.peer.messages:
            got.setdefault(int(message.split()[0]), []).append(message)
        assert got == wanted
        assert member.peer.is_open
    return total
