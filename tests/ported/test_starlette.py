"""What docs/coming-from/starlette.md says, over real sockets."""

import signal
from pathlib import Path

import pytest
from websockets.sync.client import connect

from examples.ported.starlette import auth, chat, echo
from tests.support import Program, until, wire
from wsgroups import HandshakeFailedError, serve, testing

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_codes_yet() -> None:
    echo.close_codes.clear()


async def test_the_endpoint_greets_and_answers() -> None:
    async with testing.start(echo.handle) as app:
        async with app.connect("/ws") as ann:
            await ann.expect("Hello")
            await ann.send("hi")
            await ann.expect("Message text was: hi")
        await until(lambda: echo.close_codes == [1000])


async def test_a_close_code_of_the_application_arrives_at_both_ends() -> None:
    async with testing.start(echo.handle) as app, app.connect("/ws") as ann:
        await ann.expect("Hello")
        await ann.send("bye")
        await ann.expect_close(4000, reason="See you")
        await until(lambda: echo.close_codes == [4000])


async def test_bytes_are_refused_with_1003() -> None:
    async with testing.start(echo.handle) as app, app.connect("/ws") as ann:
        await ann.expect("Hello")
        await ann.send(b"bytes")
        await ann.expect_close(1003)
        await until(lambda: echo.close_codes == [1003])


async def test_a_client_that_vanishes_is_disconnected_with_1006() -> None:
    async with serve(echo.handle, port=0) as server, wire(server) as ann:
        await ann.upgrade("/ws")
        await ann.frame()
        ann.reset()
        await until(lambda: echo.close_codes == [1006])


async def test_the_chat_answers_the_sender_and_tells_the_others() -> None:
    async with testing.start(chat.handle) as app, app.connect("/ws/Ann") as ann:
        async with app.connect("/ws/Bob") as bob:
            await until(lambda: len(chat.chat) == 2)
            await bob.send("hello")
            await bob.expect("You wrote: hello")
            await ann.expect("Bob says: hello")
            await bob.expect_silence()
        await ann.expect("Bob left the chat")
        await ann.expect_silence()


async def test_one_member_that_is_cut_off_does_not_spoil_the_broadcast() -> None:
    async with (
        serve(chat.handle, port=0) as server,
        wire(server) as gone,
        wire(server) as ann,
        wire(server) as bob,
    ):
        for connection, name in ((gone, "Eve"), (ann, "Ann"), (bob, "Bob")):
            await connection.upgrade(f"/ws/{name}")
        gone.reset()
        assert await ann.frame() == await bob.frame() == (1, b"Eve left the chat")
        assert chat.chat.send("still on") == 2
        assert await ann.frame() == await bob.frame() == (1, b"still on")


def test_the_chat_runs_from_the_command_line() -> None:
    with Program(
        "-m", "wsgroups", "examples.ported.starlette.chat:handle", "--port", "0", cwd=ROOT
    ) as program:
        address = f"ws://127.0.0.1:{program.port()}/ws"
        with connect(f"{address}/Ann") as ann:
            with connect(f"{address}/Bob") as bob:
                bob.send("hello")
                assert bob.recv() == "You wrote: hello"
                assert ann.recv() == "Bob says: hello"
            assert ann.recv() == "Bob left the chat"
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0


async def test_a_cookie_or_a_token_opens_the_socket() -> None:
    async with (
        testing.start(auth.handle) as app,
        app.connect("/items/lamp/ws?token=secret") as ann,
        app.connect("/items/lamp/ws", cookies={"session": "other"}) as bob,
        app.connect("/items/sofa/ws?token=other") as elsewhere,
    ):
        await ann.send_json({"price": 10})
        shown = {"user": "Ann", "item": "lamp", "price": 10}
        assert await ann.recv_json() == await bob.recv_json() == shown
        reply = await app.request("POST", "/items/lamp/sold?token=secret")
        assert reply.json() == {"told": 2}
        assert await bob.recv_json() == {"item": "lamp", "sold": True}
        await elsewhere.expect_silence()


async def test_strangers_are_refused_before_the_upgrade() -> None:
    async with testing.start(auth.handle) as app:
        with pytest.raises(HandshakeFailedError) as refused:
            async with app.connect("/items/lamp/ws?token=wrong"):
                pass
        assert refused.value.status == 403
    async with serve(auth.handle, port=0) as server, wire(server) as connection:
        await connection.send(
            b"GET /items/lamp/ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n"
        )
        answer = await connection.answer()
        assert (answer.status, answer.body) == (403, b"Who are you?")


@pytest.mark.parametrize(
    ("message", "code"),
    [('{"price": 0}', 1008), ('{"price": "much"}', 1007), ("{", 1007), (b"{}", 1003)],
)
async def test_what_is_no_bid_closes(message: str | bytes, code: int) -> None:
    async with (
        testing.start(auth.handle) as app,
        app.connect("/items/lamp/ws?token=secret") as ann,
    ):
        await ann.send(message)
        await ann.expect_close(code)


async def test_a_page_of_another_origin_is_refused() -> None:
    async with testing.start(chat.handle) as app:
        with pytest.raises(HandshakeFailedError) as refused:
            async with app.connect("/ws/Ann", origin="https://elsewhere.example"):
                pass
        assert refused.value.status == 403
        async with app.connect("/ws/Ann", origin=app.url) as ann:
            await ann.send("hello")
            await ann.expect("You wrote: hello")
