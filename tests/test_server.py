"""A server inside a running loop: where it listens, how it starts, how it stops."""

import asyncio
import contextlib
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.support import (
    CLOSE,
    TEXT,
    Gate,
    Wire,
    ask,
    client,
    frame,
    handshake,
    quiet_handle,
    request,
    soon,
    turns,
    until,
    wire,
)
from wsgroups import (
    CloseInfo,
    Handle,
    HandlerStatus,
    Request,
    ServerConfig,
    Side,
    WebSocket,
    serve,
)


def hello(answer: str = "hello") -> Handle:
    """Return a Handle with one plain route."""
    handle = Handle()
    handle.get("/")(lambda request: answer)
    return handle


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks begin at once from Python 3.12 on")
async def test_a_request_that_begins_at_once_may_close_another_server() -> None:
    """Within a turn of the driver that both share."""
    parted: list[WebSocket] = []
    handle, others = Handle(), quiet_handle()
    others.websocket_disconnect("room")(parted.append)
    gate = Gate(others)
    other = serve(others, port=0, drain_timeout=0.1)

    @handle.get("/stop")
    async def stop(request: Request) -> str:
        await other.close()
        return "stopped"

    async with serve(handle, port=0) as server:
        await other.start()
        assert (await ask(server, request("/stop"))).body == b"stopped"
        await soon(other.wait_closed())
        other = serve(others, port=0, drain_timeout=0.1)
        await other.start()
        async with wire(other) as connection:
            await connection.upgrade()
            ws = await gate.next()
            assert (await ask(server, request("/stop"))).body == b"stopped"
            await soon(other.wait_closed())
        await until(lambda: parted == [ws])


# --- where it listens -----------------------------------------------------------------------


async def test_port_0_takes_a_free_port_and_tells_which() -> None:
    server = serve(hello(), port=0)
    assert server.port == 0
    async with server:
        assert server.port > 0
        assert server.host == "127.0.0.1"
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert server.ws_url == f"ws://127.0.0.1:{server.port}"
        assert [sock.getsockname()[1] for sock in server.sockets] == [server.port]
        assert (await ask(server, request("/"))).body == b"hello"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port))


async def test_a_port_that_is_taken_is_named() -> None:
    async with serve(hello(), port=0) as server:
        with pytest.raises(OSError, match=rf"127\.0\.0\.1 port {server.port}.*another program"):
            await serve(hello(), port=server.port).start()
        assert (await ask(server, request("/"))).body == b"hello"


async def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(OSError, match="no-such-host"):
        await serve(hello(), host="no-such-host.invalid", port=0).start()


async def test_the_port_can_be_had_again_at_once() -> None:
    async with serve(hello(), port=0) as server, client_of_nothing(server.port):
        pass
    async with serve(hello("again"), port=server.port) as second:
        assert (await ask(second, request("/"))).body == b"again"


