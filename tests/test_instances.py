"""Class style: one object for each socket."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import turns, until
from wsgroups import (
    CloseInfo,
    DuplicateHandlerError,
    Handle,
    HandlerSignatureError,
    HandlerStatus,
    HandshakeFailedError,
    Request,
    SendResult,
    Side,
    SocketSet,
    WebSocket,
    WebSocketHandler,
    testing,
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
    async with testing.start(chat_handle()) as app:
        ann = await app.connect("/chat/Ann?from=here")
        await ann.expect("Ann came, here")
        bob = await app.connect("/chat/Bob?from=there")
        for client in (ann, bob):
            await client.expect("Bob came, there")
        await ann.send("hello")
        for client in (ann, bob):
            await client.expect("Ann: hello")
        await bob.send(b"mine")
        await bob.expect(b"mine")
        await bob.close(4000)
        assert bob.close_info == CloseInfo(4000, "", True, Side.LOCAL)
        await ann.expect("Bob left with 4000")
        await ann.expect_silence()


async def test_an_object_stands_for_its_socket_in_sets() -> None:
    handle = chat_handle()
    async with testing.start(handle) as app:
        ann = await app.connect("/chat/Ann?from=here")
        bob = await app.connect("/chat/Bob?from=there")
        await ann.expect("Ann came, here", "Bob came, there")
        await bob.expect("Bob came, there")
        one, other = (ws.handler for ws in sorted(handle.group("chat"), key=int))
        clients = SocketSet([one])
        clients.add(other)
        assert one in clients
        assert WebSocket(one) == one.socket
        assert clients.send_to_all_except_one("to Bob", one) == 1
        assert handle.group("chat").send("to Ann", exclude=other) == 1
        await bob.expect("to Bob")
        await ann.expect("to Ann")
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

    async with testing.start(handle) as app, app.connect("/ws") as client:
        for message in ("1", "2", "fail"):
            await client.send(message)
        await client.expect_close(1011, "")
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
    ("kind", "message", "is_closed"),
    [
        (TextOnly, b"binary", True),
        (BinaryOnly, "text", True),
        (TextOnly, "text", False),
        (BinaryOnly, b"binary", False),
        (Silent, "text", False),
        (Silent, b"binary", False),
    ],
)
async def test_a_frame_type_without_a_method_closes_when_the_other_has_one(
    kind: type[WebSocketHandler], message: str | bytes, is_closed: bool
) -> None:
    handle = Handle()

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        return request.accept(kind())

    async with testing.start(handle) as app, app.connect("/ws") as client:
        await client.send(message)
        if is_closed:
            await client.expect_close(1003, "")
            return
        if kind is not Silent:
            await client.expect(message)
        await client.expect_silence()


async def test_accept_takes_what_send_upgrade_takes() -> None:
    handle = Handle()

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        return request.accept(Silent(), "silent", cookies={"a": "b"}, data="data")

    async with testing.start(handle) as app, app.connect("/ws") as client:
        assert client.headers.getall("Set-Cookie") == ["a=b"]
        (ws,) = handle.group("silent")
        assert ws.data == "data"
        assert isinstance(ws.handler, Silent)
        assert ws.handler.socket == ws
        ws.handler.send_json({"a": 1})
        await client.expect('{"a":1}')
        ws.handler.close("bye", 4001)
        await client.expect_close(4001, "bye")
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

    async with testing.start(handle) as app:
        async with app.connect("/twice"):
            pass
        for what in ("twice", "functions", "nothing"):
            with pytest.raises(HandshakeFailedError, match=r"status 500$"):
                await app.connect(f"/{what}")
        assert (await app.get("/twice")).status == 500
    refused = [ValueError, DuplicateHandlerError, TypeError, ValueError]
    assert [type(error) for error in errors] == refused
    await asyncio.sleep(0)
    with pytest.raises(DuplicateHandlerError):
        handle.websocket("Silent")(lambda message, ws: None)


@dataclass
class Move:
    """A move in a game."""

    x: int
    y: int


async def test_json_is_decoded_into_the_annotation_of_the_method() -> None:
    class Board(WebSocketHandler):
        async def on_message(self, message: Move) -> None:
            self.send(f"{message.x + message.y}")

    class Loose(WebSocketHandler):
        def on_message(self, message: dict[str, Any]) -> None:
            self.send_json(sorted(message))

    class Inheriting(Board):
        pass

    handle = Handle()

    @handle.get("/{kind}")
    def enter(request: Request, kind: str) -> HandlerStatus:
        made = {"board": Board, "loose": Loose, "inheriting": Inheriting}[kind]
        return request.accept(made(), group=kind)

    async with testing.start(handle) as app:
        for kind in ("board", "inheriting"):
            async with app.connect(f"/{kind}") as client:
                await client.send('{"x": 1, "y": 2}')
                await client.expect("3")
                await client.send('{"x": 1, "y": "two"}')
                await client.expect_close(1007, "")
        async with app.connect("/loose") as client:
            await client.send_json({"b": 1, "a": 2})
            await client.expect_json(["a", "b"])
            await client.send(b"binary")
            await client.expect_close(1003)


def test_a_method_that_cannot_be_called_as_it_will_be_is_refused() -> None:
    with pytest.raises(HandlerSignatureError, match="on_message is given text messages, not"):

        class Confused(WebSocketHandler):
            def on_message(self, message: bytes) -> None: ...

    with pytest.raises(HandlerSignatureError, match="on_binary is given binary messages, not"):

        class Mixed(WebSocketHandler):
            def on_binary(self, message: str) -> None: ...  # type: ignore[override]

    with pytest.raises(HandlerSignatureError, match=r"must take \(self, message\)"):

        class Short(WebSocketHandler):
            def on_message(self) -> None: ...  # type: ignore[override]

    with pytest.raises(HandlerSignatureError, match="cannot be given as"):

        class Odd(WebSocketHandler):
            def on_message(self, message: complex) -> None: ...
