"""The client: against our own server, against others, and against servers that do wrong."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import websockets.asyncio.server
import websockets.exceptions
from aiohttp import web

import wsgroups
from tests.support import ACCEPT, soon, turns, until
from wsgroups import (
    Backoff,
    ClientSocket,
    CloseInfo,
    Handle,
    HandlerStatus,
    HandshakeFailedError,
    Request,
    Server,
    Side,
    SocketGoneError,
    WebSocket,
    connect,
)
from wsgroups.codec.frames import Decoder
from wsgroups.connection.handshake import accept_key


def echo_handle(**policy: Any) -> Handle:
    handle = Handle(**policy)
    handle.group("room", subprotocols=["chat.v2", "chat.v1"])

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        request.require_upgrade()
        request.send_upgrade(
            "room",
            headers={"X-Asked": request.headers.get("X-Ask", ""), "X-Origin": "none"},
            cookies=["a=b"],
        )
        return HandlerStatus.HANDLED

    @handle.websocket("room")
    def echo(message: str | bytes, ws: WebSocket) -> None:
        if message == "close":
            ws.disconnect("as you wish", 4000)
        else:
            ws.send(message)

    return handle


def address(server: Server, path: str = "/ws") -> str:
    return server.ws_url + path


async def test_messages_go_both_ways() -> None:
    async with wsgroups.serve(echo_handle(), port=0) as server:
        async with connect(address(server)) as socket:
            for message in ("text", "", "æøå 😀", b"", b"\x00\xff", "x" * 200_000, bytes(900_000)):
                await socket.send(message)
                assert await soon(socket.recv()) == message
            await socket.send(bytearray(b"as text"), is_text=True)
            assert await soon(socket.recv()) == "as text"
            await socket.send_json({"a": [1, None]})
            assert await soon(socket.recv_json()) == {"a": [1, None]}
            assert 0 <= await soon(socket.ping()) < 20
            assert socket.is_open
            assert socket.close_info is None
        assert socket.close_info == CloseInfo(1000, "", True, Side.LOCAL)
        assert not socket.is_open
        with pytest.raises(SocketGoneError, match="closed \\(1000\\)"):
            await socket.send("too late")
        with pytest.raises(SocketGoneError):
            await socket.recv()
        with pytest.raises(SocketGoneError):
            await socket.ping()
        await socket.close()


async def test_the_handshake_asks_and_agrees() -> None:
    async with (
        wsgroups.serve(echo_handle(), port=0) as server,
        connect(
            address(server), subprotocols=["chat.v1", "other"], headers={"X-Ask": "me"}
        ) as socket,
    ):
        assert socket.subprotocol == "chat.v1"
        assert socket.headers["x-asked"] == "me"
        assert socket.headers["Set-Cookie"] == "a=b"


async def test_iteration_ends_with_the_socket() -> None:
    async with wsgroups.serve(echo_handle(), port=0) as server, connect(address(server)) as socket:
        for message in ("1", "2", "close"):
            await socket.send(message)
        assert [message async for message in socket] == ["1", "2"]
        assert socket.close_info == CloseInfo(4000, "as you wish", True, Side.REMOTE)


async def test_recv_waits_no_longer_than_it_is_told_and_for_one_task() -> None:
    async with wsgroups.serve(echo_handle(), port=0) as server, connect(address(server)) as socket:
        with pytest.raises(TimeoutError):
            await socket.recv(timeout=0.01)
        receiving = asyncio.ensure_future(socket.recv())
        await turns()
        with pytest.raises(RuntimeError, match="another task is receiving"):
            await socket.recv()
        await socket.send("still there")
        assert await soon(receiving) == "still there"


async def test_a_server_that_is_faster_than_its_client_is_held_up() -> None:
    handle = echo_handle(write_limit=1 << 30)
    sent = 0
    async with (
        wsgroups.serve(handle, port=0) as server,
        connect(address(server), max_queue=4) as socket,
    ):
        (ws,) = handle.group("room")
        while ws.buffered_amount < 1 << 20:
            ws.send(bytes(65_536))
            sent += 1
            await turns(1)
        await asyncio.sleep(0.05)
        assert ws.buffered_amount > 0
        for _ in range(sent):
            assert await soon(socket.recv()) == bytes(65_536)


async def test_a_client_that_is_faster_than_its_server_waits() -> None:
    handle = Handle(max_queued_events=1)
    go = asyncio.Event()
    got = 0

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        request.send_upgrade("room")
        return HandlerStatus.HANDLED

    @handle.websocket("room")
    async def slow(message: bytes, ws: WebSocket) -> None:
        nonlocal got
        await go.wait()
        got += 1

    async with wsgroups.serve(handle, port=0) as server, connect(address(server)) as socket:

        async def flood() -> None:
            for _ in range(200):
                await socket.send(bytes(100_000))

        flooding = asyncio.ensure_future(flood())
        await asyncio.sleep(0.1)
        assert not flooding.done()
        go.set()
        await soon(flooding)
        await until(lambda: got == 200)


async def test_a_server_that_stops_is_a_clean_end() -> None:
    async with wsgroups.serve(echo_handle(), port=0) as server:
        socket = await connect(address(server))
        await server.close()
        await soon(socket.wait_closed())  # the server's end comes first, by some turns of the loop
        assert socket.close_info == CloseInfo(1001, "", True, Side.REMOTE)


# --- other servers ----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def websockets_echo() -> AsyncIterator[str]:
    async def echo(connection: websockets.asyncio.server.ServerConnection) -> None:
        with contextlib.suppress(websockets.exceptions.ConnectionClosedError):
            async for message in connection:
                await connection.send(message)

    async with websockets.asyncio.server.serve(echo, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@contextlib.asynccontextmanager
async def aiohttp_echo() -> AsyncIterator[str]:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is web.WSMsgType.TEXT:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("echo", [websockets_echo, aiohttp_echo])
async def test_it_speaks_with_other_servers(
    echo: Callable[[], contextlib.AbstractAsyncContextManager[str]],
) -> None:
    async with echo() as url, connect(url) as socket:
        for message in ("text", b"binary", "x" * 100_000):
            await socket.send(message)
            assert await soon(socket.recv()) == message
        await soon(socket.ping())
        await soon(socket.close(4000, "bye"))
        assert socket.close_info == CloseInfo(4000, "bye", True, Side.LOCAL)


# --- servers that do wrong --------------------------------------------------------------------

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]
_KEY = b"sec-websocket-key: "


@contextlib.asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[str]:
    """A server that reads the handshake and then does what it is told."""

    running: set[asyncio.Task[None]] = set()

    async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(reader, writer, await reader.readuntil(b"\r\n\r\n"))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.ensure_future(follow(reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        await soon(asyncio.wait(running))


def switch(request: bytes, *lines: str) -> bytes:
    """Return a valid 101, with further header lines."""
    from wsgroups.connection.handshake import accept_key

    key = request[request.lower().index(_KEY) + len(_KEY) :].partition(b"\r\n")[0]
    head = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key)}",
        *lines,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def answering(answer: bytes) -> Script:
    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> None:
        writer.write(switch(request) if answer == b"" else answer)
        await writer.drain()

    return script


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nX-Why: no\r\n\r\n", 403, "answered with status 403"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "answered with status 200"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", 301, "answered with status 301"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", None, "no HTTP"),
        (
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n\r\n",
            None,
            "wrong accept key",
        ),
        (b"HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", None, "something else"),
        (b"HTTP/1.1 101 S\r\nX: " + b"y" * 70_000, None, "too long|no HTTP"),
        (b"HTTP/1.1 1", None, "closed during the handshake"),
    ],
)
async def test_an_answer_that_is_no_handshake_is_refused(
    answer: bytes, status: int | None, words: str
) -> None:
    async with scripted(answering(answer)) as url:
        with pytest.raises(HandshakeFailedError, match=words) as failed:
            await soon(connect(url)._open())
        assert failed.value.status == status
        if status == 403:
            assert failed.value.headers["x-why"] == "no"


@pytest.mark.parametrize(
    "line",
    [
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Protocol: not-offered",
    ],
)
async def test_what_was_not_offered_is_not_agreed_to(line: str) -> None:
    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> None:
        writer.write(switch(request, line))

    async with scripted(script) as url:
        with pytest.raises(HandshakeFailedError, match="not offered"):
            await connect(url, subprotocols=["offered"])


async def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    async def script(reader: asyncio.StreamReader, *_: object) -> None:
        await reader.read()  # until the client goes

    async with scripted(script) as url:
        with pytest.raises(TimeoutError):
            await connect(url, open_timeout=0.05)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x81abcdx", 1002),  # masked
        (b"\xc1\x00", 1002),
        (b"\x81\x01\xff", 1007),
        (b"\x82\x7e\x10\x00" + bytes(4096), 1009),
    ],
)
async def test_a_server_that_breaks_the_protocol_is_told_so(data: bytes, code: int) -> None:
    told: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> None:
        writer.write(switch(request) + b"\x81\x05hello" + data)
        told.put_nowait(await reader.read())

    async with scripted(script) as url, connect(url, max_message_size=4095) as socket:
        assert [message async for message in socket] == ["hello"]
        assert socket.close_info == CloseInfo(code, "", False, Side.LOCAL)
        answer = await soon(told.get())
        assert answer[:2] == b"\x88\x82"  # masked, as all that a client sends
        assert bytes(a ^ b for a, b in zip(answer[6:8], answer[2:4], strict=True)) == code.to_bytes(
            2, "big"
        )


async def test_a_server_that_drops_the_connection_is_1006() -> None:
    async with scripted(answering(b"")) as url, connect(url) as socket:
        assert [message async for message in socket] == []
        assert socket.close_info == CloseInfo(1006, "", False, Side.REMOTE)


async def test_a_server_that_never_answers_a_close_is_dropped() -> None:
    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> None:
        writer.write(switch(request))
        await reader.read()

    async with scripted(script) as url:
        socket = await connect(url, close_timeout=0.05)
        await soon(socket.close())
        assert socket.close_info == CloseInfo(1006, "", False, Side.LOCAL)


async def test_a_silent_server_is_pinged_and_given_up() -> None:
    received: list[bytes] = []

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> None:
        writer.write(switch(request))
        received.append(await reader.read())

    async with (
        scripted(script) as url,
        connect(url, ping_interval=0.05, ping_timeout=0.05, close_timeout=0.1) as socket,
    ):
        await soon(socket.wait_closed())
        assert socket.close_info == CloseInfo(1011, "", False, Side.LOCAL)
        await until(lambda: received)
        assert received[0][:2] == b"\x89\x80"


# --- again and again --------------------------------------------------------------------------


async def test_it_connects_again_when_the_server_is_back() -> None:
    async with wsgroups.serve(echo_handle(), port=0) as server:
        port = server.port
    sockets: list[ClientSocket] = []
    serving = asyncio.ensure_future(come_and_go(port, 3))
    async for socket in connect(
        f"ws://127.0.0.1:{port}/ws", backoff=Backoff(first=0.01, most=0.05)
    ):
        sockets.append(socket)
        async for _ in socket:
            pass
        if len(sockets) == 3:
            break
    await soon(serving)
    assert len(set(map(id, sockets))) == 3
    assert all(socket.close_info is not None for socket in sockets)


async def come_and_go(port: int, times: int) -> None:
    """Be a server that stops as soon as somebody has come."""
    for _ in range(times):
        await asyncio.sleep(0.05)
        handle = echo_handle()
        async with wsgroups.serve(handle, port=port):
            await until(lambda handle=handle: len(handle.group("room")))


async def test_a_refusal_that_will_not_change_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    answers = [b"HTTP/1.1 503 Busy\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n"]

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> None:
        writer.write(answers.pop(0))

    caplog.set_level(logging.INFO, "wsgroups")
    async with scripted(script) as url:
        attempts = aiter(connect(url, backoff=Backoff(first=0.01)))
        with pytest.raises(HandshakeFailedError, match="status 404"):
            await anext(attempts)
    assert "answered with status 503; next attempt in 0.0 s" in caplog.text


def test_waits_grow_to_a_bound_and_are_spread() -> None:
    delays = Backoff(first=1, most=8).delays()
    drawn = [next(delays) for _ in range(1000)]
    assert all(0 <= d <= bound for d, bound in zip(drawn, (1, 2, 4, 8), strict=False))
    assert 7 < max(drawn) <= 8
    assert len(set(drawn)) > 990


# --- what cannot be ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://x/", "begins with ws:// or wss://"),
        ("ws:///path", "names no host"),
        ("ws://x/#a", "has a fragment"),
        ("ws://user:secret@x/", "credentials stand in headers"),
        ("ws://x/ä", "percent-encoded"),
        ("ws://x/a b", "percent-encoded"),
    ],
)
def test_an_address_that_cannot_be_is_refused(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        connect(url)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"X": "a\r\nY: b"}, "has a CR, LF or NUL in it"),
        ({"Host": "x"}, "part of the handshake"),
        ({"bad name": "x"}, "not a valid HTTP token"),
    ],
)
def test_a_header_that_cannot_be_is_refused(headers: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        connect("ws://x/", headers=headers)


async def test_what_is_no_message_is_refused() -> None:
    async with wsgroups.serve(echo_handle(), port=0) as server, connect(address(server)) as socket:
        with pytest.raises(TypeError, match="send_json"):
            await socket.send({"a": 1})
        with pytest.raises(UnicodeDecodeError):
            await socket.send(b"\xff", is_text=True)
        with pytest.raises(ValueError, match="may not be sent"):
            await socket.close(1005)
        await socket.send("fine")
        assert await soon(socket.recv()) == "fine"


async def test_a_connect_that_is_cancelled_leaves_nothing_behind() -> None:
    async with wsgroups.serve(echo_handle(), port=0) as server:

        async def open_one() -> None:
            await connect(address(server))

        for count in range(12):
            task = asyncio.ensure_future(open_one())
            await turns(count)
            task.cancel()
            await asyncio.wait([task])
            await turns(5)
        # What the loop is told of afterwards fails the test, by the fixture that watches it.


async def raw_server(*segments: bytes) -> asyncio.Server:
    """A server that answers each handshake, sends these, and echoes nothing."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line[19:] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-K"))
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n"
        )
        for segment in segments:
            writer.write(segment)
        received.append(await reader.read())
        writer.close()

    received.clear()
    return await asyncio.start_server(serve_one, "127.0.0.1", 0)


