"""The socket as applications see it: identity, verbs, and how it ends."""

import array
import asyncio
import gc
import logging
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Gate,
    Wire,
    client,
    frame,
    handshake,
    soon,
    turns,
    until,
    wire,
)
from wsgroups import (
    CloseCode,
    CloseInfo,
    ConnectionFlags,
    Group,
    Handle,
    Request,
    SendResult,
    Server,
    Side,
    SocketGoneError,
    SocketStatus,
    WebSocket,
    serve,
)


class Scene:
    """A server with one group that only records, and a way to get both ends of a socket."""

    def __init__(self, **policy: Any) -> None:
        self.handle = Handle(**policy)
        self.gate = Gate(self.handle)
        self.texts: list[str] = []
        self.gone: list[WebSocket] = []
        self.handle.websocket("room", kind="text")(lambda text, ws: self.texts.append(text))
        self.handle.websocket_disconnect("room")(self.gone.append)

    async def open(self, connection: Wire) -> WebSocket:
        await connection.upgrade()
        return await self.gate.next()


async def fill(ws: WebSocket, result: SendResult, size: int = 65_536) -> int:
    """Send to a peer that does not read until `send` says `result`; returns how often."""
    for count in range(1, 2000):
        if ws.send(bytes(size)) is result:
            return count
        await turns()
    raise AssertionError("the kernel takes everything")


# --- identity -------------------------------------------------------------------------------


async def test_a_socket_can_be_pickled_as_its_id() -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        stored = pickle.dumps(ws)
        assert pickle.loads(stored) == ws
        assert pickle.loads(stored).send("hello") is SendResult.OK
        assert await connection.frame() == (TEXT, b"hello")
    assert pickle.loads(stored).is_dead()
    assert pickle.loads(pickle.dumps(WebSocket(-1))).id == -1


async def test_an_id_gives_the_same_socket_back() -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        same = WebSocket(ws.id)
        assert same is not ws
        assert same == ws
        assert hash(same) == hash(ws)
        assert {ws: "x"}[same] == "x"
        assert int(ws) == ws.to_uint64() == ws.id == same.id
        assert range(ws.id + 1)[ws] == ws.id
        assert WebSocket(ws) == ws
        assert ws != WebSocket(ws.id + 1)
        assert ws != ws.id
        assert str(ws.id) in repr(ws)
        same.send("through the id")
        assert await connection.frame() == (TEXT, b"through the id")


@pytest.mark.parametrize("value", [-1, 0, 1 << 62, 1 << 63, 1 << 64, 10**30])
def test_any_integer_is_a_dead_socket_that_never_raises(value: int) -> None:
    ws = WebSocket(value)
    assert ws.id == value
    assert ws.is_dead()
    assert ws.status in (SocketStatus.NEVER_ISSUED, SocketStatus.UNKNOWN_NODE)
    assert ws.send("x") is SendResult.GONE
    assert ws.send(b"x", flags=ConnectionFlags.DISCONNECT_AFTER_SEND) is SendResult.GONE
    assert ws.send_json({}) is SendResult.GONE
    ws.disconnect("x", 1001)
    assert ws.buffered_amount == 0
    assert (ws.close_info, ws.group, ws.request) == (None, None, None)
    assert (ws.session, ws.data, ws.subprotocol) == (None, None, None)
    assert ws == WebSocket(value)
    assert str(value) in repr(ws)


@pytest.mark.parametrize("value", ["1", 1.0, None])
def test_what_is_no_integer_is_no_socket(value: Any) -> None:
    with pytest.raises(TypeError):
        WebSocket(value)


async def test_a_socket_tells_what_was_attached_and_agreed() -> None:
    handle = Handle()
    handle.group("room", subprotocols=["chat"])
    data, session = {"any": "object"}, object()
    gate = Gate(handle, data=data, session=session)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade("/ws?a=b", "Sec-WebSocket-Protocol: chat")
        ws = WebSocket((await gate.next()).id)
        assert ws.data is data
        assert ws.session is session
        assert ws.subprotocol == "chat"
        assert isinstance(ws.request, Request)
        assert ws.request.query["a"] == "b"
        assert isinstance(ws.group, Group)
        assert ws.group is handle.group("room")
        assert ws.group.name == "room"
        assert ws.close_info is None
        ws.data = 17
        assert WebSocket(ws.id).data == 17