@contextlib.asynccontextmanager
async def client_of_nothing(port: int) -> Any:
    """A connection that is open while the server stops."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield reader
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_ipv6_and_names_with_several_addresses() -> None:
    async with serve(hello(), host="::1", port=0) as server:
        assert server.url == f"http://[::1]:{server.port}"
        with socket.create_connection(("::1", server.port)):
            pass
    async with serve(hello(), host="localhost", port=0) as server:
        assert {sock.getsockname()[1] for sock in server.sockets} == {server.port}
        for sock in server.sockets:
            with socket.create_connection(sock.getsockname()[:2]):
                pass


async def test_a_unix_socket_serves_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    handle = hello()
    gate = Gate(handle)
    async with serve(handle, uds=str(path)) as server:
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert server.port == 0
        assert server.host == str(path)
        assert (await ask(server, request("/"))).body == b"hello"
        async with websockets.unix_connect(str(path), "ws://test/ws") as connection:
            ws = await gate.next()
            assert ws.request.client is None
            ws.send("over unix")
            assert await soon(connection.recv()) == "over unix"
    assert not path.exists()


async def test_a_unix_socket_left_behind_is_replaced_but_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serve(hello(), uds=str(path)) as server:
        assert (await ask(server, request("/"))).body == b"hello"
        with pytest.raises(OSError, match=r"a\.sock"):
            await serve(hello(), uds=str(path)).start()
        assert (await ask(server, request("/"))).body == b"hello"
    path.write_text("precious")
    with pytest.raises(OSError, match=r"a\.sock"):
        await serve(hello(), uds=str(path)).start()
    assert path.read_text() == "precious"


async def test_several_servers_share_one_loop() -> None:
    one, two = hello("one"), hello("two")
    async with serve(one, port=0) as first, serve(two, port=0) as second:
        async with serve(one, port=0) as third:
            bodies = [(await ask(s, request("/"))).body for s in (first, second, third)]
            assert bodies == [b"one", b"two", b"one"]
        assert (await ask(first, request("/"))).body == b"one"
        assert (await ask(second, request("/"))).body == b"two"


async def test_one_application_on_two_ports_is_one_application() -> None:
    handle = Handle()
    gate = Gate(handle)
    handle.websocket("room")(lambda message, ws: ws.group.send(message))
    async with (
        serve(handle, port=0) as first,
        serve(handle, port=0) as second,
        client(first) as here,
        client(second) as there,
    ):
        await gate.next()
        await gate.next()
        await here.send("to all")
        assert await soon(here.recv()) == await soon(there.recv()) == "to all"


async def test_a_server_closes_only_its_own_sockets() -> None:
    handle = Handle()
    gate = Gate(handle)
    async with serve(handle, port=0) as first, serve(handle, port=0) as second, client(second):
        await gate.next()
        async with client(first):
            kept = await gate.next()
            await second.close()
            assert handle.group("room").ids() == [kept.id]


async def test_a_limit_of_connections_holds_for_its_own_server() -> None:
    async with (
        serve(hello(), port=0) as roomy,
        serve(hello(), port=0, max_connections=1) as small,
        wire(roomy) as one,
        wire(roomy) as two,
        wire(small) as only,
        wire(small) as more,
    ):
        for connection in (one, two, only):
            assert (await connection.ask(request("/"))).status == 200
        assert (await more.answer()).status == 503


async def test_it_lives_beside_other_servers_of_the_loop() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    plain = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = plain.sockets[0].getsockname()[1]
    async with plain, serve(hello(), port=0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"line\n")
        assert (await ask(server, request("/"))).body == b"hello"
        assert await soon(reader.readline()) == b"line\n"
        writer.close()
        await writer.wait_closed()


# --- options --------------------------------------------------------------------------------


def test_an_option_that_does_not_exist_is_refused_with_the_one_that_does() -> None:
    with pytest.raises(TypeError, match="'hots'; did you mean 'host'"):
        serve(Handle(), hots="0.0.0.0")


@pytest.mark.parametrize(
    "options", [{"port": -1}, {"port": 65536}, {"handshake_timeout": 0}, {"drain_timeout": -1}]
)
def test_a_value_that_cannot_work_is_refused_by_name(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=name):
        serve(Handle(), **options)
    with pytest.raises(ValueError, match=name):
        ServerConfig(**options)


async def test_a_server_starts_once() -> None:
    async with serve(hello(), port=0) as server:
        with pytest.raises(RuntimeError, match="started already"):
            await server.start()


# --- stopping -------------------------------------------------------------------------------


async def test_closing_twice_or_before_the_start_does_no_harm() -> None:
    server = serve(hello(), port=0)
    await soon(server.close())
    async with serve(hello(), port=0) as server:
        await asyncio.gather(server.close(), server.close())
        await soon(server.wait_closed())
        await soon(server.close())


async def test_a_code_that_may_not_be_sent_does_not_stop_the_server() -> None:
    server = serve(hello(), port=0)
    await server.start()
    for code in (0, 999, 1005, 1006, 5000):
        with pytest.raises(ValueError, match=str(code)):
            await soon(server.close(code))
    assert (await ask(server, request("/"))).body == b"hello"
    await soon(server.close(1012))
    await soon(server.wait_closed())


async def test_a_unix_socket_that_cannot_be_removed_does_not_hold_a_stop_up(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    server = serve(hello(), uds=str(path))
    await server.start()
    path.unlink()
    path.mkdir()
    with contextlib.suppress(OSError):  # told or not, it is no reason to go on
        await soon(server.close())
    await soon(server.close())
    await soon(server.wait_closed())
    assert path.is_dir()


async def test_an_exception_in_the_block_stops_the_server_as_well() -> None:
    with pytest.raises(LookupError):
        async with serve(hello(), port=0) as server:
            raise LookupError
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port))


async def test_serve_forever_ends_with_close_and_closes_when_cancelled() -> None:
    async with serve(hello(), port=0) as server:
        forever = asyncio.ensure_future(server.serve_forever())
        await turns()
        await server.close()
        await soon(forever)
    async with serve(hello(), port=0) as server:
        forever = asyncio.ensure_future(server.serve_forever())
        await turns()
        forever.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(forever)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port))


async def _answer_close(connection: Wire) -> tuple[int, str]:
    code, reason = await connection.closing()
    await connection.send(frame(CLOSE, code.to_bytes(2, "big")))
    assert await connection.read_all() == b""
    return code, reason


@pytest.mark.parametrize(
    ("arguments", "expected"), [((), (1001, "")), ((1012, "back soon"), (1012, "back soon"))]
)
async def test_stopping_closes_every_socket_and_waits_for_the_answers(
    arguments: tuple[Any, ...], expected: tuple[int, str]
) -> None:
    handle = Handle()
    gate = Gate(handle)
    gone: list[WebSocket] = []
    handle.websocket_disconnect("room")(gone.append)
    async with serve(handle, port=0) as server, contextlib.AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(wire(server)) for _ in range(5)]
        for connection in connections:
            await connection.upgrade()
            await gate.next()
        closing = asyncio.ensure_future(server.close(*arguments))
        await turns(10)
        assert not closing.done()
        for connection in connections:
            assert await _answer_close(connection) == expected
        await soon(closing)
        info = CloseInfo(*expected, True, Side.LOCAL)
        assert [ws.close_info for ws in gone] == [info] * 5


async def test_a_peer_that_does_not_answer_is_dropped_after_its_close_timeout() -> None:
    handle = Handle(close_timeout=0.1)
    gate = Gate(handle)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        ws = await gate.next()
        await soon(server.close())
        assert ws.close_info == CloseInfo(1006, "", False, Side.LOCAL)


async def test_the_drain_ends_at_its_timeout() -> None:
    handle = Handle(close_timeout=60.0)
    gate = Gate(handle)
    async with serve(handle, port=0, drain_timeout=0.1) as server, wire(server) as connection:
        await connection.upgrade()
        ws = await gate.next()
        await soon(server.close())
        assert ws.close_info == CloseInfo(1006, "", False, Side.LOCAL)


async def test_a_drain_can_be_hurried() -> None:
    handle = Handle(close_timeout=60.0)
    gate = Gate(handle)
    async with serve(handle, port=0, drain_timeout=60.0) as server, wire(server) as connection:
        await connection.upgrade()
        await gate.next()
        closing = asyncio.ensure_future(server.close())
        assert await connection.closing() == (1001, "")
        server.hurry()
        await soon(closing)
        assert await connection.read_all() == b""


async def test_what_was_sent_before_goes_out_first() -> None:
    handle = Handle(write_limit=64 << 20)
    gate = Gate(handle)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        ws = await gate.next()
        ws.send(bytes(8 << 20))
        closing = asyncio.ensure_future(server.close())
        assert await connection.frame() == (2, bytes(8 << 20))
        assert await _answer_close(connection) == (1001, "")
        await soon(closing)


async def test_idle_http_connections_do_not_hold_a_stop_up() -> None:
    async with (
        serve(hello(), port=0) as server,
        wire(server) as fresh,
        wire(server) as used,
        wire(server) as begun,
    ):
        await used.ask(request("/"))
        await begun.send(request("/")[:-2])
        await turns(10)
        await soon(server.close())
        assert await fresh.read_all() == b""
        assert await used.read_all() == b""
        assert (await begun.answer()).status == 503


async def test_a_request_being_handled_is_answered_before_the_stop() -> None:
    handle = Handle()
    began, gone_on = asyncio.Event(), asyncio.Event()

    @handle.get("/")
    async def later(request: Request) -> str:
        began.set()
        await gone_on.wait()
        return "in time"

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.send(request("/"))
        await soon(began.wait())
        closing = asyncio.ensure_future(server.close())
        await turns(10)
        gone_on.set()
        answer = await connection.answer()
        assert (answer.body, answer.get("Connection")) == (b"in time", "close")
        await soon(closing)


async def test_an_upgrade_during_the_stop_gets_503() -> None:
    handle = Handle()
    began, gone_on = asyncio.Event(), asyncio.Event()

    @handle.get("/ws")
    async def enter(request: Request) -> HandlerStatus:
        began.set()
        await gone_on.wait()
        request.send_upgrade("room")
        return HandlerStatus.HANDLED

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.send(handshake())
        await soon(began.wait())
        closing = asyncio.ensure_future(server.close())
        await turns(10)
        gone_on.set()
        answer = await connection.answer()
        assert (answer.status, answer.get("Retry-After")) == (503, "1")
        await soon(closing)


async def test_handlers_that_still_run_are_waited_for() -> None:
    handle = Handle()
    Gate(handle)
    log: list[str] = []
    gone_on = asyncio.Event()

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        log.append("began")
        await gone_on.wait()
        log.append("ended")

    @handle.websocket_disconnect("room")
    async def on_disconnect(ws: WebSocket) -> None:
        await turns()
        log.append("gone")

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"x"))
        await until(lambda: log)
        closing = asyncio.ensure_future(server.close())
        await _answer_close(connection)
        await turns(10)
        assert not closing.done()
        gone_on.set()
        await soon(closing)
    assert log == ["began", "ended", "gone"]


async def test_disconnect_handlers_of_those_dropped_at_the_timeout_are_waited_for() -> None:
    handle = Handle(close_timeout=60.0)
    gate = Gate(handle)
    log: list[str] = []

    @handle.websocket_disconnect("room")
    async def on_disconnect(ws: WebSocket) -> None:
        log.append("began")
        await turns(10)
        log.append("ended")

    async with serve(handle, port=0, drain_timeout=0.1) as server, wire(server) as connection:
        await connection.upgrade()
        await gate.next()
        await soon(server.close())
        assert log == ["began", "ended"]


async def test_handlers_that_never_end_are_cancelled() -> None:
    handle = Handle(handler_grace=0.1)
    Gate(handle)
    log: list[str] = []

    async def forever(what: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            log.append(what)
            raise

    handle.websocket("room")(lambda message, ws: forever("message"))
    handle.websocket_disconnect("room")(lambda ws: forever("disconnect"))
    handle.get("/")(_named(forever))
    async with (
        serve(handle, port=0, drain_timeout=0.3) as server,
        wire(server) as connection,
        wire(server) as plain,
    ):
        await connection.upgrade()
        await connection.send(frame(TEXT, b"x"))
        await plain.send(request("/"))
        await turns(10)
        closing = asyncio.ensure_future(server.close())
        await _answer_close(connection)
        await soon(closing)
    assert sorted(log) == ["disconnect", "message", "request"]


def _named(forever: Callable[[str], Any]) -> Callable[[Request], Any]:
    async def handler(request: Request) -> None:
        await forever("request")

    return handler
