"""What docs/coming-from/aspnet.md says, over real sockets."""

import signal
from pathlib import Path

import pytest
from websockets.sync.client import connect

from examples.ported.aspnet import chat, echo, private
from tests.support import Program, until, wire
from wsgroups import HandshakeFailedError, serve, testing

ROOT = Path(__file__).parents[2]


async def test_the_echo_greets_with_the_address() -> None:
    async with testing.start(echo.handle) as app, app.connect("/echo") as ann:
        await ann.expect("Welcome from 127.0.0.1")
        await ann.send("hello")
        await ann.expect("You sent hello")
        await ann.send(b"\x00\xff")
        await ann.expect(b"\x00\xff")


async def test_what_is_no_handshake_is_answered_with_426() -> None:
    async with testing.start(echo.handle) as app:
        reply = await app.get("/echo")
        assert (reply.status, reply.headers["Upgrade"]) == (426, "websocket")


async def test_the_chat_tells_everybody_who_comes_speaks_and_goes() -> None:
    async with testing.start(chat.handle) as app, app.connect("/chat?name=Ann") as ann:
        await ann.expect("Ann has connected.")
        async with app.connect("/chat?name=J%C3%BCrgen") as other:
            await other.expect("Jürgen has connected.")
            await ann.expect("Jürgen has connected.")
            await other.send("hello")
            await ann.expect("Jürgen said: hello")
            await other.expect("Jürgen said: hello")
        await ann.expect("Jürgen has gone away.")
        assert len(chat.clients) == 1
    await until(lambda: len(chat.clients) == 0)


async def test_a_client_without_a_name_is_somebody() -> None:
    async with testing.start(chat.handle) as app, app.connect("/chat") as ann:
        await ann.expect("somebody has connected.")


async def test_a_client_that_is_cut_off_leaves_the_collection() -> None:
    async with serve(chat.handle, port=0) as server:
        async with wire(server) as ann, wire(server) as bob:
            await ann.upgrade("/chat?name=Ann")
            await bob.upgrade("/chat?name=Bob")
            assert await ann.frame() == (1, b"Ann has connected.")
            assert await ann.frame() == (1, b"Bob has connected.")
            bob.reset()
            assert await ann.frame() == (1, b"Bob has gone away.")
            assert len(chat.clients) == 1
        await until(lambda: len(chat.clients) == 0)


def test_the_chat_runs_from_the_command_line() -> None:
    with Program(
        "-m", "wsgroups", "examples.ported.aspnet.chat:handle", "--port", "0", cwd=ROOT
    ) as program:
        address = f"ws://127.0.0.1:{program.port()}/chat"
        with connect(f"{address}?name=Ann") as ann:
            assert ann.recv() == "Ann has connected."
            with connect(f"{address}?name=Bob") as bob:
                assert ann.recv() == bob.recv() == "Bob has connected."
            assert ann.recv() == "Bob has gone away."
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
        assert "Traceback" not in program.output


async def test_a_message_goes_to_the_others_or_to_one_by_name() -> None:
    async with (
        testing.start(private.handle) as app,
        app.connect("/chat?name=Ann") as ann,
        app.connect("/chat?name=Bob") as bob,
        app.connect("/chat?name=Eve") as eve,
    ):
        await ann.send("hello")
        await bob.expect("Ann: hello")
        await eve.expect("Ann: hello")
        await ann.send("@Bob psst")
        await bob.expect("Ann to you: psst")
        await ann.send("@Zoe psst")
        await ann.expect("Zoe is not here")
        await ann.expect_silence()
        await eve.expect_silence()


@pytest.mark.parametrize("query", ["?name=Ann", "?name=", ""])
async def test_a_name_that_is_taken_or_missing_is_refused_before_the_upgrade(query: str) -> None:
    async with testing.start(private.handle) as app, app.connect("/chat?name=Ann"):
        with pytest.raises(HandshakeFailedError) as refused:
            async with app.connect(f"/chat{query}"):
                pass
        assert refused.value.status == 409
