"""Calls from the wrong thread, the wrong loop, too late, while objects are destroyed: no harm."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from tests.faults.service import ROOT
from tests.support import Gate, client, quiet_handle, soon, turns, until
from wsgroups import ConnectionFlags, SendResult, SocketGoneError, WebSocket, serve


def in_thread(function: Callable[[], object]) -> object:
    """Return what a function returns in a thread of its own."""
    result: list[object] = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join()
    return result[0]


def said_by(program: str, timeout: float = 20) -> tuple[int, str, str]:
    """Run a program in a process of its own; return its exit code and what it says."""
    result = subprocess.run(
        [sys.executable, "-Xdev", "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    return result.returncode, result.stdout, result.stderr


async def test_every_verb_of_a_socket_works_in_a_thread_that_is_not_the_loops() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with serve(handle, port=0) as server, client(server) as connection:
        ws = await gate.next()
        assert in_thread(lambda: ws.send("one")) is SendResult.OK
        assert in_thread(lambda: handle.group("room").send("two")) == 1
        in_thread(lambda: ws.join("lobby"))
        await until(lambda: len(handle.room("lobby")))
        in_thread(lambda: handle.room("lobby").send("three"))
        assert [await soon(connection.recv()) for _ in range(3)] == ["one", "two", "three"]
        # An awaitable in a loop of that thread's own.
        pinging = asyncio.to_thread(lambda: asyncio.run(ws.ping(5)))
        assert 0 < await soon(pinging) < 5
        in_thread(lambda: ws.disconnect("from a thread", code=4000))
        with pytest.raises(Exception, match="4000"):
            await soon(connection.recv())
        await until(ws.is_dead)


_CLOSED_FROM_ANOTHER_LOOP = """
import asyncio
from tests.support import quiet_handle
from wsgroups import serve

async def main():
    async with serve(quiet_handle(), port=0) as server:
        def close():
            try:
                asyncio.run(server.close())
            except RuntimeError as error:
                print("refused")
        await asyncio.to_thread(close)

asyncio.run(main())
print("done")
"""


def test_a_server_that_is_closed_in_another_loop_says_so_or_closes() -> None:
    assert said_by(_CLOSED_FROM_ANOTHER_LOOP, timeout=3)[1] in ("done\n", "refused\ndone\n")


def test_without_a_running_loop_a_server_does_not_start() -> None:
    server = serve(quiet_handle(), port=0)
    starting = server.start()
    with pytest.raises(RuntimeError, match="no running event loop"):
        starting.send(None)
    assert server.sockets == ()


async def test_after_the_end_every_verb_is_harmless() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with serve(handle, port=0) as server, client(server) as connection:
        ws = await gate.next()
        await connection.close()
        await until(ws.is_dead)
    for dead in (ws, WebSocket(ws.id)):
        assert dead.send("late") is SendResult.GONE
        assert dead.send_json({}) is SendResult.GONE
        assert dead.send("x", flags=ConnectionFlags.DISCONNECT_IMMEDIATELY) is SendResult.GONE
        assert await soon(dead.deliver("late")) is SendResult.GONE
        assert in_thread(lambda dead=dead: dead.send("late")) is SendResult.GONE  # type: ignore[misc]
        dead.disconnect()
        await soon(dead.drain())
        with pytest.raises(SocketGoneError):
            await dead.ping()
    assert handle.group("room").send("late") == 0
    server.hurry()
    await soon(server.close())


class Sends:
    """What somebody may have written, and will be sorry for."""

    def __init__(self, ws: WebSocket, log: list[object]) -> None:
        self.ws = ws
        self.log = log
        self.itself = self  # so that it takes the collector to find it

    def __del__(self) -> None:
        self.log.append(self.ws.send("destroyed"))
        self.log.append(self.ws.group.send("to all"))


async def test_an_object_that_sends_while_it_is_destroyed() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    log: list[object] = []
    async with serve(handle, port=0) as server, client(server) as connection:
        ws = await gate.next()

        @handle.websocket("busy")
        def on_message(message: str, socket: WebSocket) -> None:
            Sends(ws, log)
            gc.collect()
            socket.send("and then")

        other_gate = Gate(handle, "busy", "/busy")
        async with client(server, "/busy") as busy:
            await other_gate.next()
            await busy.send("go")
            assert await soon(busy.recv()) == "and then"
            assert await soon(connection.recv()) == "destroyed"
            assert await soon(connection.recv()) == "to all"
        Sends(ws, log)
        in_thread(gc.collect)  # in another thread
        assert await soon(connection.recv()) == "destroyed"
        assert await soon(connection.recv()) == "to all"
        Sends(ws, log)
    await turns()
    gc.collect()
    assert log == [SendResult.OK, 1, SendResult.OK, 1, SendResult.GONE, 0]


_TO_THE_END = """
import asyncio, atexit, threading
from tests.drivers.crowd import App, connected
from tests.support import Wire, handshake
from wsgroups import serve

class Sends:
    def __init__(self, ws):
        self.ws = ws
    def __del__(self):
        self.ws.send("while the interpreter ends")
        self.ws.group.send("the same")

async def main():
    app = App()
    async with serve(app.handle, port=0) as server:
        wire = Wire(connected(server))
        await wire.upgrade()
        ws = await app.gate.next()
        atexit.register(lambda: ws.send("at exit"))
        wire.sock.close()
    return Sends(ws)

kept = asyncio.run(main())
itself = [kept]
itself.append(itself)
print("done")
"""


def test_a_program_may_send_until_the_interpreter_is_gone() -> None:
    assert said_by(_TO_THE_END) == (0, "done\n", "")