async def test_status_is_open_until_the_close_begins() -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        other = WebSocket(ws.id)
        assert (ws.status, ws.is_dead()) == (SocketStatus.OPEN, False)
        ws.disconnect()
        for each in (ws, other, WebSocket(ws.id)):
            assert (each.status, each.is_dead()) == (SocketStatus.CLOSED, True)
        assert ws.send("too late") is SendResult.GONE
        assert await connection.closing() == (1000, "")
        await connection.send(frame(CLOSE, b"\x03\xe8"))
        await until(lambda: scene.gone)
        for each in (ws, other, WebSocket(ws.id)):
            assert (each.status, each.is_dead()) == (SocketStatus.CLOSED, True)


# --- sending --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "is_text", "expected"),
    [
        ("grüße", None, (TEXT, "grüße".encode())),
        ("", None, (TEXT, b"")),
        (b"\x00\xff", None, (BINARY, b"\x00\xff")),
        (bytearray(b"ab"), None, (BINARY, b"ab")),
        (memoryview(b"abc")[1:], None, (BINARY, b"bc")),
        (array.array("B", [1, 2]), None, (BINARY, b"\x01\x02")),
        ("text", False, (BINARY, b"text")),
        ("text", True, (TEXT, b"text")),
        ("grüße".encode(), True, (TEXT, "grüße".encode())),
        (bytearray(b"ab"), True, (TEXT, b"ab")),
        (b"ab", False, (BINARY, b"ab")),
    ],
)
async def test_send_takes_text_and_bytes_and_may_be_told_which(
    data: Any, is_text: bool | None, expected: tuple[int, bytes]
) -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        assert ws.send(data, is_text) is SendResult.OK
        assert await connection.frame() == expected


@pytest.mark.parametrize("size", [0, 125, 126, 8191, 8192, 65_535, 65_536, 1_000_000])
async def test_every_length_arrives(size: int) -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        for kind, data in ((TEXT, "é" * size), (BINARY, bytes(size)), (BINARY, bytearray(size))):
            ws.send(data)
            sent = data.encode() if isinstance(data, str) else data
            assert await connection.frame() == (kind, sent)
            assert ws.buffered_amount == 0


@pytest.mark.parametrize("data", [1, None, {"a": 1}, ["x"], object()])
async def test_send_refuses_what_is_no_message(data: Any) -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        with pytest.raises(TypeError, match="send"):
            ws.send(data)
        with pytest.raises(TypeError, match="send"):
            WebSocket(0).send(data)


async def test_text_that_is_no_utf8_is_refused_and_nothing_sent() -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        with pytest.raises(ValueError, match="utf-8"):
            ws.send(b"\xff", is_text=True)
        with pytest.raises(ValueError, match="surrogates"):
            ws.send("\ud800")
        ws.send("next")
        assert await connection.frame() == (TEXT, b"next")


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_buffer_may_be_changed_after_send(size: int) -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        buffer = bytearray(size)
        ws.send(buffer)
        ws.send(memoryview(buffer))
        buffer[:] = b"x" * size
        buffer.clear()
        assert await connection.frame() == (BINARY, bytes(size))
        assert await connection.frame() == (BINARY, bytes(size))


async def test_send_json_sends_text() -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        assert ws.send_json({"a": [1, None, "ü"], 2: True}) is SendResult.OK
        assert await connection.frame() == (TEXT, '{"a":[1,null,"ü"],"2":true}'.encode())
        with pytest.raises(TypeError):
            ws.send_json(object())


async def test_messages_arrive_in_the_order_of_their_sends() -> None:
    scene = Scene(write_limit=64 << 20)
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        sizes = [1, 100_000, 2, 9_000, 500_000, 3, 8_192, 70_000] * 4
        for number, size in enumerate(sizes):
            ws.send(bytes([number]) * size)
        for number, size in enumerate(sizes):
            assert await connection.frame() == (BINARY, bytes([number]) * size)


# --- slow peers -----------------------------------------------------------------------------


async def test_send_says_buffered_above_the_high_water_mark_and_drain_waits() -> None:
    scene = Scene(write_high_water=65_536, write_limit=1 << 30)
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        assert ws.buffered_amount == 0
        await soon(ws.drain())
        count = await fill(ws, SendResult.BUFFERED)
        assert ws.buffered_amount > 65_536
        drained = asyncio.ensure_future(ws.drain())
        await turns(10)
        assert not drained.done()
        for _ in range(count):
            assert await connection.frame() == (BINARY, bytes(65_536))
        await soon(drained)
        assert ws.buffered_amount == 0
        assert ws.send("x") is SendResult.OK


