"""The hub: workers that are slow, stuck or broken hurt nobody else."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.recording import Recorder
from tests.support import Gate, quiet_handle, soon, until
from wsgroups import testing
from wsgroups.cluster import frames
from wsgroups.cluster.channels import group_channel
from wsgroups.cluster.exchange import Member
from wsgroups.cluster.frames import SENT_AT, Kind
from wsgroups.cluster.hub import Hub, HubLink
from wsgroups.cluster.unix import UnixBus
from wsgroups.ids import sequence


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[tuple[Hub, str]]:
    hub = Hub()
    path = str(tmp_path / "hub")
    await hub.start(path)
    yield hub, path
    await hub.stop()


async def joined(path: str, address: int) -> tuple[UnixBus, Recorder]:
    bus, recorder = UnixBus(path, address), Recorder()
    await soon(bus.start(recorder))
    return bus, recorder


async def raw(path: str, address: int | None = None) -> socket.socket:
    """A worker that reads only when the test does."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await soon(loop.sock_connect(sock, path))
    if address is not None:
        await soon(loop.sock_sendall(sock, frames.peer(address, 1)))
    return sock


async def read_frames(sock: socket.socket, kind: Kind, count: int) -> list[bytes]:
    """Read until so many frames of a kind have come."""
    reader = frames.FrameReader()
    found: list[bytes] = []
    while len(found) < count:
        data = await soon(asyncio.get_running_loop().sock_recv(sock, 1 << 20))
        assert data, "the hub has closed"
        found += [frame for frame in reader.feed(data) if frame[4] == kind]
    return found


BROKEN = [
    b"\xff\xff\xff\xff\x03",
    frames.send(2, b"before it has said who it is"),
    frames.peer(1, 1),  # which is taken
    frames.peer(5, 1) + frames.text(Kind.GAP, b""),
    frames.peer(5, 1) + frames.text(Kind.SEND, b"\0"),
    frames.peer(5, 1) + frames.text(Kind.PUBLISH, b"\0\0\0\x09abc"),
    frames.peer(5, 1) + b"\0\0\0\0\xee",
    b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
]


@pytest.mark.parametrize("data", BROKEN, ids=range(len(BROKEN)))
async def test_a_worker_that_makes_no_sense_is_let_go_alone(
    hub: tuple[Hub, str], data: bytes, error_log: list[logging.LogRecord]
) -> None:
    a, from_a = await joined(hub[1], 1)
    with await raw(hub[1]) as sock:
        await soon(asyncio.get_running_loop().sock_sendall(sock, data))
        while await soon(asyncio.get_running_loop().sock_recv(sock, 4096)):
            pass
    assert "broken" in error_log[0].getMessage()
    a.send(1, b"still here")
    await soon(a.sync())
    assert from_a.got == [(None, b"still here")]
    await until(lambda: len(hub[0].links) == 1)
    await a.stop()


async def test_everyone_waits_for_a_worker_that_is_slow_and_nothing_is_lost(
    hub: tuple[Hub, str],
) -> None:
    a, _ = await joined(hub[1], 1)
    chunk = bytes(100_000)
    with await raw(hub[1], 2) as slow:
        await until(lambda: a.peers.known)

        async def send() -> None:
            for i in range(600):  # 60 MB, much more than may wait
                a.send(2, b"%3d" % i + chunk)
                await a.drain()

        sending = asyncio.ensure_future(send())
        got = await read_frames(slow, Kind.SEND, 600)
        await soon(sending)
    assert [int(frame[SENT_AT : SENT_AT + 3]) for frame in got] == list(range(600))
    assert hub[0].dropped == 0
    await a.stop()