received: list[bytes] = []
GOOD, BAD = b"\x81\x04good", b"\x83\x00"


def url_of(server: asyncio.Server) -> str:
    return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_what_came_before_a_bad_frame_can_still_be_answered() -> None:
    server = await raw_server(GOOD + GOOD + BAD + GOOD)
    async with server:
        async with connect(url_of(server)) as socket:
            async for message in socket:
                await socket.send(message)
            assert socket.close_info == CloseInfo(1002, "", False, Side.LOCAL)
        await until(lambda: received)
    frames = Decoder().feed(received[0])
    assert [event[:2] for event in frames] == [
        ("text", "good"),
        ("text", "good"),
        ("close", (1002, "")),
    ]


@pytest.mark.parametrize("leave", ["wait", "close"])
async def test_a_bad_frame_does_not_wait_for_ever_for_who_does_not_read(leave: str) -> None:
    server = await raw_server(GOOD + BAD)
    async with server, connect(url_of(server), close_timeout=0.05) as socket:
        await until(lambda: socket.has_message)
        await (socket.wait_closed() if leave == "wait" else socket.close())
        assert socket.close_info == CloseInfo(1002, "", False, Side.LOCAL)
        assert await socket.recv() == "good"


async def test_so_many_fragments_are_taken_as_asked_for() -> None:
    message = b"\x01\x01x" + b"\x00\x01x" * 8 + b"\x80\x01x"
    for most, code in ((10, None), (9, 1008)):
        server = await raw_server(message)
        connecting = connect(url_of(server), max_fragments=most, close_timeout=0.05)
        async with server, connecting as socket:
            if code is None:
                assert await soon(socket.recv()) == "x" * 10
            else:
                await soon(socket.wait_closed())
                assert socket.close_info == CloseInfo(code, "", False, Side.LOCAL)