async def test_drain_ends_when_the_peer_goes() -> None:
    scene = Scene(write_limit=1 << 30)
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        await fill(ws, SendResult.BUFFERED)
        drained = asyncio.ensure_future(ws.drain())
        await turns()
        connection.reset()
        await soon(drained)
        await soon(ws.drain())


async def test_a_slow_consumer_is_disconnected_at_the_write_limit() -> None:
    scene = Scene(write_limit=1 << 20)
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        count = await fill(ws, SendResult.DROPPED)
        assert ws.is_dead()
        assert ws.send("x") is SendResult.GONE
        await until(lambda: scene.gone)
        assert ws.close_info == CloseInfo(1013, "", False, Side.LOCAL)
        frames = [await connection.frame()]
        while frames[-1][0] != CLOSE:
            frames.append(await connection.frame())
        assert frames[-1] == (CLOSE, (1013).to_bytes(2, "big"))
        assert len(frames) < count  # what was not begun is dropped


async def test_a_slow_consumer_may_lose_the_newest_messages_instead() -> None:
    scene = Scene(write_limit=1 << 20, slow_consumer="drop_newest")
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        taken = await fill(ws, SendResult.DROPPED) - 1
        assert ws.send(bytes(65_536)) is SendResult.DROPPED
        assert not ws.is_dead()
        for _ in range(taken):
            assert await connection.frame() == (BINARY, bytes(65_536))
        assert ws.send("there is room again") is SendResult.OK
        assert await connection.frame() == (TEXT, b"there is room again")


async def test_a_message_larger_than_the_write_limit_goes_to_a_peer_that_reads() -> None:
    scene = Scene(write_limit=1 << 20)
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        assert ws.send(bytes(8 << 20)) in (SendResult.OK, SendResult.BUFFERED)
        assert await connection.frame() == (BINARY, bytes(8 << 20))


async def test_a_peer_that_does_not_read_is_not_read_behind_its_ping() -> None:
    scene = Scene(write_high_water=1 << 30, write_limit=1 << 30)
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        count = 0
        while ws.buffered_amount < 1 << 20:  # much more than the kernel may still find room for
            ws.send(bytes(65_536))
            await turns()
            count += 1
        before = ws.buffered_amount
        for number in range(100):
            await connection.send(frame(PING, b"%d" % number))
        await connection.send(frame(TEXT, b"end of pings"))
        await turns(20)
        assert 0 < ws.buffered_amount <= before
        for _ in range(count):
            assert await connection.frame() == (BINARY, bytes(65_536))
        assert await connection.frame() == (PONG, b"0")
        await until(lambda: scene.texts)
        for number in range(1, 100):
            assert await connection.frame() == (PONG, b"%d" % number)


# --- flags ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags",
    [ConnectionFlags.DISCONNECT_AFTER_SEND, ConnectionFlags.GRACEFULLY_CLOSE_CONNECTION],
)
async def test_a_flag_closes_gracefully_after_the_message(flags: ConnectionFlags) -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        assert ws.send("last", flags=flags) is SendResult.OK
        assert ws.is_dead()
        assert await connection.frame() == (TEXT, b"last")
        assert await connection.closing() == (1000, "")
        await connection.send(frame(CLOSE, b"\x03\xe8"))
        assert await connection.read_all() == b""
    assert [gone.close_info for gone in scene.gone] == [CloseInfo(1000, "", True, Side.LOCAL)]


async def test_a_flag_drops_the_connection_at_once_behind_the_message() -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        ws.send("last", flags=ConnectionFlags.DISCONNECT_IMMEDIATELY)
        assert ws.is_dead()
        assert await connection.frame() == (TEXT, b"last")
        assert await connection.read_all() == b""
    assert [gone.close_info for gone in scene.gone] == [CloseInfo(1006, "", False, Side.LOCAL)]


def test_the_flags_have_the_values_of_the_original() -> None:
    assert [(flag.name, flag.value) for flag in ConnectionFlags] == [
        ("DISCONNECT_AFTER_SEND", 8),
        ("DISCONNECT_IMMEDIATELY", 64),
        ("GRACEFULLY_CLOSE_CONNECTION", 2048),
    ]
    assert ConnectionFlags.NONE.value == 0
    assert [member.name for member in SendResult] == [
        "OK",
        "BUFFERED",
        "DROPPED",
        "GONE",
        "QUEUED",
    ]


