"""The portable driver: what transports hold, and how they are let go of."""

import asyncio
import contextlib
import gc
import socket
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.drivers.crowd import App, connected, crowd, gone, standing, text, waiting
from tests.support import TEXT, Wire, frame, handshake, soon, turns, until, wire
from wsgroups import ConnectionFlags, Request, SendResult, WebSocket, serve

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
PIECE = 64 << 10  # what a transport is given at once

NewLoop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(autouse=True)
def _driver(monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    monkeypatch.setenv("WSGROUPS_DRIVER", "transports")


def drain(wire: Wire) -> bytes:
    """Return all that the kernel has for a client, and what it gets when that is taken."""
    data = b""
    while part := waiting(wire):
        data += part
    return data


# --- what a transport holds -------------------------------------------------------------------


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("count", [1, 100])
def test_what_the_kernel_has_not_taken_is_all_told(new_loop: NewLoop, count: int) -> None:
    app = App(write_limit=64 << 20)
    with standing(new_loop, app, 1) as (loop, _, ends):
        connection, ws = ends[0]
        message = bytes((8 << 20) // count)
        total = 0
        for _ in range(count):
            ws.send(message)
            total += len(frame(2, message)) - 4  # not masked
        loop.run_until_complete(turns())
        assert 0 < ws.buffered_amount < total
        # The loop stands still: what comes now is what the kernel had.
        assert len(drain(connection)) + ws.buffered_amount == total
        draining = loop.create_task(ws.drain())
        left = ws.buffered_amount
        assert len(loop.run_until_complete(connection.read(left))) == left
        loop.run_until_complete(soon(draining))
        assert ws.buffered_amount == 0


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_backlog_stays_where_policies_see_it(new_loop: NewLoop) -> None:
    app = App(slow_consumer="conflate", write_limit=64 << 20, write_high_water=1 << 20)
    with standing(new_loop, app, 1) as (loop, _, ends):
        connection, ws = ends[0]
        size = 1000
        for number in range(20_000):
            app.group.send(f"{number:{size}}", key="price")
            loop.run_until_complete(asyncio.sleep(0))
        # One piece with the transport, and the newest message.
        assert size <= ws.buffered_amount <= PIECE + 2 * (size + 4)
        newest = f"{19_999:{size}}".encode()
        seen = 0
        while loop.run_until_complete(connection.frame()) != (TEXT, newest):
            seen += 1
        assert 0 < seen < 20_000


@pytest.mark.parametrize("new_loop", LOOPS)
def test_bytes_with_transports_count_for_the_whole_process(new_loop: NewLoop) -> None:
    app = App(write_limit=64 << 20, close_timeout=60.0)
    limit = 1 << 20
    with standing(new_loop, app, 0) as (loop, _, _):
        server = serve(app.handle, port=0, max_total_write_buffer=limit)
        loop.run_until_complete(server.start())
        run = loop.run_until_complete
        stack = contextlib.AsyncExitStack()
        ends = run(stack.enter_async_context(crowd(server, app, 40)))
        for _ in range(400):
            app.group.send(bytes(16_000))
            run(turns())
        run(until(lambda: any(ws.is_dead() for _, ws in ends)))
        held = sum(ws.buffered_amount for _, ws in ends)
        assert held <= limit + len(ends) * PIECE // 4
        for connection, _ in ends:
            connection.reset()
        run(stack.aclose())
        run(server.close())


# --- who connects -----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_request_knows_its_client(host: str) -> None:
    app = App()
    app.handle.get("/who")(lambda request: list(request.client or ()))
    async with serve(app.handle, host=host, port=0) as server:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as sock:
            sock.connect((host, server.port))
            sock.setblocking(False)
            answer = await Wire(sock).ask(b"GET /who HTTP/1.1\r\nHost: test\r\n\r\n")
            assert answer.body == f'["{host}",{sock.getsockname()[1]}]'.encode()


async def test_a_client_without_an_address_is_not_taken_for_a_proxy_on_a_unix_socket(
    tmp_path: Path,
) -> None:
    asked: list[Any] = []
    app = App()

    @app.handle.get("/")
    def index(request: Request) -> str:
        asked.append(request.client)
        return "yes"

    async with serve(app.handle, port=0, trusted_proxies=["unix"]) as server:
        lines = b"Host: test\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
        for _ in range(50):
            connection = Wire(connected(server))
            connection.sock.send(b"GET / HTTP/1.1\r\n" + lines)
            connection.reset()  # its address is gone before it is accepted
            await turns()
        async with wire(server) as other:
            await other.ask(b"GET / HTTP/1.1\r\n" + lines)
        assert {client[0] for client in asked} == {"127.0.0.1"}


@pytest.mark.parametrize("ahead", [b"", handshake()])
async def test_a_client_that_is_on_its_way_when_the_server_closes_is_let_go(ahead: bytes) -> None:
    app = App(close_timeout=0.1)
    for pause in range(6):
        server = serve(app.handle, port=0)
        await server.start()
        connection = Wire(connected(server))
        connection.sock.send(ahead)
        await turns(pause)
        await soon(server.close())
        while await connection._more():
            pass
        connection.sock.close()
    await turns()


# --- what is received -------------------------------------------------------------------------


def test_a_socket_may_end_between_the_place_for_its_bytes_and_their_coming() -> None:
    """As by a finalizer: the collector may run there. asyncio's loop receives in Python."""
    app = App()
    size = 900_000
    taken: list[bytes] = []
    sockets: list[WebSocket] = []

    def before_receiving(frame: object, event: str, function: object) -> None:
        if event == "c_call" and getattr(function, "__name__", "") == "recv_into" and not taken:
            sockets[0].send("bye", flags=ConnectionFlags.DISCONNECT_IMMEDIATELY)
            taken.append(bytes(size))  # in the memory of the message, if that is free now

    async def main() -> None:
        async with serve(app.handle, port=0) as server, crowd(server, app, 1) as ends:
            connection, ws = ends[0]
            sockets.append(ws)
            start = b"\x82\xff" + size.to_bytes(8, "big") + bytes(4)
            await connection.send(start + b"A" * 1000)
            await turns(10)
            sys.setprofile(before_receiving)
            try:
                connection.sock.send(b"A" * 100_000)
                await until(ws.is_dead)
                await turns()
            finally:
                sys.setprofile(None)
        assert taken
        assert taken[0].count(b"A") == 0

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(main())


# --- how they end -----------------------------------------------------------------------------


async def test_a_broken_connection_is_noticed_by_the_send_that_finds_it() -> None:
    app = App()
    results: list[SendResult] = []

    def break_off(message: object, ws: WebSocket) -> None:
        connection.reset()
        for _ in range(100):
            results.append(ws.send(bytes(60_000)))

    app.on_message = break_off
    async with serve(app.handle, port=0) as server, crowd(server, app, 1) as ends:
        connection, ws = ends[0]
        connection.sock.send(text("hello"))
        await gone(app, ws)
        assert results[-1] is SendResult.GONE


async def test_a_peer_that_resets_while_it_is_not_read_is_gone_after_a_ping() -> None:
    app = App(max_queued_events=1, ping_interval=0.2, ping_timeout=60.0, handler_grace=60.0)
    opened = asyncio.Event()

    async def wait(message: object, ws: WebSocket) -> None:
        await opened.wait()

    app.on_message = wait
    async with serve(app.handle, port=0) as server, crowd(server, app, 1) as ends:
        connection, ws = ends[0]
        connection.sock.send(text("hello") * 10)
        await until(lambda: app.heard)
        connection.reset()
        await until(ws.is_dead)
        opened.set()
        await gone(app, ws)


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_closed_loop_lets_go_of_its_connections(new_loop: NewLoop) -> None:
    app = App()
    loop = new_loop()
    server = serve(app.handle, port=0)
    loop.run_until_complete(server.start())
    connection = Wire(connected(server))
    loop.run_until_complete(connection.upgrade())
    ws = loop.run_until_complete(app.gate.next())
    # asyncio warns of its own objects; what is asserted is that we let go of them.
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        loop.close()
        ws.send("too late")  # finds that the loop is closed
        assert ws.send("too late") is SendResult.GONE
        assert connection.sock.recv(1000) == b""
        for sock in server.sockets:
            sock.close()
        del server, loop
        gc.collect()
    told = [str(each.message) for each in warned]
    assert "a loop was closed before the wsgroups servers in it" in told
    assert len(app.group) == 0
    assert app.parted == []
    connection.sock.close()
