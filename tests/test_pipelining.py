"""Many requests on one connection: clients that ask ahead, read late, leave early or see a stop.

On Unix sockets where a test fills them: the kernel keeps much less of those than of TCP.
"""

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.drivers.crowd import fill
from tests.support import Answer, Wire, request, soon, turns, wire
from wsgroups import Handle, Request, serve

LONG = f"X-Long: {'y' * 4000}"
AHEAD = 2 << 20  # bytes; what a server and two kernel buffers may hold of requests, with room


def numbered(count: int) -> bytes:
    """Return so many requests, each of the same size."""
    return b"".join(request(f"/{number:05}", LONG) for number in range(count))


class Numbers:
    """An application that answers each numbered request with its number, and what was asked."""

    def __init__(self) -> None:
        self.handle = Handle()
        self.asked: list[int] = []
        self.handle.get("/{number:int}")(self._answer)

    def _answer(self, request: Request, number: int) -> str:
        self.asked.append(number)
        return str(number)


async def answers(connection: Wire, count: int) -> list[Answer]:
    """Return the next responses."""
    return [await connection.answer() for _ in range(count)]


async def send_some(connection: Wire, data: bytes) -> int:
    """Send what the kernel takes now and give the server a turn; returns how many bytes."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        sent = connection.sock.send(data)
    await asyncio.sleep(0)
    return sent


async def test_a_client_that_asks_and_does_not_read_is_not_read_either(tmp_path: Path) -> None:
    app = Numbers()
    data = numbered(2000)
    async with serve(app.handle, uds=str(tmp_path / "a")) as server, wire(server) as connection:
        sent = await fill(connection, data)
        assert sent < AHEAD < len(data)
        sending = asyncio.ensure_future(connection.send(data[sent:]))
        bodies = [int(answer.body) for answer in await answers(connection, 2000)]
        await soon(sending)
    assert bodies == app.asked == list(range(2000))


async def test_a_client_that_asks_faster_than_it_is_answered_is_held_up(tmp_path: Path) -> None:
    app = Numbers()
    data = numbered(2000)
    size = len(request("/00000", LONG))
    sent = most = 0
    async with serve(app.handle, uds=str(tmp_path / "a")) as server, wire(server) as connection:
        reading = asyncio.ensure_future(answers(connection, 2000))
        while sent < len(data):
            sent += await send_some(connection, data[sent : sent + AHEAD])
            most = max(most, sent - size * len(app.asked))
        assert most < AHEAD
        assert [int(answer.body) for answer in await soon(reading)] == list(range(2000))


@pytest.mark.parametrize("is_async", [False, True])
async def test_no_request_is_handled_while_an_answer_is_not_read(
    is_async: bool, tmp_path: Path
) -> None:
    handle = Handle()
    body = bytes(1 << 20)
    asked: list[Request] = []

    def answer(request: Request) -> bytes:
        asked.append(request)
        return body

    async def answer_later(request: Request) -> bytes:
        await turns(1)
        return answer(request)

    handle.get("/")(answer_later if is_async else answer)
    async with serve(handle, uds=str(tmp_path / "a")) as server, wire(server) as connection:
        await connection.send(request() * 20)
        await turns(200)
        assert len(asked) <= 2
        for number in range(20):
            assert (await connection.answer()).body == body
            assert len(asked) <= number + 3
    assert len(asked) == 20


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("cut", [b"G", request()[:-1], request("/", "Content-Length: 2") + b"x"])
async def test_a_request_that_fin_cuts_off_is_not_waited_for(count: int, cut: bytes) -> None:
    handle = Handle()
    handle.get("/")(lambda request: "yes")
    async with serve(handle, port=0) as server, wire(server) as connection:
        connection.sock.send(request() * count + cut)
        connection.send_fin()
        assert [answer.body for answer in await answers(connection, count)] == [b"yes"] * count
        assert await connection.read_all() == b""


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_client_that_ends_its_side_is_let_go_behind_its_last_answer(
    count: int, tmp_path: Path
) -> None:
    handle = Handle()
    body = bytes(4 << 20)
    handle.get("/")(lambda request: body)
    place = {"uds": str(tmp_path / "a"), "keep_alive_timeout": 60.0}
    async with serve(handle, **place) as server, wire(server) as connection:
        await connection.send(request() * count)
        await connection.read_to(b"\r\n\r\n")  # the rest of it waits for the client
        connection.send_fin()
        await turns(10)
        assert await connection.read(len(body)) == body
        for _ in range(count - 1):
            assert (await connection.answer()).body == body
        assert await connection.read_all() == b""


# --- a stop -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [b"", request(), request()[:-1]])
async def test_a_stop_waits_for_an_answer_that_is_on_its_way(ahead: bytes, tmp_path: Path) -> None:
    handle = Handle()
    body = bytes(4 << 20)
    handle.get("/")(lambda request: body)
    place = {"uds": str(tmp_path / "a"), "keep_alive_timeout": 60.0, "handshake_timeout": 60.0}
    async with serve(handle, **place) as server, wire(server) as connection:
        await connection.send(request() + ahead)
        await connection.read_to(b"\r\n\r\n")  # the rest of it waits for the client
        closing = asyncio.ensure_future(server.close())
        await turns(10)
        assert await connection.read(len(body)) == body
        rest = await connection.read_all()
        assert not rest or rest.startswith(b"HTTP/1.1 ")
        if ahead:
            connection.send_fin()
        await soon(closing)  # a client that does not end its side is waited for a second


@pytest.mark.parametrize("count", range(1, 8))
async def test_a_stop_waits_for_small_answers_as_well(count: int, tmp_path: Path) -> None:
    handle = Handle()
    body = bytes(50_000)  # the kernel takes some of these, and a part of one
    asked: list[Request] = []

    @handle.get("/")
    def answer(request: Request) -> bytes:
        asked.append(request)
        return body

    async with serve(handle, uds=str(tmp_path / "a")) as server, wire(server) as connection:
        for _ in range(count):
            await connection.send(request())
            await turns(5)
        closing = asyncio.ensure_future(server.close())
        await turns(10)
        for _ in asked:
            assert (await connection.answer()).body == body
        rest = await connection.read_all()
        assert not rest or rest.startswith(b"HTTP/1.1 503")
        connection.sock.close()
        await soon(closing)