def test_a_socket_may_be_made_again() -> None:
    """As `__init__` may be called again on any object."""
    ws = WebSocket(-1)
    ws.__init__(5)  # type: ignore[misc]
    assert (ws.id, ws.close_info, ws.is_dead()) == (5, None, True)


def test_close_codes_have_the_names_of_the_original_as_well() -> None:
    names = {
        "WS_CLOSE_NORMAL": CloseCode.NORMAL,
        "WS_CLOSE_GOING_DOWN": CloseCode.GOING_AWAY,
        "WS_CLOSE_CANT_ACCEPT_DATA": CloseCode.UNSUPPORTED_DATA,
        "WS_CLOSE_WRONG_DATA_TYPE": CloseCode.INVALID_PAYLOAD,
    }
    assert {name: CloseCode[name] for name in names} == names
    registered = {*range(1000, 1004), *range(1005, 1016), 3000, 3003, 3008}
    assert {code.value for code in CloseCode} == registered


# --- disconnect -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ((), 1000, ""),
        (("bye",), 1000, "bye"),
        (("bye", CloseCode.GOING_AWAY), 1001, "bye"),
        ((None, 4999), 4999, ""),
        (("x" * 200,), 1000, "x" * 123),
        (("ü" * 100,), 1000, "ü" * 61),
        (("x" + "€" * 100,), 1000, "x" + "€" * 40),
        (("\ud800",), 1000, "?"),
    ],
)
async def test_disconnect_sends_code_and_reason(
    arguments: tuple[Any, ...], code: int, reason: str
) -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        ws.send("before")
        ws.disconnect(*arguments)
        ws.disconnect("a second one", 3000)
        ws.send("after")
        assert await connection.frame() == (TEXT, b"before")
        assert await connection.closing() == (code, reason)
        assert ws.close_info is None
        assert not scene.gone
        await connection.send(frame(CLOSE, code.to_bytes(2, "big")))
        assert await connection.read_all() == b""
        await until(lambda: scene.gone)
        assert ws.close_info == CloseInfo(code, reason, True, Side.LOCAL)
    assert len(scene.gone) == 1


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, -1, 1 << 40])
async def test_a_code_that_may_not_be_sent_is_refused(code: int) -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        with pytest.raises(ValueError, match=str(code)):
            ws.disconnect("x", code)
        with pytest.raises(ValueError, match=str(code)):
            WebSocket(0).disconnect("x", code)
        assert not ws.is_dead()


async def test_messages_of_a_peer_that_is_being_closed_are_not_delivered() -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        ws.disconnect()
        await connection.send(frame(TEXT, b"too late") + frame(PING, b"x"))
        await connection.send(frame(CLOSE, b"\x03\xe8"))
        assert await connection.closing() == (1000, "")
        assert await connection.read_all() == b""
    assert scene.texts == []


# --- how it ends ----------------------------------------------------------------------------

Ending = Callable[[WebSocket, Wire, Server], Awaitable[None]]


async def _peer_closes(ws: WebSocket, connection: Wire, server: Server) -> None:
    await connection.send(frame(CLOSE, b"\x0f\xa0bye"))
    assert await connection.closing() == (4000, "")


async def _peer_closes_without_a_code(ws: WebSocket, connection: Wire, server: Server) -> None:
    await connection.send(frame(CLOSE))
    assert await connection.closing() == (1005, "")


async def _peer_closes_and_goes(ws: WebSocket, connection: Wire, server: Server) -> None:
    await connection.send(frame(CLOSE, b"\x03\xe8"))
    connection.reset()


async def _peer_ends_the_stream(ws: WebSocket, connection: Wire, server: Server) -> None:
    connection.send_fin()
    assert await connection.read_all() == b""


async def _peer_resets(ws: WebSocket, connection: Wire, server: Server) -> None:
    connection.reset()


async def _peer_ends_in_a_frame(ws: WebSocket, connection: Wire, server: Server) -> None:
    await connection.send(frame(TEXT, b"cut off")[:-3])
    connection.send_fin()


async def _peer_breaks_the_protocol(ws: WebSocket, connection: Wire, server: Server) -> None:
    await connection.send(b"\x81\x00")  # not masked
    assert await connection.closing() == (1002, "")


async def _peer_sends_too_much(ws: WebSocket, connection: Wire, server: Server) -> None:
    await connection.send(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4))
    assert await connection.closing() == (1009, "")


async def _peer_sends_no_utf8(ws: WebSocket, connection: Wire, server: Server) -> None:
    await connection.send(frame(TEXT, b"\xff"))
    assert await connection.closing() == (1007, "")


