"""What docs/coming-from/starcounter.md says, over real sockets."""

import asyncio
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from websockets.sync.client import connect

from examples.ported.starcounter import broadcaster, chat, echo, session
from tests.support import Program, until, wire
from wsgroups import HandshakeFailedError, SocketStatus, WebSocket, serve, testing

ROOT = Path(__file__).parents[2]

# --- echo -----------------------------------------------------------------------------------


async def test_the_echo_greets_twice_and_answers_text_twice_and_bytes_once() -> None:
    async with testing.start(echo.handle) as app, app.connect("/echo") as ann:
        await ann.expect("Hello")
        await ann.expect("Hello again")
        await ann.send("text")
        await ann.expect("text")
        await ann.expect("text")
        await ann.send(b"bytes")
        await ann.expect(b"bytes")


async def test_the_101_carries_the_cookies_and_the_header() -> None:
    async with serve(echo.handle, port=0) as server, wire(server) as connection:
        answer = await connection.upgrade("/echo")
        assert answer.all("Set-Cookie") == ["theme=dark", "lang=en"]
        assert answer.get("X-Served-By") == "echo"


async def test_what_is_no_handshake_is_answered_as_the_handler_likes() -> None:
    async with testing.start(echo.handle) as app:
        reply = await app.get("/echo")
        assert reply.status == 500
        assert reply.reason == "/echo is for WebSockets"


async def test_disconnect_tells_id_and_code(capsys: pytest.CaptureFixture[str]) -> None:
    async with testing.start(echo.handle) as app, app.connect("/echo"):
        (id,) = echo.handle.group("echo").ids()
        assert WebSocket(id).to_uint64() == id
    assert WebSocket(id).is_dead()
    assert capsys.readouterr().out == f"{id} closed with 1000\n"


def test_the_echo_runs_from_the_command_line() -> None:
    with Program(
        "-m", "wsgroups", "examples.ported.starcounter.echo:handle", "--port", "0", cwd=ROOT
    ) as program:
        with connect(f"ws://127.0.0.1:{program.port()}/echo") as ann:
            assert [ann.recv(), ann.recv()] == ["Hello", "Hello again"]
            ann.send("text")
            assert [ann.recv(), ann.recv()] == ["text", "text"]
        program.wait_for("closed with 1000")
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
        assert "Traceback" not in program.output


# --- chat -----------------------------------------------------------------------------------


async def test_the_chat_sends_to_all_except_the_one_who_speaks() -> None:
    async with testing.start(chat.handle) as app, app.connect("/chat/Ann") as ann:
        async with app.connect("/chat/Bob") as bob:
            await ann.expect("Bob joined")
            async with app.connect("/chat/Eve") as eve:
                await ann.expect("Eve joined")
                await bob.expect("Eve joined")
                await bob.send("hello")
                await ann.expect("Bob: hello")
                await eve.expect("Bob: hello")
                await bob.expect_silence()
            await ann.expect("Eve left")
            await bob.expect("Eve left")
        await ann.expect("Bob left")
        await ann.expect_silence()


async def test_a_drop_is_a_disconnect_as_well() -> None:
    async with serve(chat.handle, port=0) as server, wire(server) as ann, wire(server) as bob:
        await ann.upgrade("/chat/Ann")
        await bob.upgrade("/chat/Bob")
        assert await ann.frame() == (1, b"Bob joined")
        bob.reset()
        assert await ann.frame() == (1, b"Bob left")


# --- broadcaster ----------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have ids stored here, and the timer of the broadcaster ended."""
    path = tmp_path / "broadcaster.db"
    monkeypatch.setenv("BROADCASTER_DATABASE", str(path))
    monkeypatch.setenv("BROADCASTER_SECONDS", "0.005")
    yield path
    if broadcaster.timer.cache_info().currsize:
        broadcaster.stopping.set()
        broadcaster.timer().join()
        broadcaster.timer.cache_clear()
        broadcaster.stopping.clear()


