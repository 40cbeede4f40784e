"""What docs/coming-from/socketio.md says, over real sockets."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.sync.client import connect

from examples.ported.socketio import acknowledgements, chat, echo
from tests.support import Program, until
from wsgroups import Handle, HandlerStatus, HandshakeFailedError, Request, WebSocket, testing

ROOT = Path(__file__).parents[2]


def event(name: str, data: Any) -> dict[str, Any]:
    return {"event": name, "data": data}


async def test_an_echo_goes_to_the_sender_and_a_shout_to_all() -> None:
    async with (
        testing.start(echo.handle) as app,
        app.connect("/") as ann,
        app.connect("/") as bob,
    ):
        hello = await ann.recv_json()
        assert hello["event"] == "connected"
        assert not WebSocket(int(hello["data"]["sid"])).is_dead()
        assert (await bob.recv_json())["data"]["sid"] != hello["data"]["sid"]
        await ann.send_json(event("hello", [1, 2]))
        assert await ann.recv_json() == event("echo", [1, 2])
        await ann.send_json(event("shout", "hey"))
        assert await ann.recv_json() == event("heard", "hey")
        assert await bob.recv_json() == event("heard", "hey")
        await ann.send(b"\x00\xff")
        await ann.expect(b"\x00\xff")


async def test_what_is_no_event_closes_with_1007() -> None:
    async with testing.start(echo.handle) as app, app.connect("/") as ann:
        await ann.recv_json()
        await ann.send('42["hello","from a Socket.IO client"]')
        await ann.expect_close(1007)


async def test_a_client_without_a_name_is_refused() -> None:
    async with testing.start(chat.handle) as app:
        with pytest.raises(HandshakeFailedError) as refused:
            async with app.connect("/"):
                pass
        assert refused.value.status == 401
        reply = await app.get("/")
        assert reply.status == 426


async def test_rooms_skip_the_sender_where_it_is_asked_for() -> None:
    async with (
        testing.start(chat.handle) as app,
        app.connect("/?name=Ann") as ann,
        app.connect("/?name=Bob") as bob,
        app.connect("/?name=Eve") as eve,
    ):
        await ann.send_json(event("enter", "chess"))
        await until(lambda: len(chat.handle.room("chess")) == 1)
        await bob.send_json(event("enter", "chess"))
        assert await ann.recv_json() == event("entered", {"name": "Bob"})
        await ann.send_json(event("say", {"room": "chess", "text": "your move"}))
        said = event("said", {"name": "Ann", "text": "your move"})
        assert await ann.recv_json() == await bob.recv_json() == said
        await bob.send_json(event("typing", "chess"))
        assert await ann.recv_json() == event("typing", {"name": "Bob"})
        await bob.send_json(event("leave", "chess"))
        assert await ann.recv_json() == event("left", {"name": "Bob"})
        await bob.send_json(event("say", {"room": "chess", "text": "from outside"}))
        assert await bob.recv_json() == event("error", "not understood")
        await ann.expect_silence()
        await eve.expect_silence()


async def test_a_disconnect_is_told_to_everybody_and_leaves_the_rooms() -> None:
    async with testing.start(chat.handle) as app, app.connect("/?name=Ann") as ann:
        async with app.connect("/?name=Bob") as bob:
            await bob.send_json(event("enter", "chess"))
            room = chat.handle.room("chess")
            await until(lambda: len(room) == 1)
        assert await ann.recv_json() == event("disconnected", {"name": "Bob"})
        assert len(room) == 0


def test_the_chat_runs_from_the_command_line() -> None:
    with Program(
        "-m", "wsgroups", "examples.ported.socketio.chat:handle", "--port", "0", cwd=ROOT
    ) as program:
        with connect(f"ws://127.0.0.1:{program.port()}/?name=Ann") as ann:
            ann.send(orjson.dumps(event("enter", "chess")).decode())
            ann.send(orjson.dumps(event("say", {"room": "chess", "text": "hello"})).decode())
            assert orjson.loads(ann.recv())["data"] == {"name": "Ann", "text": "hello"}
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0


async def test_an_event_of_the_client_is_acknowledged() -> None:
    async with testing.start(acknowledgements.handle) as app, app.connect("/?name=Ann") as ann:
        await ann.send_json({"id": 7, "event": "add", "data": [2, 3]})
        assert await ann.recv_json() == {"ack": 7, "data": 5}
        await ann.send_json({"id": 8, "event": "multiply", "data": [2, 3]})
        assert await ann.recv_json() == {"ack": 8, "data": {"error": "no such event"}}


async def test_the_server_asks_a_client_and_awaits_the_answer() -> None:
    async with (
        testing.start(acknowledgements.handle) as app,
        app.connect("/?name=Ann") as ann,
        app.connect("/?name=Bob") as bob,
    ):
        asking = asyncio.create_task(app.get("/where/Ann"))
        question = await ann.recv_json()
        assert question["event"] == "where"
        await bob.send_json({"ack": question["id"], "data": "not mine to answer"})
        await ann.send_json({"ack": question["id"], "data": "home"})
        assert (await asking).json() == {"name": "Ann", "place": "home"}
        assert (await app.get("/where/Eve")).status == 404


async def test_nobody_waits_for_a_client_that_is_gone() -> None:
    async with testing.start(acknowledgements.handle) as app:
        async with app.connect("/?name=Ann") as ann:
            asking = asyncio.create_task(app.get("/where/Ann"))
            await ann.recv_json()
        assert (await asking).status == 503


async def test_a_client_that_does_not_answer_is_a_timeout(
    monkeypatch: pytest.MonkeyPatch, error_log: list[Any]
) -> None:
    monkeypatch.setattr(acknowledgements, "PATIENCE", 0.01)
    async with testing.start(acknowledgements.handle) as app, app.connect("/?name=Ann") as ann:
        assert (await app.get("/where/Ann")).status == 500
        assert (await ann.recv_json())["event"] == "where"
        assert len(error_log) == 1


async def test_a_handler_that_awaits_its_own_socket_waits_in_vain() -> None:
    handle = Handle()
    outcomes: list[str] = []

    @handle.get("/")
    def enter(request: Request) -> HandlerStatus:
        request.send_upgrade("asking", data=asyncio.Event())
        return HandlerStatus.HANDLED

    @handle.websocket("asking")
    async def ask(message: str, ws: WebSocket) -> None:
        if message == "answer":
            ws.data.set()
            outcomes.append("answered")
            return
        ws.send("question")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ws.data.wait(), 0.05)
        outcomes.append("handler is done")

    async with testing.start(handle) as app, app.connect("/") as ann:
        await ann.send("ask me")
        await ann.expect("question")
        await ann.send("answer")
        await until(lambda: outcomes == ["handler is done", "answered"])
