"""What docs/coming-from/codeproject.md says, over real sockets."""

import asyncio
import hashlib
import logging
import signal
from pathlib import Path

import pytest

from examples.ported.codeproject import chat, client, echo, upload
from tests.support import BINARY, Program, frame, until, wire
from wsgroups import HandshakeFailedError, serve, testing

ROOT = Path(__file__).parents[2]


async def test_the_service_answers_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, echo.__name__)
    async with testing.start(echo.handle) as app:
        async with app.connect("/chat") as ann:
            await ann.send("Hi")
            await ann.expect("ServerABC: Hi")
        await until(lambda: "closed with 1000" in caplog.text)
        assert "ServerABC: Hi" in caplog.text


async def test_pages_are_served_beside_and_other_paths_are_404() -> None:
    async with testing.start(echo.handle) as app:
        page = await app.get("/")
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "/chat" in page.text
        assert (await app.get("/nowhere")).status == 404
        assert (await app.get("/chat")).status == 426
        with pytest.raises(HandshakeFailedError) as refused:
            async with app.connect("/nowhere"):
                pass
        assert refused.value.status == 404


async def test_the_client_speaks_with_the_server() -> None:
    async with serve(echo.handle, port=0) as server:
        assert await client.talk(server.ws_url + "/chat") == "ServerABC: Hi"


def test_server_and_client_run_from_the_command_line() -> None:
    with Program(
        "-m", "wsgroups", "examples.ported.codeproject.echo:handle", "--port", "0",
        "--log-level", "subtle", cwd=ROOT,
    ) as program:  # fmt: skip
        url = f"ws://127.0.0.1:{program.port()}/chat"
        with Program("-m", "examples.ported.codeproject.client", url, cwd=ROOT) as other:
            assert other.wait() == 0
            assert other.output == "Client: ServerABC: Hi\n"
        program.wait_for("ServerABC: Hi")
        program.wait_for("closed with 1000")
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0


async def test_the_chat_has_names_from_the_query() -> None:
    async with testing.start(chat.handle) as app, app.connect("/chat?name=Ann") as ann:
        await ann.expect("Welcome, Ann. Here now: 1")
        async with app.connect("/chat?name=Bob") as bob:
            await bob.expect("Welcome, Bob. Here now: 2")
            await ann.expect("Bob joined")
            await bob.send("hello")
            await ann.expect("Bob: hello")
            await bob.expect("Bob: hello")  # and it was not told that it has joined
        await ann.expect("Bob left")


async def test_a_lost_connection_leaves_the_chat_once() -> None:
    async with serve(chat.handle, port=0) as server, wire(server) as ann, wire(server) as bob:
        await ann.upgrade("/chat?name=Ann")
        assert await ann.frame() == (1, b"Welcome, Ann. Here now: 1")
        await bob.upgrade("/chat?name=Bob")
        assert await ann.frame() == (1, b"Bob joined")
        bob.reset()
        assert await ann.frame() == (1, b"Bob left")
        await ann.send(frame(1, b"alone"))
        assert await ann.frame() == (1, b"Ann: alone")


async def test_a_file_is_named_and_taken() -> None:
    async with testing.start(upload.handle) as app, app.connect("/upload") as ann:
        await ann.send("notes.txt")
        await ann.send(b"some notes")
        digest = hashlib.sha256(b"some notes").hexdigest()
        await ann.expect(f"notes.txt: 10 bytes, sha256 {digest}")


async def test_a_message_in_several_frames_arrives_whole() -> None:
    async with serve(upload.handle, port=0) as server, wire(server) as ann:
        await ann.upgrade("/upload")
        parts = [frame(BINARY, b"some ", final=False), frame(0, b"no", final=False)]
        await ann.send_in_parts(iter([*parts, frame(9, b"?"), frame(0, b"tes")]))
        assert await ann.frame() == (10, b"?")  # a ping in between is answered at once
        digest = hashlib.sha256(b"some notes").hexdigest()
        assert await ann.frame() == (1, f"file: 10 bytes, sha256 {digest}".encode())


async def test_a_file_that_is_too_large_closes_with_1009() -> None:
    async with serve(upload.handle, port=0) as server, wire(server) as ann:
        await ann.upgrade("/upload")
        await ann.send(b"\x82\xff" + ((16 << 20) + 1).to_bytes(8, "big") + bytes(4))
        assert (await ann.closing())[0] == 1009  # before any of it has come


async def test_a_stopping_server_closes_with_1001() -> None:
    async with serve(upload.handle, port=0) as server, wire(server) as ann:
        await ann.upgrade("/upload")
        closing = asyncio.create_task(server.close())
        assert (await ann.closing())[0] == 1001
        await ann.send(frame(8, b"\x03\xe9"))
        await closing