def rows(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as db:
        return [id for (id,) in db.execute("SELECT id FROM websocket_ids ORDER BY id")]


async def test_the_timer_sends_a_hundred_times_and_disconnects(database: Path) -> None:
    async with testing.start(broadcaster.handle) as app, app.connect("/") as ann:
        (id,) = rows(database)
        for _ in range(100):
            await ann.expect(f"Broadcasting id: {id}")
        await ann.expect_close(1000)
        await until(lambda: not rows(database))


async def test_any_thread_may_broadcast(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROADCASTER_SECONDS", "3600")  # the timer has nothing to do with it
    async with testing.start(broadcaster.handle) as app:
        async with app.connect("/") as ann:
            await asyncio.to_thread(broadcaster.broadcast)
            await ann.expect(f"Broadcasting id: {rows(database)[0]}")
        await until(lambda: not rows(database))  # the disconnect handler deletes the id


async def test_a_stale_id_is_swept_and_reaches_no_stranger(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROADCASTER_SECONDS", "3600")
    async with testing.start(broadcaster.handle) as app:
        async with app.connect("/"):
            (stale,) = rows(database)
        await until(lambda: not rows(database))
        with closing(sqlite3.connect(database, isolation_level=None)) as db:
            db.execute("INSERT INTO websocket_ids VALUES (?, 0)", (stale,))
        async with app.connect("/") as bob:
            await asyncio.to_thread(broadcaster.broadcast)
            (fresh,) = rows(database)
            assert fresh > stale
            await bob.expect(f"Broadcasting id: {fresh}")
            await bob.expect_silence()
    assert WebSocket(stale).status is SocketStatus.CLOSED


def test_ids_of_a_killed_process_are_swept_by_the_next(database: Path) -> None:
    command = ("-m", "wsgroups", "examples.ported.starcounter.broadcaster:handle", "--port", "0")
    with (
        Program(*command, cwd=ROOT) as program,
        connect(f"ws://127.0.0.1:{program.port()}/") as ann,
    ):
        ann.recv()
        (stale,) = rows(database)
        program.send_signal(signal.SIGKILL)
        program.wait()
    assert rows(database) == [stale]
    with Program(*command, cwd=ROOT) as program:
        with connect(f"ws://127.0.0.1:{program.port()}/") as bob:
            received = {bob.recv() for _ in range(10)}
            (fresh,) = rows(database)
            assert received == {f"Broadcasting id: {fresh}"}
            assert fresh > stale
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0


# --- session --------------------------------------------------------------------------------


async def cookie_of(app: testing.App) -> dict[str, str]:
    reply = await app.get("/")
    name, _, value = reply.headers["Set-Cookie"].partition(";")[0].partition("=")
    return {name: value}


async def test_a_push_goes_to_the_last_active_socket_of_the_session() -> None:
    async with testing.start(session.handle) as app:
        mine, yours = await cookie_of(app), await cookie_of(app)
        async with (
            app.connect("/live", cookies=mine) as first,
            app.connect("/live", cookies=mine) as second,
            app.connect("/live", cookies=yours) as stranger,
        ):
            await first.send("I am here")
            await first.expect("all your tabs see: I am here")
            await second.expect("all your tabs see: I am here")
            reply = await app.request("POST", "/push", body=b"news", cookies=mine)
            assert reply.status == 204
            await first.expect("news")
            await second.expect_silence()
            await stranger.expect_silence()
            async with app.connect("/live", cookies=mine) as third:
                await third.expect("the last was: I am here")


async def test_without_a_session_there_is_no_socket_and_no_push() -> None:
    async with testing.start(session.handle) as app:
        with pytest.raises(HandshakeFailedError) as refused:
            async with app.connect("/live"):
                pass
        assert refused.value.status == 403
        assert (await app.request("POST", "/push", body=b"news")).status == 404


async def test_the_end_of_a_session_closes_its_sockets() -> None:
    async with testing.start(session.handle) as app:
        cookies = await cookie_of(app)
        async with app.connect("/live", cookies=cookies) as ann:
            await app.request("POST", "/end", cookies=cookies)
            await ann.expect_close(1001, reason="Session is expired.")
