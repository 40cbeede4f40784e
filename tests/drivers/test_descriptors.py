"""A driver and the process: accepting, descriptors that run out or live on, its own end."""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from tests.drivers.crowd import (
    App,
    connected,
    crowd,
    epolls,
    gone,
    rest,
    server_side,
    standing,
    text,
    waiting,
    watched,
)
from tests.support import TEXT, Wire, handshake, soon, turns, until, wire
from wsgroups import ConnectionFlags, SendResult, SocketGoneError, WebSocket, serve
from wsgroups.connection.connection import Connection
from wsgroups.connection.http import HttpPhase
from wsgroups.drivers.epoll import EpollDriver
from wsgroups.drivers.transports import TransportDriver

LOOKS_AT_EPOLL = pytest.mark.only_on_epoll(reason="asks the kernel what epoll watches")
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
NewLoop = Callable[[], asyncio.AbstractEventLoop]

NO_DESCRIPTORS = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


def descriptors() -> set[int]:
    """Return the descriptors of this process."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            os.readlink(f"/proc/self/fd/{name}")  # not the one that listdir used
            found.add(int(name))
    return found


# --- accepting --------------------------------------------------------------------------------


async def test_hundreds_that_connect_at_once_are_all_served() -> None:
    app = App()
    async with serve(app.handle, port=0) as server:
        wires = [Wire(connected(server)) for _ in range(500)]
        for number, connection in enumerate(wires):
            connection.sock.send(handshake() + text(number))
        for number, connection in enumerate(wires):
            assert (await connection.answer()).status == 101
            assert await connection.frame() == (TEXT, str(number).encode())
            connection.sock.close()
        await until(lambda: len(app.parted) == 500)


async def test_clients_that_are_gone_before_they_are_accepted() -> None:
    app = App()
    async with serve(app.handle, port=0) as server:
        for number in range(60):
            connection = Wire(connected(server))
            if number % 3:
                connection.sock.send(handshake() + text("hello"))
            if number % 2:
                connection.reset()
            else:
                connection.sock.close()
        await turns(10)
        async with wire(server) as connection:
            await connection.upgrade()
            connection.sock.send(text("hello"))
            assert await connection.frame() == (TEXT, b"hello")
        await until(lambda: not len(app.group))
        await rest()


@contextlib.contextmanager
def no_descriptors(but: int = 0) -> Iterator[None]:
    """For a while, no descriptor is to be had in this process, or no more than a few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 2 + but, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                fillers.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(but):
            os.close(fillers.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            os.close(fd)


@pytest.mark.only_on_epoll(reason="asyncio waits a second, and uvloop drops without a word")
@pytest.mark.parametrize("ahead", [b"", handshake()])
async def test_without_descriptors_clients_are_told_and_let_go(ahead: bytes) -> None:
    app = App()
    async with serve(app.handle, port=0) as server, crowd(server, app, 1) as ends:
        clients = [socket.socket() for _ in range(70)]
        instances = epolls()
        with no_descriptors():
            for client in clients:
                client.connect((server.host, server.port))
                client.setblocking(False)
                client.send(ahead)
            for client in clients:
                connection = Wire(client)
                assert await connection.read(len(NO_DESCRIPTORS)) == NO_DESCRIPTORS
                assert await connection.read_all() == b""
            ends[0][0].sock.send(text("hello"))
            assert await ends[0][0].frame() == (TEXT, b"hello")
            await rest(instances)
        for client in clients:
            client.close()
        async with crowd(server, app, 3) as fresh:
            for connection, _ in fresh:
                connection.sock.send(text("hello"))
                assert await connection.frame() == (TEXT, b"hello")


@pytest.mark.only_on_epoll(reason="transports need no descriptors to start")
@pytest.mark.parametrize("but", [0, 1, 2, 3])
async def test_a_start_without_descriptors_leaves_nothing_open(but: int) -> None:
    app = App()
    before = descriptors()
    server = serve(app.handle, port=0)
    with no_descriptors(but):
        with pytest.raises(OSError, match="Too many open files"):
            await server.start()
        await soon(server.close())
    assert descriptors() == before
    async with serve(app.handle, port=0) as another, crowd(another, app, 1) as ends:
        ends[0][0].sock.send(text("hello"))
        assert await ends[0][0].frame() == (TEXT, b"hello")


# --- descriptors that live on -----------------------------------------------------------------


@LOOKS_AT_EPOLL
async def test_a_descriptor_that_lives_on_elsewhere_brings_no_events() -> None:
    app = App()
    async with serve(app.handle, port=0) as server, crowd(server, app, 1) as ends:
        connection, ws = ends[0]
        fd = server_side(connection.sock)
        assert fd is not None
        (epoll,) = (each for each in epolls() if fd in watched(each))
        before = watched(epoll)
        twin = os.dup(fd)
        ws.send("last", flags=ConnectionFlags.DISCONNECT_IMMEDIATELY)
        await gone(app, ws)
        assert watched(epoll) == before - {fd}
        async with crowd(server, app, 3) as fresh:
            connection.sock.send(text("is anybody there?"))  # it is: the connection lives on
            await rest()
            await turns(10)
            assert app.heard == []
            assert [waiting(each) for each, _ in fresh] == [b"", b"", b""]
        os.close(twin)


_FORK = """
import asyncio, os
from tests.drivers.crowd import App, crowd, text
from wsgroups import serve

async def echo_once(app):
    async with serve(app.handle, port=0) as server, crowd(server, app, 3) as ends:
        for connection, _ in ends:
            connection.sock.send(text("child"))
            assert await connection.frame() == (1, b"child")

async def main():
    app = App()
    async with serve(app.handle, port=0) as server, crowd(server, app, 3) as ends:
        asyncio.get_running_loop().slow_callback_duration = 60  # it waits for its child
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(echo_once(App()))
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        for connection, _ in ends:
            connection.sock.send(text("parent"))
            assert await connection.frame() == (1, b"parent")
        async with crowd(server, app, 3) as more:
            for connection, _ in more:
                connection.sock.send(text("parent"))
                assert await connection.frame() == (1, b"parent")

asyncio.run(main())
"""


def run_python(program: str) -> None:
    """Run a program in a process of its own; it must end well and say nothing."""
    root = Path(__file__).parents[2]
    result = subprocess.run(
        # What -Xdev does but for the debug mode of asyncio, which tells when the machine is slow.
        [sys.executable, "-Wdefault", "-Xfaulthandler", "-c", program],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONMALLOC": "debug"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_a_fork_in_the_middle_of_serving_may_serve_in_a_loop_of_its_own() -> None:
    run_python(_FORK)


_FORK_AND_STAY = """
import asyncio, os
from tests.drivers.crowd import App, crowd, text
from wsgroups import ConnectionFlags, SendResult, WebSocket, serve

def look(app, sockets):
    assert len(app.group) == 0
    assert app.group.send("from the child") == 0
    for ws in sockets + [WebSocket(ws.id) for ws in sockets]:
        assert ws.is_dead()
        assert ws.send("from the child") is SendResult.GONE
        assert ws.send("", flags=ConnectionFlags.DISCONNECT_IMMEDIATELY) is SendResult.GONE
        ws.disconnect()
    assert app.parted == []

async def main():
    app = App()
    looked, looked_end = os.pipe()
    stay, stay_end = os.pipe()
    async with serve(app.handle, port=0) as server, crowd(server, app, 3) as ends:
        sockets = [ws for _, ws in ends]
        asyncio.get_running_loop().slow_callback_duration = 60  # it waits for its child
        child = os.fork()
        if child == 0:
            try:
                os.close(stay_end)
                look(app, sockets)
                os.write(looked_end, b"x")
                os.read(stay, 1)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(looked_end)
        assert os.read(looked, 1) == b"x"
        sockets[0].send("last", flags=ConnectionFlags.DISCONNECT_IMMEDIATELY)
        assert await ends[0][0].frame() == (1, b"last")
        assert await ends[0][0].read_all() == b""
        for connection, _ in ends[1:]:
            connection.sock.send(text("parent"))
            assert await connection.frame() == (1, b"parent")
        os.close(stay_end)
        _, status = os.waitpid(child, 0)
        assert status == 0, status

asyncio.run(main())
"""


def test_the_sockets_of_a_fork_are_its_parents_alone() -> None:
    run_python(_FORK_AND_STAY)


# --- the driver's own life --------------------------------------------------------------------


@LOOKS_AT_EPOLL
async def test_the_servers_of_a_loop_share_a_driver_until_the_last_has_closed() -> None:
    app = App()
    before = set(epolls())
    async with serve(app.handle, port=0) as first:
        async with serve(app.handle, port=0) as second:
            (driver,) = set(epolls()) - before
            async with crowd(first, app, 2) as ours, crowd(second, app, 2) as theirs:
                assert {server_side(each.sock) for each, _ in ours + theirs} < watched(driver)
                closing = asyncio.ensure_future(second.close())
                for connection, ws in theirs:
                    assert await connection.closing() == (1001, "")
                    connection.send_fin()
                    await gone(app, ws)
                await soon(closing)
                for connection, _ in ours:
                    connection.sock.send(text("hello"))
                    assert await connection.frame() == (TEXT, b"hello")
        assert set(epolls()) - before == {driver}
    assert set(epolls()) == before


def living() -> list[object]:
    """Return what the drivers of this process hold for their sockets, and the drivers."""
    gc.collect()
    kinds = EpollDriver | TransportDriver | Connection | HttpPhase
    return [x for x in gc.get_objects() if isinstance(x, kinds)]


async def test_starting_and_stopping_leaves_nothing() -> None:
    app = App()
    async with serve(app.handle, port=0) as server, wire(server):
        await turns()  # from the first accept on, uvloop keeps a descriptor in reserve
    await turns()
    before = descriptors()
    others = living()  # what another test kept alive is for that test to tell
    for _ in range(100):
        async with serve(app.handle, port=0) as server, wire(server) as connection:
            await connection.upgrade()
            ws = await app.gate.next()
            connection.sock.send(text("hello"))
            assert await connection.frame() == (TEXT, b"hello")
            ws.group.send("to all")
    await until(lambda: len(app.parted) == 100)
    del ws, connection, server
    await turns()
    assert [x for x in living() if x not in others] == []
    assert descriptors() == before


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("count", [0, 3])
def test_a_driver_that_was_never_closed_warns_and_frees_all(new_loop: NewLoop, count: int) -> None:
    app = App()
    before = descriptors()
    loop = new_loop()
    server = serve(app.handle, port=0)
    loop.run_until_complete(server.start())
    listening = [sock.dup() for sock in server.sockets]
    wires = [Wire(connected(server)) for _ in range(count)]

    async def use() -> list[int]:
        for each in wires:
            await each.upgrade()
        return [(await app.gate.next()).id for _ in wires]

    ids = loop.run_until_complete(use())
    app.group.send("never sent")
    assert len(app.group) == count
    for sock in (*server.sockets, *listening):
        sock.close()
    # Loops warn of transports too. uvloop does when it closes them, and would not if that raised.
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        loop.close()
        del loop, server, use
        gc.collect()
    assert "a wsgroups driver was never closed" in [str(each.message) for each in warned]
    assert len(app.group) == 0
    for each, id in zip(wires, ids, strict=True):
        assert each.sock.recv(1000) == b""
        each.sock.close()
        assert WebSocket(id).is_dead()
        assert WebSocket(id).send("hello") is SendResult.GONE
    assert app.parted == []
    assert descriptors() == before


@pytest.mark.parametrize("new_loop", LOOPS)
def test_verbs_from_threads_end_when_the_server_has_closed(new_loop: NewLoop) -> None:
    app = App()
    with standing(new_loop, app, 2) as (_, _, ends):
        sockets = [ws for _, ws in ends]
    outcomes: list[object] = []

    async def use(ws: WebSocket) -> None:
        outcomes.append(ws.send("too late"))
        outcomes.append(app.group.send("too late"))
        ws.disconnect("too late")
        await ws.drain()
        with pytest.raises(SocketGoneError):
            await ws.ping(1)
        outcomes.append("done")

    for ws in sockets:
        thread = threading.Thread(target=asyncio.run, args=(soon(use(ws)),))
        thread.start()
        thread.join()
    assert outcomes == [SendResult.GONE, 0, "done"] * 2


async def test_waiting_in_a_loop_that_is_closed_by_now_harms_nobody() -> None:
    app = App(write_limit=64 << 20)
    async with serve(app.handle, port=0) as server, crowd(server, app, 1) as ends:
        connection, ws = ends[0]
        ws.send(bytes(8 << 20))

        async def give_up() -> None:
            draining = asyncio.ensure_future(ws.drain())
            pinging = asyncio.ensure_future(ws.ping())
            await turns(10)
            draining.cancel()
            pinging.cancel()
            await asyncio.wait({draining, pinging})

        await asyncio.to_thread(asyncio.run, give_up())
        assert await connection.frame() == (2, bytes(8 << 20))
        opcode, payload = await connection.frame()
        await connection.send(b"\x8a" + bytes([0x80 | len(payload)]) + bytes(4) + payload)
        connection.sock.send(text("hello"))
        assert (opcode, await connection.frame()) == (9, (TEXT, b"hello"))
        connection.reset()
        await gone(app, ws)
