"""Connections that break while the server writes to them or does not read them."""

import asyncio

import pytest

from tests.drivers.crowd import App, Message, crowd, gone, texts
from tests.support import request, soon, turns, until, wire
from wsgroups import CloseInfo, Request, Side, WebSocket, serve

CORK = 65_536  # bytes of small messages that a handler's turn collects before it sends


def fill_cork(ws: WebSocket, room: int) -> None:
    """Send as much as is collected, but for `room` bytes."""
    left = CORK - room
    while left:
        size = min(left, 8000)
        ws.send(bytes(size - 4))
        left -= size


class _Slow:
    """A route whose answer waits until it is let go."""

    def __init__(self, app: App) -> None:
        self.began, self.opened = asyncio.Event(), asyncio.Event()
        app.handle.get("/slow")(self._answer)

    async def _answer(self, request: Request) -> str:
        self.began.set()
        await self.opened.wait()
        return "at last"


@pytest.mark.parametrize("room", [0, 1, 8, 103])
async def test_a_disconnect_that_finds_the_connection_broken(room: int) -> None:
    app = App(close_timeout=0.1)
    slow = _Slow(app)

    def break_off(message: Message, ws: WebSocket) -> None:
        fill_cork(ws, room)
        first.reset()
        ws.disconnect("r" * 100)

    app.on_message = break_off
    async with serve(app.handle, port=0) as server, crowd(server, app, 2) as ends:
        (first, broken), (_, other) = ends
        async with wire(server) as connection:
            await connection.send(request("/slow"))
            await soon(slow.began.wait())
            first.sock.send(texts(range(1)))
            await gone(app, broken)
            assert broken.close_info == CloseInfo(1006, "", False, Side.LOCAL)
            # When its time to close would be over, the one that has taken its place lives.
            other.disconnect()
            await gone(app, other)
            slow.opened.set()
            assert (await connection.answer()).body == b"at last"
        assert app.parted == [broken.id, other.id]
        assert broken.is_dead()


async def test_an_answer_that_finds_the_connection_broken() -> None:
    app = App()
    slow = _Slow(app)
    asked: list[Request] = []

    @app.handle.post("/")
    def break_off(request: Request) -> bytes:
        asked.append(request)
        first.reset()
        return bytes(100_000)

    app.handle.get("/")(lambda request: "idle from now on")
    async with (
        serve(app.handle, port=0, keep_alive_timeout=0.1) as server,
        wire(server) as first,
        wire(server) as idle,
        wire(server) as connection,
    ):
        await turns()
        await connection.send(request("/slow"))
        await soon(slow.began.wait())
        lines = ("Content-Length: 1", "Expect: 100-continue")  # there is an answer before
        first.sock.send(request("/", *lines, method="POST", body=b"x"))
        await until(lambda: asked)
        # When the other would have been idle for too long, the one in its place lives.
        await idle.ask(request("/"))
        assert await idle.read_all() == b""
        slow.opened.set()
        assert (await connection.answer()).body == b"at last"


@pytest.mark.only_on_epoll(reason="transports that are not read learn of it from the next ping")
@pytest.mark.parametrize("count", [3, 4, 9, 1000])
async def test_a_reset_is_noticed_while_messages_wait_behind_a_handler(count: int) -> None:
    app = App(max_queued_events=2, handler_grace=60.0, ping_interval=None)
    opened = asyncio.Event()

    async def wait(message: Message, ws: WebSocket) -> None:
        await opened.wait()

    app.on_message = wait
    async with serve(app.handle, port=0) as server, crowd(server, app, 1) as ends:
        connection, ws = ends[0]
        connection.sock.send(texts(range(count)))
        await turns(10)
        connection.reset()
        await until(ws.is_dead)
        assert len(app.group) == 0
        assert app.parted == []
        opened.set()
        await gone(app, ws)
        await turns(10)
        assert app.parted == [ws.id]
        assert ws.close_info == CloseInfo(1006, "", False, Side.REMOTE)