async def _we_disconnect(ws: WebSocket, connection: Wire, server: Server) -> None:
    ws.disconnect("enough", 3000)
    assert await connection.closing() == (3000, "enough")
    await connection.send(frame(CLOSE, b"\x0b\xb8"))


async def _we_disconnect_and_get_no_answer(ws: WebSocket, connection: Wire, server: Server) -> None:
    ws.disconnect()
    assert await connection.closing() == (1000, "")
    assert await connection.read_all() == b""


async def _we_disconnect_and_the_peer_goes(ws: WebSocket, connection: Wire, server: Server) -> None:
    ws.disconnect("enough", 3000)
    connection.reset()


async def _both_close_at_the_same_time(ws: WebSocket, connection: Wire, server: Server) -> None:
    ws.disconnect("ours", 3000)
    await connection.send(frame(CLOSE, b"\x0f\xa0theirs"))
    assert await connection.closing() == (3000, "ours")
    assert await connection.read_all() == b""


async def _the_server_stops(ws: WebSocket, connection: Wire, server: Server) -> None:
    closing = asyncio.ensure_future(server.close())
    assert await connection.closing() == (1001, "")
    await connection.send(frame(CLOSE, b"\x03\xe9"))
    await soon(closing)


async def _peer_falls_silent(ws: WebSocket, connection: Wire, server: Server) -> None:
    ws.group.change(ping_interval=0.1, ping_timeout=0.1)
    assert await connection.frame() == (PING, b"")
    assert await connection.closing() == (1011, "")


async def _we_drop(ws: WebSocket, connection: Wire, server: Server) -> None:
    ws.send("", flags=ConnectionFlags.DISCONNECT_IMMEDIATELY)


