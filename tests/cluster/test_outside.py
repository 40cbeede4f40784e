"""`wsgroups.Cluster`: real workers, and others that send to their sockets."""

import asyncio
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.brokers import BROKERS
from tests.cluster.recording import Recorder
from tests.cluster.workers import Visitor, children, is_alive, kill, one_of_each, service
from tests.faults.service import Clients, wait_until
from tests.support import Program, soon, until
from wsgroups import BusUnreachableError, Cluster, ConnectionFlags, SendResult
from wsgroups.cluster.hub import Hub
from wsgroups.cluster.unix import UnixBus
from wsgroups.ids import sequence

OK, GONE, QUEUED = SendResult.OK, SendResult.GONE, SendResult.QUEUED


class Running:
    """Two workers and where they are reached."""

    def __init__(self, pid: int, port: int, url: str) -> None:
        self.pid = pid
        self.port = port
        self.url = url


@pytest.fixture(scope="module", params=["unix", *BROKERS])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with ExitStack() as stack:
        if request.param == "unix":
            url = f"unix:{tmp_path_factory.mktemp('hub')}/hub.sock"
        else:
            url = stack.enter_context(BROKERS[request.param]()).url
        started = stack.enter_context(service(2, "--bus", url))
        yield Running(started.pid, started.port, url)


@pytest.fixture
def clients(running: Running) -> Iterator[Clients]:
    with Clients(running.port) as all_clients:
        yield all_clients
        for peer in all_clients.peers:
            if peer.is_open:
                all_clients.close(peer)


@pytest.fixture
async def cluster(running: Running) -> AsyncIterator[Cluster]:
    async with Cluster(running.url) as opened:
        yield opened


# --- one socket -----------------------------------------------------------------------------


async def test_a_send_by_id_tells_what_became_of_it(clients: Clients, cluster: Cluster) -> None:
    for there in one_of_each(clients, "room", 2):
        assert await cluster.send(there.id, "text") is OK
        assert await cluster.send(there.id, b"\xffbytes") is OK
        assert await cluster.send(there.id, bytearray(b"as text"), is_text=True) is OK
        assert await cluster.send_json(there.id, {"a": [1, None]}) is OK
        got = [there.next() for _ in range(4)]
        assert got == [b"text", b"\xffbytes", b"as text", b'{"a":[1,null]}']
        clients.close(there.peer)
        assert await cluster.send(there.id, "too late") is GONE


@pytest.mark.parametrize("id", [0, -1, 1, 2**63 - 1, 2**63, 2**78, 10**30])
async def test_an_id_that_nobody_has_is_gone(cluster: Cluster, id: int) -> None:
    assert await cluster.send(id, "nobody") is GONE
    assert await cluster.close(id) is GONE


async def test_a_message_may_end_the_connection(clients: Clients, cluster: Cluster) -> None:
    there = Visitor(clients, "room")
    assert await cluster.send(there.id, "last", flags=ConnectionFlags.DISCONNECT_AFTER_SEND) is OK
    assert there.next() == b"last"
    clients.until(lambda: there.peer.ended)


async def test_closing_a_socket_tells_whether_it_was_open(
    clients: Clients, cluster: Cluster
) -> None:
    there = Visitor(clients, "room")
    assert await cluster.close(there.id, 4000, "enough") is OK
    clients.until(lambda: there.peer.ended)
    assert (there.peer.code, there.peer.reason) == (4000, b"enough")
    assert await cluster.close(there.id) is GONE
    with pytest.raises(ValueError, match="may not be sent"):
        await cluster.close(there.id, 1005)