async def test_a_worker_that_takes_nothing_loses_the_oldest_and_is_told(
    hub: tuple[Hub, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgroups.cluster.hub._STUCK_AFTER", 0.05)
    a, _ = await joined(hub[1], 1)
    b, from_b = await joined(hub[1], 3)
    chunk = bytes(1_000_000)
    with await raw(hub[1], 2) as stuck:
        await until(lambda: len(a.peers.known) == 2)
        for i in range(100):
            a.send(2, b"%3d" % i + chunk)
            await soon(a.drain())
        a.send(3, b"the others go on")
        await until(lambda: from_b.got)
        await soon(a.sync())
        lost = hub[0].dropped
        assert 0 < lost < 100
        reader = frames.FrameReader()
        got: list[int] = []
        told = 0
        while len(got) + told < 100:
            data = await soon(asyncio.get_running_loop().sock_recv(stuck, 1 << 20))
            for frame in reader.feed(data):
                if frame[4] == Kind.SEND:
                    got.append(int(frame[SENT_AT : SENT_AT + 3]))
                elif frame[4] == Kind.GAP:
                    told += frames.number_of(frame)
    assert told == lost
    assert got == sorted(got)
    assert got[-1] == 99
    await a.stop()
    await b.stop()


async def test_who_waits_behind_what_is_lost_on_the_way_to_the_hub_is_answered(
    hub: tuple[Hub, str],
) -> None:
    a, from_a = UnixBus(hub[1], 1, limit=1 << 20), Recorder()
    await soon(a.start(from_a))
    for link in hub[0].links:
        link.set_reading(False)
    for _ in range(40):
        a.send(2, bytes(100_000))
        await asyncio.sleep(0)
    waiting = asyncio.ensure_future(a.sync())
    await asyncio.sleep(0)
    for _ in range(40):
        a.send(2, bytes(100_000))
    assert not waiting.done()
    for link in hub[0].links:
        link.set_reading(True)
    await soon(waiting)
    assert from_a.lost
    await a.stop()


async def test_who_waits_behind_what_is_lost_on_the_way_back_is_answered(
    hub: tuple[Hub, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgroups.cluster.hub.QUEUE_LIMIT", 1 << 20)
    a, _from_a = await joined(hub[1], 1)
    b, from_b = await joined(hub[1], 2)
    assert b._link is not None
    assert b._link.transport is not None
    b._link.transport.pause_reading()
    for _ in range(40):
        a.send(2, bytes(100_000))
        await soon(a.sync())
    waiting = asyncio.ensure_future(b.sync())
    await asyncio.sleep(0.01)
    for _ in range(40):
        a.send(2, bytes(100_000))
        await soon(a.sync())
    assert not waiting.done()
    b._link.transport.resume_reading()
    await soon(waiting)
    assert from_b.lost
    await b.stop()
    await a.stop()


async def test_a_worker_that_ends_without_a_word_is_gone_for_the_others(
    hub: tuple[Hub, str],
) -> None:
    a, _ = await joined(hub[1], 1)
    sock = await raw(hub[1], 2)
    await until(lambda: a.peers.known == {2: 1})
    sock.close()
    await until(lambda: a.peers.known == {})
    await a.stop()


async def test_when_the_hub_ends_its_workers_hear_of_it(tmp_path: Path) -> None:
    hub = Hub()
    path = str(tmp_path / "hub")
    await hub.start(path)
    gone = asyncio.Event()
    bus, recorder = UnixBus(path, 1, on_lost=gone.set), Recorder()
    await bus.start(recorder)
    await hub.stop()
    await soon(gone.wait())
    bus.send(1, b"nobody")
    with pytest.raises(ConnectionError):
        await bus.sync()
    await soon(bus.drain())
    await bus.stop()


async def test_when_the_hub_ends_nobody_is_said_to_have_left(tmp_path: Path) -> None:
    hub = Hub()
    path = str(tmp_path / "hub")
    await hub.start(path)
    joined_buses = [await joined(path, address) for address in (1, 2, 3)]
    await hub.stop()
    for bus, recorder in joined_buses:
        await until(lambda bus=bus: not bus.peers.known)
        assert len(recorder.heard) == 2
        assert all(is_there for _, is_there in recorder.heard)
        await bus.stop()


async def test_the_hub_knows_who_connects(hub: tuple[Hub, str]) -> None:
    bus, _ = await joined(hub[1], 1)
    assert [link.pid for link in hub[0].links] == [os.getpid()]
    assert Path(hub[1]).stat().st_mode & 0o077 == 0
    hub[0].drop(os.getpid())
    await until(lambda: not hub[0].links)
    await bus.stop()


async def test_what_a_worker_said_last_is_heard_when_its_process_has_ended(
    hub: tuple[Hub, str],
) -> None:
    a, from_a = await joined(hub[1], 1)
    sock = await raw(hub[1], 2)
    await until(lambda: len(hub[0].links) == 2)
    (link,) = [link for link in hub[0].links if link.address == 2]
    link.pid = 1 << 22  # the child that holds its connection open is played by this process
    said = 0
    with contextlib.suppress(BlockingIOError):
        while said < 5000:  # as much as the kernel holds for it
            frame = frames.send(1, b"%d" % said + bytes(100))
            assert sock.send(frame) == len(frame)
            said += 1
    hub[0].drop(1 << 22)
    await until(lambda: (2, False) in from_a.heard)
    await soon(a.sync())
    assert [int(data[:-100]) for _, data in from_a.got] == list(range(said))
    assert said > 50
    sock.close()
    await a.stop()


async def test_what_a_worker_said_last_is_heard_though_it_takes_nothing_any_more(
    hub: tuple[Hub, str],
) -> None:
    a, from_a = await joined(hub[1], 1)
    for life in range(10):
        sock = await raw(hub[1], 2)
        await until(lambda: 2 in a.peers.known)
        for number in range(50):
            sock.send(frames.send(1, b"%d" % number + bytes(100)))
        sock.close()
        # Both before the hub looks whether something has come: it fails to write.
        hub[0].exchange.send(frames.send(2, bytes(1000)))
        await until(lambda: 2 not in a.peers.known)
        await soon(a.sync())
        assert [int(data[:-100]) for _, data in from_a.got] == list(range(50)), life
        from_a.got.clear()
    await a.stop()


async def test_joining_and_leaving_in_one_turn_costs_nothing(hub: tuple[Hub, str]) -> None:
    a, from_a = await joined(hub[1], 1)
    b, _ = await joined(hub[1], 2)
    for _ in range(1000):
        a.subscribe(b"c")
        a.unsubscribe(b"c")
    a.subscribe(b"d")
    await soon(a.sync())
    (link,) = [link for link in hub[0].links if link.address == 1]
    assert hub[0].exchange.channels_of(link) == 1
    b.publish(b"c", b"no")
    b.publish(b"d", b"yes")
    await soon(b.sync())
    await soon(a.sync())
    assert from_a.got == [(b"d", b"yes")]
    await a.stop()
    await b.stop()


async def test_a_group_send_costs_one_message_a_worker(
    hub: tuple[Hub, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever members a worker has, and none for one that has no members."""
    came: list[int] = []  # senders of what is published
    passed: list[tuple[int, int]] = []  # what the hub writes to workers: to whom, and its kind
    publish, put = hub[0].exchange.publish, HubLink.put

    def spy_on_publish(sender: Member, frame: bytes) -> None:
        came.append(sender.address)
        publish(sender, frame)

    def spy_on_put(link: HubLink, frame: bytes) -> None:
        passed.append((link.address, frame[4]))
        put(link, frame)

    monkeypatch.setattr(hub[0].exchange, "publish", spy_on_publish)
    monkeypatch.setattr(HubLink, "put", spy_on_put)
    handle = quiet_handle()
    here = UnixBus(hub[1], sequence.address, sequence.begun)
    await soon(here.start(handle.join_bus(here)))
    others = [await joined(hub[1], address) for address in (1, 2, 3, 4)]
    for bus, _ in others[:3]:
        bus.subscribe(group_channel("room", None))
        await soon(bus.sync())
    gate = Gate(handle)
    async with testing.start(handle) as app:
        members = await gate.admit(app, 20)
        await soon(here.sync())
        passed.clear()
        handle.group("room").send("hello")
        for client, _ in members:
            await client.expect("hello")
        for bus, _ in (*others, (here, None)):
            await soon(bus.sync())
    assert came == [sequence.address]
    assert sorted(to for to, kind in passed if kind != Kind.SYNC) == [1, 2, 3]
    assert [len(recorder.got) for _, recorder in others] == [1, 1, 1, 0]
    handle.leave_bus()
    for bus in (here, *(bus for bus, _ in others)):
        await bus.stop()


# --- who says something ---------------------------------------------------------------------


async def test_the_hub_knows_who_has_said_something(hub: tuple[Hub, str]) -> None:
    server, path = hub
    bus, _ = await joined(path, 1)
    assert server.heard() == {os.getpid()}
    assert server.heard() == set()
    bus.note("here")
    await until(server.heard)
    assert server.heard() == set()
    await bus.stop()


async def test_nobody_who_is_held_back_counts_as_silent(hub: tuple[Hub, str]) -> None:
    server, path = hub
    bus, _ = await joined(path, 1)
    (link,) = server.links
    server.heard()
    link.set_reading(False)
    assert server.heard() == server.heard() == {os.getpid()}
    link.set_reading(True)
    assert server.heard() == {os.getpid()}  # it was held back for a part of the time
    assert server.heard() == set()
    await bus.stop()
