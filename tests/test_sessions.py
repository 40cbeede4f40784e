"""Sessions: values, activity, sockets, the end, and how a visitor is found again."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support import PONG, TEXT, Gate, frame, turns, until, wire
from wsgroups import (
    Handle,
    HandlerStatus,
    HandshakeFailedError,
    Request,
    Response,
    Session,
    WebSocket,
    serve,
    testing,
)


class Site:
    """A group whose sockets belong to the session that is asked for by name."""

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
    site = Site(ours=session, theirs=other)
    async with testing.start(site.handle) as app:
        (a, first), (b, second) = await site.gates["ours"].admit(app, 2)
        ((c, third),) = await site.gates["theirs"].admit(app, 1)
        assert first.session is second.session is session
        assert set(session.sockets) == {first, second}
        assert session.active_websocket == second
        await a.send("from the first")
        await until(lambda: len(site.heard) == 1)
        assert session.active_websocket == first
        await c.send("from another")
        await until(lambda: len(site.heard) == 2)
        assert site.heard == [("from the first", session), ("from another", other)]
        assert third.session is other
        assert Session.current is None
        assert session.sockets.send("to both") == 2
        await a.expect("to both")
        await b.expect("to both")
        await c.expect_silence()
        a.abort()
        await until(first.is_dead)
        assert session.active_websocket == second
        assert set(session.sockets) == {second}
    assert session.active_websocket is None
    assert len(session.sockets) == 0


async def test_an_ended_session_closes_its_sockets_with_1001() -> None:
    session = Session()
    site = Site(ours=session)
    ended: list[Session] = []
    session.on_destroy(ended.append)
    async with testing.start(site.handle) as app:
        ends = await site.gates["ours"].admit(app, 2)
        session.destroy()
        session.destroy()
        for client, ws in ends:
            assert ws.is_dead()
            await client.expect_close(1001, "Session is expired.")
        assert ended == [session]
        assert not session.is_alive
        assert (await app.get("/ours")).status == 426


async def test_a_session_expires_without_messages_whatever_else_comes() -> None:
    session = Session(timeout=timedelta(seconds=0.4))
    site = Site(ours=session)
    ended = asyncio.Event()
    session.on_destroy(lambda session: ended.set())
    async with serve(site.handle, port=0) as server, wire(server) as connection:
        await connection.upgrade("/ours")
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


async def test_whoever_wants_to_know_may_be_any_function(
    error_log: list[logging.LogRecord],
) -> None:
    session = Session()
    ended: list[object] = []

    @session.on_destroy
    def without_arguments() -> None:
        ended.append("plain")

    @session.on_destroy
    async def in_a_task(session: Session) -> None:
        await asyncio.sleep(0)
        ended.append(session)

    @session.on_destroy
    async def fails() -> None:
        raise ValueError("as you wish")

    session.destroy()
    await until(lambda: ended == ["plain", session])
    assert [record.getMessage() for record in error_log] == ["a callback of a session's end failed"]
    without_arguments()
    session.on_destroy(without_arguments)  # it has ended already
    assert ended == ["plain", session, "plain", "plain"]


def test_an_async_callback_without_a_loop_is_told_to_the_log(
    error_log: list[logging.LogRecord],
) -> None:
    async def never(session: Session) -> None:
        raise AssertionError

    session = Session()
    session.on_destroy(never)
    session.destroy()
    assert error_log[0].exc_info is not None
    assert "where no loop runs" in str(error_log[0].exc_info[1])


def test_a_session_goes_on_in_the_next_loop() -> None:
    session = Session(timeout=0.2)
    ended: list[Session] = []
    session.on_destroy(ended.append)

    async def enter() -> None:
        site = Site(ours=session)
        async with testing.start(site.handle) as app:
            await site.gates["ours"].admit(app, 1)

    async def wait() -> None:
        await enter()
        await until(lambda: ended == [session])

    asyncio.run(enter())
    asyncio.run(wait())


async def test_a_client_that_nobody_listens_to_keeps_its_session() -> None:
    session = Session()
    handle = Handle()

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        request.send_upgrade("push", session=session)
        return HandlerStatus.HANDLED

    handle.group("push", close_timeout=1.0)
    async with testing.start(handle) as app:
        client = await app.connect("/ws")
        before = session.last_active
        await client.send("I am here")
        await until(lambda: session.last_active > before)


async def test_a_visitor_is_found_again_by_the_cookie() -> None:
    handle = Handle()
    found: list[Session | None] = []

    @handle.get("/")
    def page(request: Request) -> Response:
        session = Session.find(request)
        found.append(session)
        return Response("", headers={"Set-Cookie": (session or Session()).cookie(secure=True)})

    async with testing.start(handle) as app:
        (line,) = (await app.get("/")).headers.getall("Set-Cookie")
        cookie, _, attributes = line.partition("; ")
        assert attributes == "Path=/; HttpOnly; SameSite=Lax; Secure"
        name, _, key = cookie.partition("=")
        second = await app.get("/", cookies={"a": "b", name: key})
        assert second.headers.getall("Set-Cookie") == [line]
        assert found[0] is None
        assert isinstance(found[1], Session)
        found[1].destroy()
        await app.get("/", cookies={name: key})
        await app.get("/", cookies={"wsgroups_session": "guess"})
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

    async with testing.start(handle) as app:
        with pytest.raises(HandshakeFailedError, match=r"status 401$"):
            await app.connect("/ws")
    assert errors == ["this session has ended; Session.find() gives None for such"]


async def test_any_object_may_stand_for_a_session() -> None:
    site = Site(ours={"user": "Ann"})  # type: ignore[arg-type]
    async with testing.start(site.handle) as app:
        ((client, ws),) = await site.gates["ours"].admit(app, 1)
        assert ws.session == {"user": "Ann"}
        await client.send("hello")
        await client.expect_silence()
        assert site.heard == [("hello", None)]
