"""Opening handshakes, good and bad, row by row: whole, and split anywhere."""

import asyncio
import contextlib
import logging
import time

import pytest

from tests.connection.peer import App
from tests.rows.handshake import HELLO, LONGEST_HEAD, ROWS
from tests.rows.playing import in_three, in_two, one_byte_at_a_time, play, play_all, stage, whole
from tests.rows.row import Case, each_row
from tests.support import ask, request, turns, wire
from wsgroups import Handle, Request, serve
from wsgroups.connection.handshake import check_upgrade
from wsgroups.connection.head import RequestHead
from wsgroups.errors import HTTPError


@each_row(ROWS)
async def test_a_row_comes_out_as_the_table_says(cases: tuple[Case, ...]) -> None:
    await play_all(cases, whole)


@each_row(ROWS)
async def test_a_row_comes_out_the_same_one_byte_at_a_time(cases: tuple[Case, ...]) -> None:
    await play_all(cases, one_byte_at_a_time)


@each_row(ROWS)
async def test_a_row_comes_out_the_same_split_in_two_anywhere(cases: tuple[Case, ...]) -> None:
    await play_all(cases, in_two)


@each_row(ROWS)
async def test_a_row_comes_out_the_same_split_in_three(cases: tuple[Case, ...]) -> None:
    await play_all(cases, in_three)


async def test_a_piece_is_read_before_the_next_is_sent() -> None:
    async with stage() as on, wire(on.server) as connection:
        await connection.upgrade()
        counts = []

        async def count() -> None:
            await connection.send_in_parts(iter((HELLO,)))
            counts.append(on.app.calls.message)

        for _ in range(100):
            await count()
        # A busy kernel may be late now and then, but not as a rule.
        assert sum(count == number for number, count in enumerate(counts, 1)) > 90


async def test_a_refusal_comes_at_once_and_not_at_the_end_of_the_request() -> None:
    early = [
        (b"GET /" + b"a" * 9000, 414),
        (b"GET /ws HTTP/1.1\r\nX: " + b"a" * 9000, 431),
        (b"GET /ws HTTP/1.1\r\n" + b"X:\r\n" * 102, 431),
        (b"GET /ws HTTP/1.1\r\n" + (b"X: " + b"a" * 4000 + b"\r\n") * 9, 431),
        (b"GET /\x00", 400),
        (b"GET /ws HTTP/1.1\n", 400),
        (b"GET /ws HTTP/1.1\r\nX: a\rb", 400),
        (b"\r\n\r\n\r\n", 400),
        (b"\x93\xff", 400),
    ]
    loop = asyncio.get_running_loop()
    async with serve(Handle(), port=0) as server:
        for data, status in early:
            times = []
            for _ in range(5):
                began = loop.time()
                assert (await ask(server, data)).status == status, data[:40]
                times.append(loop.time() - began)
            assert min(times) < 0.05, data[:40]


@pytest.mark.parametrize(
    ("start", "more", "status"),
    [
        (b"GET /", b"a", 414),
        (b"GET /ws HTTP/1.1\r\nX: ", b"a", 431),
        (b"GET /ws HTTP/1.1\r\n", b"X:\r\n", 431),
        (b"GET /ws HTTP/1.1\r\n", b"X: " + b"a" * 500 + b"\r\n", 431),
    ],
)
async def test_an_endless_head_is_refused_at_its_limit(
    start: bytes, more: bytes, status: int
) -> None:
    async with serve(Handle(), port=0) as server, wire(server) as connection:
        answering = asyncio.ensure_future(connection.answer())
        sent = 0
        piece = start + more * (1000 // len(more) + 1)
        while not answering.done():
            await connection.send(piece)
            await turns(10)
            sent += len(piece)
            piece = more * (1000 // len(more) + 1)
        assert (await answering).status == status
        assert sent <= LONGEST_HEAD + 8192


@pytest.mark.parametrize("refused", [b"GET /\0", request("/ws"), b"POST / HTTP/1.1\r\n\r\n"])
def test_a_refused_client_is_read_for_a_second_and_64_kib_at_most(refused: bytes) -> None:
    app = App()
    patient = app.connect()
    patient.send(refused)
    assert patient.take().startswith(b"HTTP/1.1 4")
    assert patient.got_fin
    patient.send(bytes(1000))
    app.advance(0.8)
    assert not patient.is_closed
    app.advance(0.4)
    assert patient.is_closed

    talkative = app.connect()
    talkative.send(refused)
    for _ in range(63):
        talkative.send(bytes(1024))
        assert not talkative.is_closed
    for _ in range(3):
        talkative.send(bytes(1024))
    assert talkative.is_closed
    assert talkative.take().count(b"HTTP/1.1") == 1


def test_a_refused_client_that_sends_bytes_one_by_one_gets_fin() -> None:
    app = App()
    peer = app.connect()
    peer.send(b"GET /\0")
    for _ in range(1000):
        peer.send(b"x")
    assert peer.got_fin
    assert not peer.is_closed


def test_hostile_lists_are_looked_at_in_a_millisecond() -> None:
    (row,) = [row for row in ROWS if row.id == "HS-31"]
    for case in row.cases:
        times = []
        for _ in range(20):
            began = time.thread_time()
            with contextlib.suppress(HTTPError):
                check_upgrade(RequestHead(case.data))
            times.append(time.thread_time() - began)
        assert min(times) < 0.001, case.what


async def test_the_log_of_all_rows_can_be_printed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wsgroups")
    async with stage() as on:
        for row in ROWS:
            for case in row.cases:
                if not getattr(case, "is_full", False):
                    assert await play(on, case, [case.data]) == ""
    logged = "".join(record.getMessage() for record in caplog.records)
    assert logged
    assert logged.isascii()
    assert logged.isprintable()


async def test_look_alike_headers_come_through_as_they_are() -> None:
    handle = Handle()

    @handle.get("/ws")
    def look(request: Request) -> list[str]:
        return [request.headers["content_length"], request.headers["TRANSFER_ENCODING"]]

    async with serve(handle, port=0) as server:
        answer = await ask(
            server, request("/ws", "Content_Length: 5", "Transfer_Encoding: chunked")
        )
        assert answer.body == b'["5","chunked"]'


async def test_headers_of_proxies_are_not_believed() -> None:
    handle = Handle()

    @handle.get("/")
    def look(request: Request) -> list[object]:
        assert request.client is not None
        return [request.client[0], request.scheme, request.headers["host"]]

    lines = [
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil",
        "Forwarded: for=6.6.6.6;proto=https;host=evil",
        "X-Real-IP: 6.6.6.6",
    ]
    async with serve(handle, port=0) as server:
        assert (await ask(server, request("/", *lines))).body == b'["127.0.0.1","http","test"]'
