"""Class style: one object for each socket."""

import asyncio
import logging
from typing import Any

import pytest

from tests.support import (
    BINARY,
    CLOSE,
    TEXT,
    ask,
    frame,
    handshake,
    request,
    turns,
    until,
    wire,
)
from wsgroups import (
    CloseInfo,
    DuplicateHandlerError,
    Handle,
    HandlerStatus,
    Request,
    SendResult,
    Side,
    SocketSet,
    WebSocket,
    WebSocketHandler,
    serve,
)


class Chat(WebSocketHandler):
    """Says what it hears to all, with a name before it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_open(self) -> None:
        self.socket.group.send(f"{self.name} came, {self.request.query['from']}")

    def on_message(self, message: str) -> None:
        self.socket.group.send(f"{self.name}: {message}")

    def on_binary(self, message: bytes) -> None:
        self.send(message)

    def on_close(self) -> None:
        self.socket.group.send(f"{self.name} left with {self.socket.close_info.code}")


def chat_handle() -> Handle:
    handle = Handle()

    @handle.get("/chat/{name}")
    def enter(request: Request, name: str) -> HandlerStatus:
        return request.accept(Chat(name), group="chat")

    return handle


async def test_each_socket_has_its_object() -> None:
    async with (
        serve(chat_handle(), port=0) as server,
        wire(server) as ann,
        wire(server) as bob,
    ):
        await ann.upgrade("/chat/Ann?from=here")
        assert await ann.frame() == (TEXT, b"Ann came, here")
        await bob.upgrade("/chat/Bob?from=there")
        for connection in (ann, bob):
            assert await connection.frame() == (TEXT, b"Bob came, there")
        await ann.send(frame(TEXT, b"hello"))
        for connection in (ann, bob):
            assert await connection.frame() == (TEXT, b"Ann: hello")
        await bob.send(frame(BINARY, b"mine"))
        assert await bob.frame() == (BINARY, b"mine")
        await bob.send(frame(CLOSE, b"\x0f\xa0"))
        assert await bob.closing() == (4000, "")
        assert await ann.frame() == (TEXT, b"Bob left with 4000")


async def test_an_object_stands_for_its_socket_in_sets() -> None:
    handle = chat_handle()
    async with serve(handle, port=0) as server, wire(server) as ann, wire(server) as bob:
        await ann.upgrade("/chat/Ann?from=here")
        await ann.frame()
        await bob.upgrade("/chat/Bob?from=there")
        for connection in (ann, bob):
            await connection.frame()
        one, other = (ws.handler for ws in sorted(handle.group("chat"), key=int))
        clients = SocketSet([one])
        clients.add(other)
        assert one in clients
        assert WebSocket(one) == one.socket
        assert clients.send_to_all_except_one("to Bob", one) == 1
        assert handle.group("chat").send("to Ann", exclude=other) == 1
        assert await bob.frame() == (TEXT, b"to Bob")
        assert await ann.frame() == (TEXT, b"to Ann")
        clients.discard(one)
        assert set(clients) == {other.socket}


class Recorder(WebSocketHandler):
    """Writes down what it is told; each kind of event in one of two ways."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def on_open(self) -> None:
        self.log.append("open")

    def on_message(self, message: str) -> None:
        if message == "fail":
            raise ValueError("as you wish")
        self.log.append(message)

    def on_close(self) -> None:
        self.log.append(self.socket.close_info)

    def on_error(self, error: BaseException) -> None:
        self.log.append(str(error))


class LaterRecorder(Recorder):
    """The same, all of it asynchronous."""

    async def on_open(self) -> None:  # type: ignore[override]
        await turns()
        super().on_open()

    async def on_message(self, message: str) -> None:  # type: ignore[override]
        await turns()
        super().on_message(message)

    async def on_close(self) -> None:  # type: ignore[override]
        await turns()
        super().on_close()

    async def on_error(self, error: BaseException) -> None:  # type: ignore[override]
        await turns()
        super().on_error(error)