async def test_what_cannot_be_sent_is_refused_as_by_a_socket(cluster: Cluster) -> None:
    with pytest.raises(TypeError, match="send_json"):
        await cluster.send(1, {"a": 1})  # type: ignore[arg-type]
    with pytest.raises(UnicodeDecodeError):
        await cluster.send(1, b"\xff", is_text=True)
    with pytest.raises(TypeError, match="key takes"):
        await cluster.send(1, "x", key=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await cluster.send("chat", "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name of a group"):
        cluster.group(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not NoneType; leave it out"):
        await cluster.group("room").send("x", exclude=None)  # type: ignore[arg-type]


async def test_a_worker_that_stands_still_leaves_it_queued(
    clients: Clients, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgroups.cluster.owners.ANSWER_WITHIN", 0.3)
    still, other = one_of_each(clients, "room", 2)
    kill(still.pid, signal.SIGSTOP)
    try:
        assert await cluster.send(still.id, "later") is QUEUED
        assert await cluster.send(other.id, "now") is OK
        found = {(each.node << 6 | each.worker): each for each in await cluster.workers()}
        silent = found[still.worker]
        assert (silent.pid, silent.sockets, silent.groups) == (None, 0, {})
    finally:
        kill(still.pid, signal.SIGCONT)
    assert still.next() == b"later"
    assert other.next() == b"now"


# --- groups and rooms -----------------------------------------------------------------------


async def test_a_group_send_reaches_all_workers_but_whom_it_leaves_out(
    clients: Clients, cluster: Cluster
) -> None:
    members = [*one_of_each(clients, "chat", 2), *one_of_each(clients, "chat", 2)]
    chat = cluster.group("chat")
    await settle(clients, cluster, "chat", members)
    await chat.send("all but two", exclude=[members[0].id, members[1].id])
    await chat.send_json(["all but one"], exclude=members[2].id)
    await chat.send(b"all")
    expected = [[b'["all but one"]', b"all"]] * 2
    expected += [[b"all but two", b"all"], [b"all but two", b'["all but one"]', b"all"]]
    assert [
        [member.next() for _ in wanted] for member, wanted in zip(members, expected, strict=True)
    ] == expected
    await chat.close(4001, "over")
    clients.until(lambda: all(member.peer.ended for member in members))
    assert {(m.peer.code, m.peer.reason) for m in members} == {(4001, b"over")}


async def settle(clients: Clients, cluster: Cluster, group: str, members: list[Visitor]) -> None:
    """Wait until those who have just joined are reached."""
    async with asyncio.timeout(20):
        while not all(member.peer.messages for member in members):
            await cluster.group(group).send("probe")
            clients.during(0.02)
    clients.during(0.1)
    for member in members:
        member.peer.messages.clear()


async def test_a_room_send_reaches_its_members_alone(clients: Clients, cluster: Cluster) -> None:
    a, b = one_of_each(clients, "command", 2)
    name = "café\r\n"
    a.do("join", name)

    async def reached() -> bool:
        await cluster.room(name).send("probe")
        clients.during(0.02)
        return bool(a.peer.messages)

    async with asyncio.timeout(20):
        while not await reached():
            pass
    clients.during(0.1)
    a.peer.messages.clear()
    await cluster.room(name).send("to the room")
    assert a.next() == b"to the room"
    (found,) = [each for each in await cluster.workers() if each.pid == a.pid]
    assert found.rooms == {name: 1}
    await cluster.room(name).close()
    clients.until(lambda: a.peer.ended)
    assert b.peer.is_open
    assert not b.peer.messages


async def test_a_message_that_is_too_large_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="64 MiB"):
        await cluster.group("room").send(bytes(64 << 20))
    assert await cluster.send(sequence.now, bytes(64 << 20)) in (GONE, SendResult.DROPPED)


async def test_many_at_once_lose_nothing(clients: Clients, cluster: Cluster) -> None:
    """More than an outbox holds, given in one turn of the loop."""
    there = Visitor(clients, "room")
    size = 64 << 10
    results = await asyncio.gather(*(cluster.send(there.id, bytes(size)) for _ in range(200)))
    assert set(results) <= {OK, SendResult.BUFFERED}
    await asyncio.gather(*(cluster.group("nobody").send(bytes(size)) for _ in range(200)))
    clients.until(lambda: len(there.peer.messages) == 200)


# --- who is there ---------------------------------------------------------------------------


async def test_workers_say_what_they_serve(
    running: Running, clients: Clients, cluster: Cluster
) -> None:
    members = one_of_each(clients, "room", 2)
    workers = await cluster.workers()
    assert {each.pid for each in workers} == children(running.pid)
    expected = sorted(member.worker for member in members)
    assert [each.node << 6 | each.worker for each in workers] == expected
    for each in workers:
        assert each.sockets == sum(each.groups.values()) >= 1
        assert each.groups["room"] >= 1
        assert each.since.tzinfo is not None


# --- without await --------------------------------------------------------------------------


def test_a_script_needs_no_loop(running: Running, clients: Clients) -> None:
    here, there = one_of_each(clients, "room", 2)
    with Cluster(running.url) as cluster:
        assert cluster.send(there.id, "by id") is OK
        assert cluster.send_json(there.id, [1]) is OK
        cluster.group("room").send("all", exclude=here.id)
        cluster.group("room").send_json([2], exclude=[here.id])
        assert [there.next() for _ in range(4)] == [b"by id", b"[1]", b"all", b"[2]"]
        cluster.room("empty").send("nobody")
        cluster.room("empty").close()
        assert {each.pid for each in cluster.workers()} == children(running.pid)
        assert cluster.close(there.id, 4002, "bye") is OK
        assert cluster.close(there.id + 1000) is GONE
        clients.until(lambda: there.peer.ended)
        cluster.group("room").close()
        clients.until(lambda: here.peer.ended)
    with pytest.raises(RuntimeError, match="use it within `with`"):
        cluster.send(there.id, "too late")
    assert "wsgroups-cluster" not in {thread.name for thread in threading.enumerate()}


def test_threads_share_a_cluster_each_in_its_order(running: Running, clients: Clients) -> None:
    there = Visitor(clients, "room")
    with Cluster(running.url) as cluster:

        def send(name: int) -> None:
            for number in range(500):
                assert cluster.send(there.id, f"{name} {number}") is OK

        threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        clients.until(lambda: len(there.peer.messages) == 2000)
        for thread in threads:
            thread.join()
    for name in range(4):
        mine = [m.split()[1] for m in there.peer.messages if m.startswith(b"%d " % name)]
        assert mine == [b"%d" % number for number in range(500)]


async def test_other_loops_may_use_it(clients: Clients, cluster: Cluster) -> None:
    there = Visitor(clients, "room")

    async def send() -> SendResult:
        await cluster.group("nobody").send("x")
        return await cluster.send(there.id, "from another loop")

    assert await asyncio.to_thread(lambda: asyncio.run(send())) is OK
    assert there.next() == b"from another loop"


async def test_a_loop_is_not_made_to_stand_still(running: Running) -> None:
    with pytest.raises(RuntimeError, match="use `async with"), Cluster(running.url):
        pass
    cluster = await asyncio.to_thread(Cluster(running.url).__enter__)
    with pytest.raises(RuntimeError, match="use `async with"):
        cluster.send(1, "x")
    await asyncio.to_thread(cluster._leave)


async def test_outside_of_async_with_it_says_so(running: Running) -> None:
    cluster = Cluster(running.url)
    with pytest.raises(RuntimeError, match="within `async with`"):
        await cluster.send(1, "x")
    async with cluster:
        assert await cluster.send(1, "x") is GONE
    with pytest.raises(RuntimeError, match="within `async with`"):
        await cluster.group("room").send("x")


def test_without_descriptors_it_fails_and_does_not_hang(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(asyncio, "new_event_loop", fail)
    monkeypatch.setattr(asyncio.events, "new_event_loop", fail)
    with pytest.raises(OSError, match="Too many"), Cluster(running.url):
        pass


FORKS = """
import os, sys
from wsgroups import Cluster

with Cluster() as cluster:
    pid = os.fork()
    if not pid:
        try:
            cluster.send(1, "x")
        except RuntimeError as error:
            print(error, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    print(cluster.send(1, "x").name)
"""


def test_a_child_that_was_forked_is_told_to_open_its_own(running: Running, tmp_path: Path) -> None:
    with Program("-c", FORKS, cwd=tmp_path, variables={"WSGROUPS_BUS": running.url}) as program:
        assert program.wait() == 0
        assert "open a Cluster of its own" in program.output
        assert "GONE" in program.output


# --- scripts --------------------------------------------------------------------------------

SENDS = """
import sys
from wsgroups import Cluster, SendResult

ids = [int(id) for id in sys.argv[1:]]
with Cluster() as cluster:
    for number in range(10_000):
        id = ids[number % len(ids)]
        assert cluster.send(id, str(number)) in (SendResult.OK, SendResult.BUFFERED)
"""


def test_ten_thousand_sends_of_a_script_arrive_in_order(
    running: Running, clients: Clients, tmp_path: Path
) -> None:
    members = [*one_of_each(clients, "room", 2), *one_of_each(clients, "room", 2)]
    arguments = ["-c", SENDS, *(str(member.id) for member in members)]
    with Program(*arguments, cwd=tmp_path, variables={"WSGROUPS_BUS": running.url}) as program:
        clients.until(lambda: sum(len(m.peer.messages) for m in members) == 10_000, 60)
        assert program.wait() == 0, program.output
    for place, member in enumerate(members):
        assert member.peer.messages == [b"%d" % n for n in range(place, 10_000, 4)]


STORMS = """
import asyncio, sys
from wsgroups import Cluster

async def main():
    async with Cluster() as cluster:
        print("begins", flush=True)
        for number in range(10_000_000):
            asyncio.ensure_future(cluster.group("victims").send(f"{number} " + "x" * 10_000))
            await cluster.send(int(sys.argv[1]), f"{number} by id")

asyncio.run(main())
"""


def test_a_script_that_is_killed_in_the_middle_hurts_nobody(
    running: Running, clients: Clients, tmp_path: Path
) -> None:
    members = one_of_each(clients, "victims", 2)
    workers = children(running.pid)
    for _ in range(5):
        program = Program(
            *("-c", STORMS, str(members[0].id)),
            cwd=tmp_path,
            variables={"WSGROUPS_BUS": running.url},
        )
        with program:
            program.wait_for("begins")
            clients.until(lambda: all(len(m.peer.messages) > 50 for m in members))
            kill(program._process.pid)
            program.wait()
        clients.during(0.3)
        for member in members:
            whole = [m for m in member.peer.messages if m.endswith(b"x" * 10_000)]
            numbers = [int(message.split()[0]) for message in whole]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            by_id = [m for m in member.peer.messages if m.endswith(b" by id")]
            assert len(whole) + len(by_id) == len(member.peer.messages)
            member.peer.messages.clear()
    assert all(member.peer.is_open for member in members)
    assert children(running.pid) == workers
    with Cluster(running.url) as cluster:
        assert cluster.send(members[1].id, "still here") is OK
        assert members[1].next() == b"still here"


async def test_a_thousand_come_and_go_and_leave_nothing(tmp_path: Path) -> None:
    hub, path = Hub(), str(tmp_path / "hub.sock")
    await hub.start(path)
    worker, told = UnixBus(path, 1, sequence.begun), Recorder()
    await worker.start(told)
    worker.subscribe(b"groom")
    await soon(worker.sync())
    (link,) = hub.links

    async def visit(number: int) -> None:
        async with Cluster(f"unix:{path}") as cluster:
            await cluster.group("room").send(str(number))
            assert await cluster.send(5, "nobody") is GONE

    for begin in range(0, 1000, 50):
        await asyncio.gather(*(visit(number) for number in range(begin, begin + 50)))
    await until(lambda: hub.links == {link})
    await soon(worker.sync())
    assert hub.exchange.members == {1: link}
    assert hub.exchange.channels_of(link) == 1
    assert worker.peers.known == {}
    assert len(told.got) == 1000
    assert {channel for channel, _ in told.got} == {b"groom"}
    await worker.stop()
    await hub.stop()


# --- the bus --------------------------------------------------------------------------------


def test_without_a_bus_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WSGROUPS_BUS", raising=False)
    with pytest.raises(ValueError, match="set WSGROUPS_BUS"):
        Cluster()
    with pytest.raises(ValueError, match="is no bus"):
        Cluster("http://localhost")
    monkeypatch.setenv("WSGROUPS_BUS", "unix:/elsewhere")
    assert Cluster()._visitor._url == "unix:/elsewhere"


@pytest.mark.parametrize("kind", ["missing", "stale", "file"])
def test_where_no_server_is_it_says_how_to_start_one(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "hub.sock"
    if kind == "stale":
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
    elif kind == "file":
        path.write_text("no socket")
    message = f"no server keeps a bus at unix:{path}; start it with --bus unix:{path}"
    with pytest.raises(BusUnreachableError, match=re.escape(message)), Cluster(f"unix:{path}"):
        pass


async def test_the_password_of_a_broker_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="is no bus") as wrong:
        Cluster("natss://me:secret@localhost")
    assert "secret" not in str(wrong.value)
    monkeypatch.setattr("wsgroups.cluster.visitor._REACHED_WITHIN", 0.0)
    with pytest.raises(BusUnreachableError, match=r"nats://127\.0\.0\.1:1 does not") as away:
        async with Cluster("nats://me:secret@127.0.0.1:1"):
            pass
    assert "secret" not in str(away.value)


async def test_a_socket_that_is_no_hub_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgroups.cluster.visitor._REACHED_WITHIN", 0.2)
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(BusUnreachableError, match="does not answer"):
            await Cluster(f"unix:{path}").__aenter__()


async def test_the_hub_of_another_user_takes_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_log: list[logging.LogRecord]
) -> None:
    monkeypatch.setattr("wsgroups.cluster.hub._who", lambda sock: (os.getuid() + 1, 1))
    hub, path = Hub(), str(tmp_path / "hub.sock")
    await hub.start(path)
    with pytest.raises(BusUnreachableError, match="only from processes of its own user"):
        await soon(Cluster(f"unix:{path}").__aenter__())
    await hub.stop()
    assert "may not connect to the hub" in error_log[0].getMessage()


async def test_after_a_restart_it_finds_the_server_again(tmp_path: Path) -> None:
    url = f"unix:{tmp_path}/hub.sock"
    with service(1, "--bus", url) as first:
        assert first.port
        cluster = Cluster(url)
        await cluster.__aenter__()
        assert len(await cluster.workers()) == 1
        (worker,) = children(first.pid)
        kill(first.pid)
        wait_until(lambda: not is_alive(first.pid))
        await until(lambda: cluster._visitor._place is None)
        with pytest.raises(BusUnreachableError, match="no server keeps a bus"):
            await cluster.send(1, "nobody")
        wait_until(lambda: not Path(f"/proc/{worker}").exists())
    with service(1, "--bus", url) as second, Clients(second.port) as clients:
        there = Visitor(clients, "room")
        assert await cluster.send(there.id, "again") is OK
        assert there.next() == b"again"
        await cluster.__aexit__()


@pytest.mark.parametrize("kind", BROKERS)
async def test_what_was_refused_while_the_broker_was_away_does_not_come_later(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgroups.cluster.visitor._BACK_WITHIN", 0.1)
    with (
        BROKERS[kind]() as broker,
        service(1, "--bus", broker.url) as running,
        Clients(running.port) as clients,
    ):
        there = Visitor(clients, "room")
        async with Cluster(broker.url) as cluster:
            place = cluster._visitor._place
            assert place is not None
            broker.kill()
            await until(lambda: not place.bus.is_connected)
            for refused in (
                cluster.send(there.id, "never"),
                cluster.group("room").send("never"),
                cluster.workers(),
            ):
                with pytest.raises(BusUnreachableError, match="away; nothing was sent"):
                    await soon(refused)
            broker.start()
            monkeypatch.setattr("wsgroups.cluster.visitor._BACK_WITHIN", 5.0)
            # The worker comes back on its own time: until then nobody can be reached.
            await until_sent(lambda: cluster.send(there.id, "first"))
            assert there.next() == b"first"


async def until_sent(send: Callable[[], Awaitable[SendResult]]) -> None:
    async with asyncio.timeout(20):
        while await send() is not OK:
            await asyncio.sleep(0.05)


async def test_what_waits_for_an_answer_hears_that_the_server_has_ended(tmp_path: Path) -> None:
    url = f"unix:{tmp_path}/hub.sock"
    with service(1, "--bus", url) as running, Clients(running.port) as clients:
        there = Visitor(clients, "room")
        async with Cluster(url) as cluster:
            kill(there.pid, signal.SIGSTOP)
            sending = asyncio.ensure_future(cluster.send(there.id, "never"))
            await asyncio.sleep(0)
            kill(running.pid)
            with pytest.raises(BusUnreachableError, match="lost before"):
                await soon(sending)
            kill(there.pid)
