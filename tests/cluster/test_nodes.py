"""Nodes on a broker: their numbers, what goes on without it, and how the end of one is noticed."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.brokers import BROKERS, Broker
from tests.cluster.recording import Recorder
from tests.cluster.workers import Visitor, children, kill, one_of_each, service
from tests.faults.service import ROOT, Clients, Service, wait_until
from tests.support import Program, soon, until
from wsgroups.cluster import node as node_module
from wsgroups.cluster.bus import AddressTakenError
from wsgroups.cluster.hub import Hub
from wsgroups.cluster.letters import Kind
from wsgroups.cluster.node import NodeBus, lease_node
from wsgroups.policy import ServerConfig
from wsgroups.server import supervisor as supervisor_module
from wsgroups.server.supervisor import Supervisor

Start = Callable[..., Service]


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with BROKERS[request.param]() as started:
        yield started


@pytest.fixture
def start(broker: Broker) -> Iterator[Start]:
    """Starts nodes of two workers."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(service(2, "--bus", broker.url, *options))


def node_of(visitor: Visitor) -> int:
    return visitor.id >> 53


# --- numbers ------------------------------------------------------------------------------------


async def test_every_node_gets_a_number_of_its_own(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four numbers, all four are given, and the fifth node is told that there is none."""
    monkeypatch.setattr(node_module, "_MOST", 5)
    monkeypatch.setattr(node_module, "_CLAIM", 0.1)
    leases = [await soon(lease_node(broker.url, since, lambda: None)) for since in range(4)]
    assert sorted(lease.number for lease in leases) == [1, 2, 3, 4]
    with pytest.raises(AddressTakenError, match="all 4 node numbers are taken"):
        await soon(lease_node(broker.url, 9, lambda: None))
    await leases[2].close()
    again = await soon(lease_node(broker.url, 10, lambda: None))
    assert again.number == leases[2].number
    for lease in (*leases[:2], leases[3], again):
        await lease.close()


def test_a_node_number_that_is_taken_is_told(broker: Broker, start: Start) -> None:
    with Clients(start("--node", "7").port) as clients:
        assert node_of(Visitor(clients, "room")) == 7
        arguments = ("-m", "wsgroups", "tests.cluster.application", "--port", "0")
        with Program(*arguments, "--bus", broker.url, "--node", "7", cwd=ROOT) as program:
            assert program.wait() == 1
            assert "node 7 is another node's on this bus; without --node" in program.output
            assert "Traceback" not in program.output


def test_a_signal_before_there_is_a_number_leaves_nothing(
    broker: Broker, run_directory: Path
) -> None:
    arguments = ("-m", "wsgroups", "tests.cluster.application", "--port", "0")
    with Program(*arguments, "--bus", broker.url, "--workers", "2", cwd=ROOT) as program:
        wait_until(lambda: [*run_directory.rglob("hub")])
        program.send_signal(signal.SIGHUP)  # there is nothing to replace yet
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
        assert "Traceback" not in program.output
        assert not [*run_directory.rglob("hub")]


def test_a_broker_that_is_not_there_is_told() -> None:
    arguments = ("-m", "wsgroups", "tests.cluster.application", "--port", "0")
    with Program(*arguments, "--bus", "nats://me:secret@127.0.0.1:1", cwd=ROOT) as program:
        assert program.wait() == 1
        assert "no NATS server at nats://127.0.0.1:1: " in program.output
        assert "Traceback" not in program.output


async def test_of_two_nodes_with_one_number_the_younger_gives_way(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, error_log: list[logging.LogRecord]
) -> None:
    monkeypatch.setattr(node_module, "_CLAIM", 0.1)
    given_way: list[str] = []
    older = await soon(lease_node(broker.url, 1, lambda: given_way.append("older"), 7))
    with monkeypatch.context() as deaf:
        deaf.setattr("wsgroups.cluster.broker.BrokerBus._defend", lambda *_: None)
        younger = await soon(lease_node(broker.url, 2, lambda: given_way.append("younger"), 7))
    older._bus._tell_of_us(Kind.HELLO, older._bus._everybody)
    await until(lambda: given_way == ["younger"])
    assert len(error_log) == 1
    await younger.close()
    await older.close()


DEAF_NODE = """
import asyncio, sys
from wsgroups.cluster.broker import BrokerBus
from wsgroups.cluster.letters import Kind
from wsgroups.cluster.node import lease_node

async def main():
    defend, BrokerBus._defend, BrokerBus._give_way = BrokerBus._defend, print, print
    older = await lease_node(sys.argv[1], 1, print, 7)
    BrokerBus._defend = defend
    older._bus._tell_of_us(Kind.HELLO, older._bus._everybody)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_node_that_gives_way_goes_on_with_another_number(broker: Broker, start: Start) -> None:
    """As when two halves of a network meet that were apart, each with a node 7."""
    running = start("--node", "7")
    with Clients(running.port) as clients:
        assert node_of(Visitor(clients, "room")) == 7
        with Program("-c", DEAF_NODE, broker.url, cwd=ROOT):
            wait_until(lambda: node_of(Visitor(clients, "room")) != 7)
        assert "the other was first" in running.output


async def test_a_node_without_a_number_looks_for_one_and_is_not_node_0(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, error_log: list[logging.LogRecord]
) -> None:
    """Its number was another's, and the broker is away when it asks for the next."""
    monkeypatch.setattr(node_module, "_CLAIM", 0.1)
    monkeypatch.setattr(supervisor_module, "_LEASE_AGAIN", 0.05)
    supervisor = Supervisor(ServerConfig(bus=broker.url), [], None)
    supervisor._broker = broker.url
    supervisor._node = await soon(supervisor._lease_node(7))
    broker.kill()
    supervisor._relocate()
    await until(lambda: len(error_log) > 1)
    assert "no other node number yet" in error_log[0].getMessage()
    assert supervisor._node.number == 7
    await asyncio.to_thread(broker.start)
    await until(lambda: supervisor._node is not None and supervisor._node.number != 7)
    assert supervisor._node.number != 0
    await supervisor._leave_node()


# --- without the broker ---------------------------------------------------------------------------


def test_a_node_goes_on_by_itself_while_the_broker_is_away(broker: Broker, start: Start) -> None:
    a, b = start(), start()
    with Clients(a.port) as at_a, Clients(b.port) as at_b:
        here = Visitor(at_a, "command")
        near = one_of_each(at_a, "room", 2)
        far = one_of_each(at_b, "room", 2)
        until_known_far(here, near, far)
        broker.kill()
        wait_until(lambda: "is lost" in a.output and "is lost" in b.output)
        for number in range(200):
            for visitor in near:
                assert here.do("send", visitor.id, f"{number}") in ("OK", "QUEUED")
            here.do("group", "room", f"group {number}", [])
        for visitor in near:
            until_has(visitor, 400)
            assert visitor.peer.messages[::2] == [b"%d" % n for n in range(200)]
            assert visitor.peer.messages[1::2] == [b"group %d" % n for n in range(200)]
            visitor.peer.messages.clear()
        assert here.do("send", far[0].id, "waits") == "QUEUED"
        # A worker that ends meanwhile is replaced: not the one with what waits.
        ended = next(visitor for visitor in near if visitor.pid != here.pid)
        kill(ended.pid)
        wait_until(lambda: ended.pid not in children(a.pid) and len(children(a.pid)) == 2)
        at_a.until(lambda: ended.peer.ended)
        replaced = one_of_each(at_a, "room", 2)
        broker.start()
        wait_until(lambda: "is back" in a.output and "is back" in b.output)
        at_b.until(lambda: b"waits" in far[0].peer.messages)
        until_known_far(here, [v for v in (*near, *replaced) if v.peer.is_open], far)


def until_has(visitor: Visitor, count: int) -> None:
    visitor.clients.until(lambda: len(visitor.peer.messages) == count)


def until_known_far(here: Visitor, near: list[Visitor], far: list[Visitor]) -> None:
    """Wait until a group send reaches all members, whose clients are of several nodes."""
    members = [*near, *far]

    def all_reached() -> bool:
        here.do("group", "room", "probe", [])
        for visitor in members:
            visitor.clients.during(0.01)
        return all(b"probe" in v.peer.messages for v in members)

    wait_until(all_reached)
    for visitor in members:
        visitor.clients.during(0.1)
        visitor.peer.messages[:] = [m for m in visitor.peer.messages if m != b"probe"]


def test_the_end_of_a_worker_is_known_at_once_and_of_a_node_soon(
    broker: Broker, start: Start
) -> None:
    a, b = start(), start()
    with Clients(a.port) as at_a, Clients(b.port) as at_b:
        here = Visitor(at_a, "command")
        far = one_of_each(at_b, "room", 2)
        wait_until(lambda: here.do("status", far[0].id) == "ELSEWHERE False")
        kill(far[0].pid)
        # Its number is the next one's already, or nobody's: the id is dead in either case.
        wait_until(lambda: here.do("status", far[0].id) != "ELSEWHERE False", 3)
        assert here.do("send", far[0].id, "x") == "GONE"
        assert here.do("status", far[1].id) == "ELSEWHERE False"
        b.send_signal(signal.SIGKILL)
        wait_until(lambda: here.do("send", far[1].id, "x") == "GONE")


async def test_a_broker_that_is_behind_holds_up_nothing_within_the_node(
    broker: Broker, tmp_path: Path
) -> None:
    hub = Hub()
    await hub.start(str(tmp_path / "hub"))
    bus = NodeBus(str(tmp_path / "hub"), broker.url, 64, 64)
    await soon(bus.start(Recorder()))
    broker.freeze()
    for _ in range(64):
        bus.send(128, bytes(100_000))
    await until(lambda: bus.backlog_to(128) > 0)
    assert bus.backlog_to(65) == 0
    assert bus.backlog == bus.backlog_to(128)
    broker.thaw()
    await soon(bus.sync())
    await bus.stop()
    await hub.stop()


async def test_each_message_comes_by_one_way_only(broker: Broker, tmp_path: Path) -> None:
    """Workers of a node are on its hub and on the broker both."""
    hub, other_hub = Hub(), Hub()
    await hub.start(str(tmp_path / "hub"))
    await other_hub.start(str(tmp_path / "other"))
    buses, recorders = [], []
    for path, address in (("hub", 64), ("hub", 65), ("other", 128)):
        bus = NodeBus(str(tmp_path / path), broker.url, address, address)
        recorders.append(Recorder())
        await soon(bus.start(recorders[-1]))
        bus.subscribe(b"c")
        await soon(bus.sync())
        buses.append(bus)
    await until(lambda: all(len(bus.peers.known) == 2 for bus in buses))
    for number in range(100):
        buses[0].publish(b"c", b"%d" % number)
        buses[0].send(65, b"near")
        buses[0].send(128, b"far")
    for bus in buses * 2:
        await soon(bus.sync())
    assert recorders[0].got == []
    for recorder, word in ((recorders[1], b"near"), (recorders[2], b"far")):
        wanted = [[(b"c", b"%d" % number), (None, word)] for number in range(100)]
        assert recorder.got == [each for pair in wanted for each in pair]
    for bus in reversed(buses):
        await bus.stop()
    await hub.stop()
    await other_hub.stop()