@pytest.mark.parametrize("kind", [Recorder, LaterRecorder])
async def test_events_come_in_order_and_errors_close_with_1011(
    kind: type[Recorder], error_log: list[logging.LogRecord]
) -> None:
    handle = Handle()
    made: list[Recorder] = []

    @handle.get("/ws")
    def enter(request: Request) -> None:
        made.append(kind())
        request.accept(made[-1])

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(TEXT, b"fail"))
        assert await connection.closing() == (1011, "")
        connection.send_fin()
        await until(lambda: len(made[0].log) == 5)
        assert made[0].socket.group.name == kind.__name__
    info = CloseInfo(1011, "", False, Side.LOCAL)
    assert sorted(map(str, made[0].log)) == sorted(
        map(str, ["open", "1", "2", "as you wish", info])
    )
    assert made[0].log[:3] == ["open", "1", "2"]
    assert len(error_log) == 1


class TextOnly(WebSocketHandler):
    def on_message(self, message: str) -> None:
        self.send(message)


class BinaryOnly(WebSocketHandler):
    def on_binary(self, message: bytes) -> None:
        self.send(message)


class Silent(WebSocketHandler):
    pass


@pytest.mark.parametrize(
    ("kind", "opcode", "is_closed"),
    [
        (TextOnly, BINARY, True),
        (BinaryOnly, TEXT, True),
        (TextOnly, TEXT, False),
        (BinaryOnly, BINARY, False),
        (Silent, TEXT, False),
        (Silent, BINARY, False),
    ],
)
async def test_a_frame_type_without_a_method_closes_when_the_other_has_one(
    kind: type[WebSocketHandler], opcode: int, is_closed: bool
) -> None:
    handle = Handle()

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        return request.accept(kind())

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(opcode, b"hello") + frame(9, b"?"))
        if is_closed:
            assert await connection.closing() == (1003, "")
        elif kind is Silent:
            assert await connection.frame() == (10, b"?")
        else:
            assert await connection.frame() == (opcode, b"hello")


async def test_accept_takes_what_send_upgrade_takes() -> None:
    handle = Handle()

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        return request.accept(Silent(), "silent", cookies={"a": "b"}, data="data")

    async with serve(handle, port=0) as server, wire(server) as connection:
        answer = await connection.upgrade()
        assert answer.get("set-cookie") == "a=b"
        (ws,) = handle.group("silent")
        assert ws.data == "data"
        assert isinstance(ws.handler, Silent)
        assert ws.handler.socket == ws
        ws.handler.send_json({"a": 1})
        assert await connection.frame() == (TEXT, b'{"a":1}')
        ws.handler.close("bye", 4001)
        assert await connection.closing() == (4001, "bye")
        assert ws.handler.send("too late") is SendResult.GONE


async def test_an_object_is_for_one_socket_and_a_group_for_one_style(
    error_log: list[logging.LogRecord],
) -> None:
    handle = Handle()
    handle.websocket("functions")(lambda message, ws: None)
    errors: list[Exception] = []
    used = Silent()

    @handle.get("/{what}")
    def enter(request: Request, what: str) -> HandlerStatus | int:
        try:
            if what == "twice":
                return request.accept(used)
            if what == "functions":
                return request.accept(Silent(), "functions")
            return request.accept("no handler")  # type: ignore[arg-type]
        except (TypeError, ValueError, DuplicateHandlerError) as error:
            errors.append(error)
            return 500

    async with serve(handle, port=0) as server:
        async with wire(server) as connection:
            await connection.upgrade("/twice")
        for what in ("twice", "functions", "nothing"):
            assert (await ask(server, handshake(f"/{what}"))).status == 500
        assert (await ask(server, request("/twice", "Connection: close"))).status in (426, 500)
    assert [type(error) for error in errors[:3]] == [ValueError, DuplicateHandlerError, TypeError]
    await asyncio.sleep(0)
    with pytest.raises(DuplicateHandlerError):
        handle.websocket("Silent")(lambda message, ws: None)
