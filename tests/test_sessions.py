"""Sessions: values, activity, sockets, the end, and how a visitor is found again."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support import (
    PONG,
    TEXT,
    Gate,
    ask,
    frame,
    handshake,
    opened,
    request,
    turns,
    until,
)
from wsgroups import Handle, HandlerStatus, Request, Response, Session, WebSocket, serve


class App:
    """A group whose sockets belong to the session that is asked for by number."""

    def __init__(self, **sessions: Session) -> None:
        self.handle = Handle()
        self.heard: list[tuple[str, Session | None]] = []
        self.handle.websocket("room")(self._hear)
        self.gates = {
            name: Gate(self.handle, path=f"/{name}", session=session)
            for name, session in sessions.items()
        }

    def _hear(self, message: str, ws: WebSocket) -> None:
        self.heard.append((message, Session.current))


def test_a_session_keeps_values() -> None:
    session = Session()
    session["name"] = "Ann"
    assert session["name"] == "Ann"
    assert "name" in session
    assert list(session) == ["name"]
    del session["name"]
    assert session.get("name", "nobody") == "nobody"
    with pytest.raises(KeyError):
        session["name"]
    assert session  # also when it is empty
    assert session.key not in repr(session)


def test_sessions_have_keys_that_nobody_guesses() -> None:
    keys = {Session().key for _ in range(1000)}
    assert len(keys) == 1000
    assert min(map(len, keys)) >= 43  # 256 bits


@pytest.mark.parametrize("timeout", [0, -1, timedelta(0)])
def test_a_timeout_is_above_zero(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be above 0"):
        Session(timeout)


async def test_a_socket_has_its_session_and_a_session_its_sockets() -> None:
    session, other = Session(), Session()
    app = App(ours=session, theirs=other)
    async with (
        serve(app.handle, port=0) as server,
        opened(server, app.gates["ours"], 2, "/ours") as ours,
        opened(server, app.gates["theirs"], 1, "/theirs") as theirs,
    ):
        (a, first), (b, second) = ours
        assert first.session is second.session is session
        assert set(session.sockets) == {first, second}
        assert session.active_websocket == second
        await a.send(frame(TEXT, b"from the first"))
        await until(lambda: len(app.heard) == 1)
        assert session.active_websocket == first
        await theirs[0][0].send(frame(TEXT, b"from another"))
        await until(lambda: len(app.heard) == 2)
        assert app.heard == [("from the first", session), ("from another", other)]
        assert Session.current is None
        assert session.sockets.send("to both") == 2
        assert await a.frame() == await b.frame() == (TEXT, b"to both")
        a.reset()
        await until(first.is_dead)
        assert session.active_websocket == second
        assert set(session.sockets) == {second}
    assert session.active_websocket is None
    assert len(session.sockets) == 0


async def test_an_ended_session_closes_its_sockets_with_1001() -> None:
    session = Session()
    app = App(ours=session)
    ended: list[Session] = []
    session.on_destroy(ended.append)
    async with (
        serve(app.handle, port=0) as server,
        opened(server, app.gates["ours"], 2, "/ours") as ends,
    ):
        session.destroy()
        session.destroy()
        for connection, ws in ends:
            assert await connection.closing() == (1001, "Session is expired.")
            assert ws.is_dead()
        assert ended == [session]
        assert not session.is_alive
        answer = await ask(server, request("/ours", "Connection: close"))
        assert answer.status == 426


async def test_a_session_expires_without_messages_whatever_else_comes() -> None:
    session = Session(timeout=timedelta(seconds=0.4))
    app = App(ours=session)
    ended = asyncio.Event()
    session.on_destroy(lambda session: ended.set())
    async with (
        serve(app.handle, port=0) as server,
        opened(server, app.gates["ours"], 1, "/ours") as ends,
    ):
        ((connection, _),) = ends
        for _ in range(8):  # twice as long as the timeout
            await asyncio.sleep(0.1)
            await connection.send(frame(TEXT, b"here I am"))
            await turns()
        assert session.is_alive
        assert datetime.now(UTC) - session.last_active < timedelta(seconds=0.4)
        assert session.last_active > session.created
        while not ended.is_set():
            await connection.send(frame(PONG))
            await asyncio.sleep(0.02)
        assert await connection.closing() == (1001, "Session is expired.")


async def test_a_session_without_sockets_expires_as_well() -> None:
    session = Session(timeout=0.05)
    ended: list[Session] = []
    session.on_destroy(ended.append)
    await until(lambda: ended == [session])


def test_sessions_that_expire_where_no_loop_looks_are_not_kept() -> None:
    ended: list[Session] = []
    made = 0
    while not ended:
        Session(timeout=1e-9).on_destroy(ended.append)
        made += 1
        assert made < 100_000
    assert len(ended) >= made - 1  # the newest may have just begun


def test_a_callback_that_raises_does_not_keep_the_others_from_it(
    error_log: list[logging.LogRecord],
) -> None:
    session = Session()
    ended: list[Session] = []

    def fail(session: Session) -> None:
        raise ValueError("as you wish")

    session.on_destroy(fail)
    session.on_destroy(ended.append)
    session.destroy()
    assert ended == [session]
    assert len(error_log) == 1


async def test_a_visitor_is_found_again_by_the_cookie() -> None:
    handle = Handle()
    found: list[Session | None] = []

    @handle.get("/")
    def page(request: Request) -> Response:
        session = Session.find(request)
        found.append(session)
        return Response("", headers={"Set-Cookie": (session or Session()).cookie(secure=True)})

    async with serve(handle, port=0) as server:
        first = await ask(server, request("/", "Connection: close"))
        cookie = str(first.get("set-cookie"))
        name, _, attributes = cookie.partition("; ")
        assert attributes == "Path=/; HttpOnly; SameSite=Lax; Secure"
        second = await ask(server, request("/", f"Cookie: a=b; {name}", "Connection: close"))
        assert second.get("set-cookie") == cookie
        assert found[0] is None
        assert isinstance(found[1], Session)
        found[1].destroy()
        await ask(server, request("/", f"Cookie: {name}", "Connection: close"))
        await ask(server, request("/", "Cookie: wsgroups_session=guess", "Connection: close"))
        assert found[2:] == [None, None]


async def test_a_session_that_has_ended_takes_no_more_sockets() -> None:
    handle = Handle()
    session = Session()
    session.destroy()
    errors: list[str] = []

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus | int:
        try:
            request.send_upgrade("room", session=session)
        except ValueError as error:
            errors.append(str(error))
            return 401
        return HandlerStatus.HANDLED

    async with serve(handle, port=0) as server:
        assert (await ask(server, handshake())).status == 401
    assert errors == ["this session has ended; Session.find() gives None for such"]


async def test_any_object_may_stand_for_a_session() -> None:
    app = App(ours={"user": "Ann"})  # type: ignore[arg-type]
    async with (
        serve(app.handle, port=0) as server,
        opened(server, app.gates["ours"], 1, "/ours") as ends,
    ):
        assert ends[0][1].session == {"user": "Ann"}
        await ends[0][0].send(frame(TEXT, b"hello"))
        await until(lambda: app.heard == [("hello", None)])
