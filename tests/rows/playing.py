"""Sends the streams of the rows to a server, in pieces of any size, and says what was not as it
should be.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tests.certificates import Certificates
from tests.rows.handshake import SPOKEN
from tests.rows.row import Calls, Case, Frame, FrameCase, HandshakeCase
from tests.support import ACCEPT, CLOSE, TEXT, Wire, frame, soon, turns, until, wire
from tests.tls.wire import tls_wire
from wsgroups import (
    CloseInfo,
    Compression,
    Handle,
    HandlerStatus,
    HTTPError,
    Request,
    Server,
    WebSocket,
    serve,
)

Parts = Iterator[bytes]
Way = Callable[[Case], Iterator[Parts]]

LINGER = 0.8  # seconds; a server goes on reading for one, and who takes longer may be reset


# --- the application --------------------------------------------------------------------------


class Application:
    """An echo that counts how often each of its handlers is called.

    Attributes:
        handle: the application.
        calls: of the handlers so far.
        infos: what the disconnect handler has learned, in order.
    """

    def __init__(self) -> None:
        self.handle = handle = Handle()
        self.infos: list[CloseInfo | None] = []
        self._requests = self._connects = self._messages = 0
        handle.group("room", subprotocols=[SPOKEN])
        handle.get("/ws")(self._enter)
        handle.get("/rooms/{room}")(self._enter_room)
        handle.get("/refused/{status:int}")(self._refuse)
        handle.get("/packed")(self._enter_packed)
        # What is sent back is not compressed, so that all frames of the server can be compared.
        handle.group("packed", compression=Compression(threshold=1 << 30))
        for group in ("room", "packed"):
            handle.websocket(group)(self._echo)
            handle.websocket_connect(group)(self._connected)
            handle.websocket_disconnect(group)(self._disconnected)
        handle.get("/canary")(_enter_cage)
        handle.websocket("canary")(lambda message, ws: ws.send(message))

    @property
    def calls(self) -> Calls:
        return Calls(
            request=self._requests,
            connect=self._connects,
            message=self._messages,
            disconnect=len(self.infos),
        )

    def _enter(self, request: Request) -> HandlerStatus:
        self._requests += 1
        request.require_upgrade()
        request.send_upgrade("room")
        return HandlerStatus.HANDLED

    def _enter_packed(self, request: Request) -> HandlerStatus:
        self._requests += 1
        request.send_upgrade("packed")
        return HandlerStatus.HANDLED

    def _enter_room(self, request: Request, room: str) -> HandlerStatus:
        return self._enter(request)

    def _refuse(self, request: Request, status: int) -> None:
        self._requests += 1
        headers = {401: {"WWW-Authenticate": "Bearer"}, 403: {}}
        raise HTTPError(status, "No.", headers.get(status, {"Retry-After": "1"}))

    def _connected(self, ws: WebSocket) -> None:
        self._connects += 1

    def _echo(self, message: str | bytes, ws: WebSocket) -> None:
        self._messages += 1
        ws.send(message)

    def _disconnected(self, ws: WebSocket) -> None:
        self.infos.append(ws.close_info)


def _enter_cage(request: Request) -> HandlerStatus:
    request.send_upgrade("canary")
    return HandlerStatus.HANDLED


class Canary:
    """A client that has nothing to do with a row, and must not notice any."""

    def __init__(self, connection: Wire) -> None:
        self._connection = connection

    async def sing(self) -> None:
        """Send a message and get it back."""
        await self._connection.send(frame(TEXT, b"tweet"))
        assert await self._connection.frame() == (TEXT, b"tweet")


@dataclass
class Stage:
    """A server, its application and the canary."""

    app: Application
    server: Server
    canary: Canary
    certificates: Certificates | None


def _wire(
    server: Server, certificates: Certificates | None
) -> contextlib.AbstractAsyncContextManager[Wire]:
    """A raw connection, over TLS with `certificates`."""
    if certificates is None:
        return wire(server)
    return tls_wire(server, certificates.client())


@contextlib.asynccontextmanager
async def stage(
    *, is_full: bool = False, certificates: Certificates | None = None
) -> AsyncIterator[Stage]:
    """Serve the application, over TLS with `certificates`.

    With `is_full` the canary takes the only place.
    """
    app = Application()
    options: dict[str, Any] = {"max_connections": 1} if is_full else {}
    if certificates is not None:
        options |= certificates.options
    async with (
        serve(app.handle, port=0, **options) as server,
        _wire(server, certificates) as connection,
    ):
        await connection.upgrade("/canary")
        yield Stage(app, server, Canary(connection), certificates)
        await connection.send(frame(CLOSE, b"\x03\xe8"))
        assert await connection.closing() == (1000, "")


# --- ways to send a stream --------------------------------------------------------------------


def whole(case: Case) -> Iterator[Parts]:
    """In one piece."""
    yield iter((case.data,))


def one_byte_at_a_time(case: Case) -> Iterator[Parts]:
    """Byte by byte; of a long stream so around its boundaries."""
    cuts = [0, *case.positions, len(case.data)]
    yield (case.data[start:end] for start, end in itertools.pairwise(cuts))


def in_two(case: Case) -> Iterator[Parts]:
    """In two pieces, at every position; of a long stream around its boundaries."""
    for at in case.positions:
        yield iter((case.data[:at], case.data[at:]))


def in_three(case: Case) -> Iterator[Parts]:
    """In three pieces, at ten pairs of positions, the same in each run."""
    choose = random.Random(len(case.data))
    if len(case.positions) > 1:
        for _ in range(10):
            first, second = sorted(choose.sample(case.positions, 2))
            yield iter((case.data[:first], case.data[first:second], case.data[second:]))


def splits(case: Case) -> int:
    """How often a case is split in all these ways."""
    return sum(len(list(way(case))) for way in (one_byte_at_a_time, in_two, in_three))


# --- playing ----------------------------------------------------------------------------------


async def play_all(
    cases: tuple[Case, ...], way: Way, certificates: Certificates | None = None
) -> None:
    """Play cases in every manner of one way; all of them must come out as they say.

    With `certificates` over TLS.
    """
    problems: dict[str, str] = {}
    for is_full in (False, True):
        chosen = [case for case in cases if getattr(case, "is_full", False) == is_full]
        if not chosen:
            continue
        async with stage(is_full=is_full, certificates=certificates) as on:
            for case in chosen:
                for number, parts in enumerate(way(case), 1):
                    problem = await play(on, case, list(parts))
                    if problem:
                        problems[f"{case.what}, run {number}"] = problem
                        break  # others will not do better
                await on.canary.sing()
            called = on.app.calls
            await turns(10)
            assert on.app.calls == called, "a handler is called when all is over"
    assert not problems, "\n".join(f"{what}: {problem}" for what, problem in problems.items())


async def play(on: Stage, case: Case, parts: list[bytes]) -> str:
    """Return what is not as the case says; nothing when all is well."""
    loop = asyncio.get_running_loop()
    for attempt in range(3):
        before, ends_before = on.app.calls, len(on.app.infos)
        began = loop.time()
        async with _wire(on.server, on.certificates) as connection:
            # Or the kernel keeps a piece until the one before it is acknowledged.
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                if isinstance(case, HandshakeCase):
                    problem = await _shake_hands(connection, case, parts)
                else:
                    assert isinstance(case, FrameCase)
                    problem = await _send_frames(connection, case, parts)
            except (AssertionError, TimeoutError) as error:
                problem = repr(error)
        if connection.was_reset and loop.time() - began > LINGER and attempt < 2:
            continue  # this machine was too slow to show anything
        break
    if problem:
        return problem
    expected = _sum(before, case.calls)
    with contextlib.suppress(TimeoutError):
        await until(lambda: on.app.calls == expected)
    infos = on.app.infos[ends_before:]
    wanted = [case.info] if case.calls.disconnect else []
    return _first(
        (on.app.calls == expected, f"called: {on.app.calls}, not {expected}"),
        (infos == wanted, f"ended with {infos}"),
    )


async def _shake_hands(connection: Wire, case: HandshakeCase, parts: list[bytes]) -> str:
    await connection.send_in_parts(iter(parts))
    if case.status == 101:
        return await _accepted(connection, case)
    if not case.status:
        raw = await connection.read_all()
        return f"answered {raw!r}" if raw else ""
    head = (await connection.read_to(b"\r\n\r\n"))[:-4]
    if head.startswith(b"HTTP/1.1 101 "):
        return "101"
    body = await connection.read_all()
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    size = 0 if case.is_head else int(headers.get("Content-Length", "-1"))
    return _first(
        (status_line.startswith(f"HTTP/1.1 {case.status} "), status_line or "no response"),
        (len(headers) == len(lines), f"a header twice: {lines}"),
        (headers.get("Connection") == "close", f"{headers}"),
        ("Content-Length" in headers, f"{headers}"),
        (len(body) == size, f"{head + body!r} is not one response"),
        (case.headers.items() <= headers.items(), f"{headers}"),
        ("Upgrade" in headers or case.status != 426, f"{headers}"),
        (not connection.was_reset or case.outlasts, "reset in place of FIN"),
    )


async def _accepted(connection: Wire, case: HandshakeCase) -> str:
    if wrong := await _switched(connection, case.headers):
        return wrong
    await connection.send(case.then)
    return await _frames(connection, case)


async def _switched(connection: Wire, headers: Mapping[str, str]) -> str:
    """Read the 101, which has these headers besides."""
    answer = await connection.answer()
    wanted = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": ACCEPT,
        **headers,
    }
    if answer.status != 101 or dict(answer.headers) != wanted or len(answer.headers) != len(wanted):
        return f"{answer}"
    return ""


async def _send_frames(connection: Wire, case: FrameCase, parts: list[bytes]) -> str:
    await connection.send(case.opening)
    if wrong := await _switched(connection, case.agreed):
        return wrong
    # Not one after the other: a server that does not read must not keep us from reading.
    sending = asyncio.ensure_future(connection.send_in_parts(iter(parts)))
    try:
        return await _frames(connection, case)
    finally:
        await soon(sending)


async def _frames(connection: Wire, case: Case) -> str:
    """Read frames up to FIN."""
    for wanted in case.frames:
        got = await connection.frame()
        if got != wanted:
            return f"{_short(got)} in place of {_short(wanted)}"
    rest = await connection.read_all()
    return _first(
        (not rest, f"{rest!r} behind the Close"),
        (not connection.was_reset or case.outlasts, "reset in place of FIN"),
    )


def _short(got: Frame) -> str:
    return f"({got[0]}, {got[1][:40]!r})"


def _first(*checks: tuple[bool, str]) -> str:
    """Return what the first check says that does not hold."""
    return next((what for holds, what in checks if not holds), "")


def _sum(one: Calls, other: Calls) -> Calls:
    more = asdict(other)
    return Calls(**{name: count + more[name] for name, count in asdict(one).items()})


# --- with the handshake -----------------------------------------------------------------------


def behind_the_handshake(case: FrameCase) -> HandshakeCase:
    """The same frames in the segment of the handshake."""
    return HandshakeCase(
        what=f"{case.what}, behind the handshake",
        data=case.opening + case.data,
        status=101,
        headers=case.agreed,
        frames=case.frames,
        info=case.info,
        outlasts=case.outlasts,
    )