@pytest.mark.parametrize(
    ("ending", "info"),
    [
        (_peer_closes, CloseInfo(4000, "bye", True, Side.REMOTE)),
        (_peer_closes_without_a_code, CloseInfo(1005, "", True, Side.REMOTE)),
        (_peer_closes_and_goes, CloseInfo(1000, "", True, Side.REMOTE)),
        (_peer_ends_the_stream, CloseInfo(1006, "", False, Side.REMOTE)),
        (_peer_resets, CloseInfo(1006, "", False, Side.REMOTE)),
        (_peer_ends_in_a_frame, CloseInfo(1006, "", False, Side.REMOTE)),
        (_peer_breaks_the_protocol, CloseInfo(1002, "", False, Side.LOCAL)),
        (_peer_sends_too_much, CloseInfo(1009, "", False, Side.LOCAL)),
        (_peer_sends_no_utf8, CloseInfo(1007, "", False, Side.LOCAL)),
        (_peer_falls_silent, CloseInfo(1011, "", False, Side.LOCAL)),
        (_we_disconnect, CloseInfo(3000, "enough", True, Side.LOCAL)),
        (_we_disconnect_and_get_no_answer, CloseInfo(1006, "", False, Side.LOCAL)),
        (_we_disconnect_and_the_peer_goes, CloseInfo(1006, "", False, Side.LOCAL)),
        (_both_close_at_the_same_time, CloseInfo(3000, "ours", True, Side.LOCAL)),
        (_we_drop, CloseInfo(1006, "", False, Side.LOCAL)),
        (_the_server_stops, CloseInfo(1001, "", True, Side.LOCAL)),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_disconnect_fires_once_and_says_how_it_ended(
    ending: Ending, info: CloseInfo, is_async: bool
) -> None:
    handle = Handle(close_timeout=0.2)
    gate = Gate(handle)
    seen: list[tuple[int, CloseInfo | None, bool, SendResult]] = []

    def note(ws: WebSocket) -> None:
        seen.append((ws.id, ws.close_info, ws.is_dead(), ws.send("too late")))

    async def note_later(ws: WebSocket) -> None:
        await turns()
        note(ws)

    handle.websocket("room")(lambda message, ws: None)
    handle.websocket_disconnect("room")(note_later if is_async else note)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        ws = await gate.next()
        await ending(ws, connection, server)
        await until(lambda: seen)
        assert len(handle.group("room")) == 0
    await turns(10)
    assert seen == [(ws.id, info, True, SendResult.GONE)]
    assert ws.close_info == info


async def test_an_ordinary_client_that_closes_is_a_clean_end() -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server:
        async with client(server) as connection:
            await connection.close(4321, "done")
        await until(lambda: scene.gone)
    assert [ws.close_info for ws in scene.gone] == [CloseInfo(4321, "done", True, Side.REMOTE)]


# --- ping and keepalive ---------------------------------------------------------------------


async def test_ping_returns_the_seconds_to_the_pong() -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, client(server):
        ws = await scene.gate.next()
        assert 0 < await soon(ws.ping()) < 10
        assert all(seconds > 0 for seconds in await asyncio.gather(ws.ping(), ws.ping()))


async def test_a_pong_answers_all_pings_before_its_own() -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        pings = [asyncio.ensure_future(ws.ping()) for _ in range(3)]
        payloads = [(await connection.frame())[1] for _ in range(3)]
        await connection.send(frame(PONG, b"never asked for") + frame(PONG, payloads[1]))
        await soon(asyncio.gather(*pings[:2]))
        await turns()
        assert not pings[2].done()
        await connection.send(frame(PONG, payloads[2]))
        await soon(pings[2])


async def test_a_ping_of_a_socket_that_closes_raises() -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        waiting = asyncio.ensure_future(ws.ping())
        await connection.frame()
        await connection.send(frame(CLOSE, b"\x0f\xa0"))
        with pytest.raises(SocketGoneError) as gone:
            await soon(waiting)
        assert gone.value.close_code == 4000
        with pytest.raises(SocketGoneError):
            await ws.ping()
        with pytest.raises(SocketGoneError):
            await WebSocket(0).ping()


async def test_a_ping_without_an_answer_times_out() -> None:
    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        with pytest.raises(TimeoutError):
            await ws.ping(timeout=0.01)
        assert (await connection.frame())[0] == PING
        assert not ws.is_dead()


async def test_a_ping_that_nobody_waits_for_any_more_is_forgotten() -> None:
    def futures() -> int:
        gc.collect()
        return sum(isinstance(each, asyncio.Future) for each in gc.get_objects())

    scene = Scene()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        before = futures()
        for _ in range(10):
            with pytest.raises(TimeoutError):
                await ws.ping(timeout=0.001)
            waiting = asyncio.ensure_future(ws.ping())
            await turns()
            waiting.cancel()
            await asyncio.wait({waiting})
        del waiting
        await turns()
        assert futures() <= before + 1
        pings = [(await connection.frame())[1] for _ in range(20)]
        last = asyncio.ensure_future(ws.ping())
        pings.append((await connection.frame())[1])
        await connection.send(b"".join(frame(PONG, ping) for ping in pings))
        await soon(last)


async def test_an_idle_peer_that_answers_pings_stays() -> None:
    scene = Scene(ping_interval=0.1, ping_timeout=0.1)
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        for _ in range(4):
            assert await connection.frame() == (PING, b"")
            await connection.send(frame(PONG))
        assert not ws.is_dead()


async def test_a_peer_that_sends_is_not_pinged() -> None:
    scene = Scene(ping_interval=0.2, ping_timeout=0.2)
    loop = asyncio.get_running_loop()
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        until_then = loop.time() + 0.7
        reading = asyncio.ensure_future(connection.frame())
        while loop.time() < until_then:
            await connection.send(frame(TEXT, b"x"))
            await asyncio.wait({reading}, timeout=0.02)
        assert not reading.done()
        ws.send("end")
        assert await reading == (TEXT, b"end")


async def test_without_an_interval_nobody_is_pinged_or_given_up() -> None:
    scene = Scene(ping_interval=None, ping_timeout=0.1)
    async with serve(scene.handle, port=0) as server, wire(server) as connection:
        ws = await scene.open(connection)
        reading = asyncio.ensure_future(connection.frame())
        await asyncio.wait({reading}, timeout=0.5)
        assert not reading.done()
        ws.send("end")
        assert await reading == (TEXT, b"end")


async def test_a_paused_peer_is_heard_again_when_it_reads(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "wsgroups")
    handle = Handle(write_high_water=65_536, write_limit=1 << 30)
    gate = Gate(handle)
    handle.websocket("room", kind="binary")(lambda message, ws: ws.send(message))
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.send(handshake())
        assert (await connection.answer()).status == 101
        await gate.next()
        message = frame(BINARY, bytes(60_000))
        sending = asyncio.ensure_future(_send_many(connection, message, 1000))
        for _ in range(1000):
            assert await connection.frame() == (BINARY, bytes(60_000))
        await soon(sending)


async def _send_many(connection: Wire, message: bytes, count: int) -> None:
    for _ in range(count):
        await connection.send(message)
