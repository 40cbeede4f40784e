"""Opening handshakes, good and bad, row by row: whole, and split at every byte.

The names of the rows are those of the project's table of hostile input.
"""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.support import (
    CLOSE,
    KEY,
    PING,
    PONG,
    TEXT,
    Wire,
    ask,
    frame,
    handshake,
    request,
    wire,
)
from wsgroups import Handle, HandlerStatus, Request, Server, serve

REQUEST_LINE = "GET /ws HTTP/1.1"
HOST = "Host: test"
UPGRADE = "Upgrade: websocket"
CONNECTION = "Connection: Upgrade"
WEBSOCKET_KEY = f"Sec-WebSocket-Key: {KEY}"
VERSION = "Sec-WebSocket-Version: 13"
LINES = [REQUEST_LINE, HOST, UPGRADE, CONNECTION, WEBSOCKET_KEY, VERSION]


def but(*changes: tuple[str, str | None], end: str = "\r\n") -> bytes:
    """Return a good handshake with lines replaced; None leaves the line out."""
    replaced = dict(changes)
    assert set(replaced) <= set(LINES)
    lines = [replaced.get(line, line) for line in LINES]
    return (end.join(line for line in lines if line is not None) + end * 2).encode("latin-1")


@dataclass(frozen=True)
class Row:
    """What is sent and what must come of it.

    Attributes:
        name: of the row in the table, and a word on the case.
        data: what the client sends.
        status: of the one response.
        headers: what the response must say besides.
        is_head: the response has no body.
    """

    name: str
    data: bytes
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    is_head: bool = False


def _accepted() -> Iterator[Row]:
    good = {
        "plain": handshake(),
        "08 method in absolute form": but((REQUEST_LINE, "GET http://test/ws HTTP/1.1")),
        "10b several connection tokens": but((CONNECTION, "Connection: keep-alive, Upgrade")),
        "10b upgrade in capitals": but((UPGRADE, "Upgrade: WebSocket")),
        "10b upgrade list": but((UPGRADE, "Upgrade: h2c, websocket")),
        "10b connection in two lines": but((CONNECTION, "Connection: x\r\nConnection: uPgRaDe")),
        "10b no space behind the colon": but((UPGRADE, "Upgrade:websocket")),
        "15 empty body": handshake("/ws", "Content-Length: 0"),
        "18 high bytes in a value": handshake("/ws", "X: \x80\xff"),
        "18 tab in a value": handshake("/ws", "X: a\tb"),
        "23 one empty line first": b"\r\n" + handshake(),
        "25 expect": handshake("/ws", "Expect: 100-continue"),
        "32 none in common": handshake("/ws", "Sec-WebSocket-Protocol: chat"),
        "33 same origin": handshake("/ws", "Origin: http://test"),
        "33 same origin with its port": handshake("/ws", "Origin: http://TEST:80"),
        "33b no origin": handshake(),
        "36 look-alike length": handshake("/ws", "Content_Length: 5"),
        "36 look-alike encoding": handshake("/ws", "Transfer_Encoding: chunked"),
        "37 odd but legal path": but((REQUEST_LINE, "GET /ws?%00;//%2e HTTP/1.1")),
        "IPv6 host": handshake(host="[::1]:8080"),
    }
    for name, data in good.items():
        yield Row(name, data, 101)


def _status(status: int, rows: dict[str, bytes], **headers: str) -> Iterator[Row]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    for name, data in rows.items():
        yield Row(name, data, status, named)


def _refused() -> Iterator[Row]:
    yield from _status(
        400,
        {
            "01 no host": but((HOST, None)),
            "02 two hosts": but((HOST, "Host: test\r\nHost: test")),
            "02 two different hosts": but((HOST, "Host: test\r\nHost: other")),
            "03 empty host": but((HOST, "Host:")),
            "03 host list": but((HOST, "Host: a,b")),
            "03 host with user": but((HOST, "Host: u@h")),
            "03 host with path": but((HOST, "Host: h/p")),
            "03 host with space": but((HOST, "Host: a b")),
            "03 host with port that is none": but((HOST, "Host: a:b")),
            "04 control character in host": but((HOST, "Host: a\x01b")),
            "04 no utf-8 in host": but((HOST, "Host: \xff")),
            "06 small letters": but((REQUEST_LINE, "GET /ws http/1.1")),
            "06 no minor version": but((REQUEST_LINE, "GET /ws HTTP/1")),
            "06 leading zero": but((REQUEST_LINE, "GET /ws HTTP/01.1")),
            "06 long version": but((REQUEST_LINE, "GET /ws HTTP/1.11")),
            "06 0.9": b"GET /ws\r\n\r\n",
            "11 no version": but((VERSION, None)),
            "12 two versions": but((VERSION, f"{VERSION}\r\n{VERSION}")),
            "12 two keys": but((WEBSOCKET_KEY, f"{WEBSOCKET_KEY}\r\n{WEBSOCKET_KEY}")),
            "13 no key": but((WEBSOCKET_KEY, None)),
            "13 empty key": but((WEBSOCKET_KEY, "Sec-WebSocket-Key:")),
            "13 15 bytes": but((WEBSOCKET_KEY, "Sec-WebSocket-Key: " + "A" * 20)),
            "13 17 bytes": but((WEBSOCKET_KEY, "Sec-WebSocket-Key: " + "A" * 23 + "=")),
            "13 18 bytes": but((WEBSOCKET_KEY, "Sec-WebSocket-Key: " + "A" * 24)),
            "13 no base64": but((WEBSOCKET_KEY, "Sec-WebSocket-Key: " + "!" * 22 + "==")),
            "13 bad padding": but((WEBSOCKET_KEY, "Sec-WebSocket-Key: " + "A" * 21 + "===")),
            "13 4,000 characters": but((WEBSOCKET_KEY, "Sec-WebSocket-Key: " + "A" * 4000)),
            "14 body": handshake("/ws", "Content-Length: 5") + b"hello",
            "14 encoding": handshake("/ws", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
            "14 other encoding": handshake("/ws", "Transfer-Encoding: identity"),
            "14 both": handshake("/ws", "Transfer-Encoding: chunked", "Content-Length: 5"),
            "14 both with no length": handshake(
                "/ws", "Transfer-Encoding: chunked", "Content-Length: 0"
            ),
            **{
                f"16 length {value!r}": handshake("/ws", f"Content-Length: {value}")
                for value in ("+0", "-1", "abc", "0x0", "00", "0,0", "0 0", "", "1" * 30)
            },
            "16 length twice": handshake("/ws", "Content-Length: 0", "Content-Length: 0"),
            "17 folded header": handshake("/ws", "X: a", " b"),
            "17 folded with tab": handshake("/ws", "X: a", "\tb"),
            "17 bare LF": but(end="\n"),
            "17 bare LF in one place": handshake("/ws", "X: a\nY: b"),
            "17 bare CR": handshake("/ws", "X: a\rb"),
            "17 CR before CRLF": handshake("/ws", "X: a\r"),
            "17 NUL": handshake("/ws", "X: a\0b"),
            "17 BEL": handshake("/ws", "X: a\x07b"),
            "17 DEL": handshake("/ws", "X: a\x7fb"),
            "17 space before the colon": handshake("/ws", "X : a"),
            "17 tab before the colon": handshake("/ws", "X\t: a"),
            "17 space in a name": handshake("/ws", "X Y: a"),
            "17 space before the first header": but((HOST, " Host: test")),
            "17 empty name": handshake("/ws", ": a"),
            "17 no colon": handshake("/ws", "X"),
            "17 no token in a name": handshake("/ws", "X(): a"),
            "17 high byte in a name": handshake("/ws", "X\xe9: a"),
            **{
                f"19 {value!r} in the target": but((REQUEST_LINE, f"GET /ws{value} HTTP/1.1"))
                for value in ("\0", "\x01", "\x7f", "\x80", "\xc3\xbc", " x", "\t")
            },
            "19 two spaces": but((REQUEST_LINE, "GET  /ws HTTP/1.1")),
            "19 two spaces later": but((REQUEST_LINE, "GET /ws  HTTP/1.1")),
            "19 space first": but((REQUEST_LINE, " GET /ws HTTP/1.1")),
            "19 space last": but((REQUEST_LINE, "GET /ws HTTP/1.1 ")),
            "20 fragment": but((REQUEST_LINE, "GET /ws#frag HTTP/1.1")),
            "20 no slash": but((REQUEST_LINE, "GET ws HTTP/1.1")),
            "20 asterisk": but((REQUEST_LINE, "GET * HTTP/1.1")),
            "20 authority": but((REQUEST_LINE, "GET test:80 HTTP/1.1")),
            "20 absolute form of another host": but((REQUEST_LINE, "GET http://other/ws HTTP/1.1")),
            "20 absolute form of another scheme": but((REQUEST_LINE, "GET ftp://test/ws HTTP/1.1")),
            "23 three empty lines first": b"\r\n\r\n\r\n" + handshake(),
            "32 no token": handshake("/ws", "Sec-WebSocket-Protocol: a b"),
            "32 empty": handshake("/ws", "Sec-WebSocket-Protocol: a,,b"),
            "32 twice": handshake("/ws", "Sec-WebSocket-Protocol: a, a"),
            "32 twice in two lines": handshake(
                "/ws", "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"
            ),
            "38 escape sequence in the path": but((REQUEST_LINE, "GET /\x1b[31m HTTP/1.1")),
            "38 escape sequence in a header": handshake("/ws", "User-Agent: \x1b[31m"),
        },
    )
    yield from _status(
        505,
        {
            "05 HTTP/1.0": but((REQUEST_LINE, "GET /ws HTTP/1.0")),
            "06 HTTP/1.2": but((REQUEST_LINE, "GET /ws HTTP/1.2")),
            "06 HTTP/2.0": but((REQUEST_LINE, "GET /ws HTTP/2.0")),
            "07 preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        },
    )
    for method in ("POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "TRACE", "get", "NEW"):
        data = but((REQUEST_LINE, f"{method} /ws HTTP/1.1"))
        yield Row(f"08 {method}", data, 405, {"Allow": "GET"}, method == "HEAD")
    yield from _status(
        426,
        {
            "09 no upgrade": but((UPGRADE, None)),
            "09 h2c": but((UPGRADE, "Upgrade: h2c")),
            "09 websocketx": but((UPGRADE, "Upgrade: websocketx")),
            "10 no connection": but((CONNECTION, None)),
            "10 keep-alive": but((CONNECTION, "Connection: keep-alive")),
            "10 notupgrade": but((CONNECTION, "Connection: notupgrade")),
            "28 plain, then an upgrade": request("/ws") + handshake(),
            **{
                f"11 version {value}": but((VERSION, f"Sec-WebSocket-Version: {value}"))
                for value in ("8", "12", "14", "13, 8", "013", "")
            },
        },
        Upgrade="websocket",
        Sec_WebSocket_Version="13",
    )
    yield from _status(
        403,
        {
            f"33 origin {value}": handshake("/ws", f"Origin: {value}")
            for value in (
                "http://other",
                "http://test:81",
                "https://test",
                "null",
                "http://test http://test",
                "http://test.evil",
                "http://eviltest",
                "http://u@test",
                "http://test/",
                "test",
                "",
                "\xe9",
            )
        },
    )
    yield from _status(
        403,
        {"33 two origins": handshake("/ws", "Origin: http://test", "Origin: http://test")},
    )


LONG = [
    Row("21 long target", but((REQUEST_LINE, f"GET /{'a' * 9000} HTTP/1.1")), 414),
    Row("21 long header", handshake("/ws", "X: " + "a" * 9000), 431),
    Row("21 many headers", handshake("/ws", *["X: a"] * 101), 431),
    Row("21 long head", handshake("/ws", *["X: " + "a" * 4000] * 9), 431),
    Row("22 endless line", but((REQUEST_LINE, "GET /" + "a" * 100_000)), 414),
    Row("22 endless head", handshake("/ws", *["X: " + "a" * 8000] * 16), 431),
    Row("22 endless empty headers", handshake("/ws", *["X:"] * 50_000), 431),
]
ROWS = [*_accepted(), *_refused()]


class Application:
    """One route that upgrades, and what was called."""

    def __init__(self) -> None:
        self.handle = Handle()
        self.entered = 0
        handle = self.handle
        handle.websocket("room")(lambda message, ws: ws.send(message))

        @handle.get("/ws")
        def enter(request: Request) -> HandlerStatus:
            request.require_upgrade()
            request.send_upgrade("room")
            self.entered += 1
            return HandlerStatus.HANDLED


async def outcome(app: Application, server: Server, row: Row, parts: Iterator[bytes]) -> str:
    """Return what differs from what the row asks for; nothing when all is well."""
    entered = app.entered
    try:
        async with wire(server) as connection, asyncio.timeout(2):
            await connection.send_in_parts(parts)
            if row.status == 101:
                return await _upgraded(connection) or _unless(app.entered == entered + 1, "entered")
            raw = await connection.read_all()
    except TimeoutError:
        return "the connection stays open"
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return (
        _unless(raw.count(b"HTTP/1.1 ") == 1, f"{raw!r} is not one response")
        or _unless(lines[0].startswith(f"HTTP/1.1 {row.status} "), lines[0])
        or _unless(headers.get("Connection") == "close", f"{headers}")
        or _unless(len(body) == (0 if row.is_head else int(headers["Content-Length"])), "length")
        or _unless(row.headers.items() <= headers.items(), f"{headers}")
        or _unless(app.entered == entered, "the application took it")
    )


async def _upgraded(connection: Wire) -> str:
    answer = await connection.answer()
    if answer.status != 101:
        return f"{answer}"
    await connection.send(frame(TEXT, b"hello") + frame(CLOSE, b"\x03\xe8"))
    echo, closing, rest = (
        await connection.frame(),
        await connection.closing(),
        await connection.read_all(),
    )
    return _unless((echo, closing, rest) == ((TEXT, b"hello"), (1000, ""), b""), "frames")


def _unless(holds: bool, what: str) -> str:
    return "" if holds else what


def _whole(data: bytes) -> Iterator[bytes]:
    yield data


def _each(data: bytes, step: int = 1) -> Iterator[bytes]:
    return (data[i : i + step] for i in range(0, len(data), step))


async def test_every_row_comes_out_as_the_table_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wsgroups")
    app = Application()
    async with serve(app.handle, port=0) as server:
        results = {
            row.name: await outcome(app, server, row, _whole(row.data)) for row in ROWS + LONG
        }
    assert {name: result for name, result in results.items() if result} == {}
    logged = "".join(record.getMessage() for record in caplog.records)
    assert logged
    assert logged.isascii()
    assert logged.isprintable()


async def test_every_row_comes_out_the_same_one_byte_at_a_time() -> None:
    app = Application()
    async with serve(app.handle, port=0) as server:
        results = {row.name: await outcome(app, server, row, _each(row.data)) for row in ROWS}
        for row in LONG:
            results[row.name] = await outcome(app, server, row, _each(row.data, 1447))
    assert {name: result for name, result in results.items() if result} == {}


async def test_every_row_comes_out_the_same_split_in_two_anywhere() -> None:
    app = Application()
    failures = {}
    async with serve(app.handle, port=0) as server:
        for number, row in enumerate(ROWS):
            # Every other byte, odd and even in turn: the rows are all made of the same lines.
            for at in range(1 + number % 2, min(len(row.data), 400), 2):
                parts = iter((row.data[:at], row.data[at:]))
                result = await outcome(app, server, row, parts)
                if result:
                    failures[f"{row.name} split at {at}"] = result
    assert failures == {}


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
    ]
    async with serve(Handle(), port=0) as server:
        for data, status in early:
            assert (await ask(server, data)).status == status, data[:40]


async def test_a_client_of_tls_is_not_answered() -> None:
    async with serve(Handle(), port=0) as server, wire(server) as connection:
        await connection.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))
        assert await connection.read_all() == b""


async def test_frames_right_behind_the_request_are_handled() -> None:
    app = Application()
    early = frame(TEXT, b"one") + frame(PING, b"two") + frame(TEXT, b"x" * 40_000)
    async with serve(app.handle, port=0) as server, wire(server) as connection:
        assert (await connection.ask(handshake() + early)).status == 101
        assert await connection.frame() == (TEXT, b"one")
        assert await connection.frame() == (PONG, b"two")
        assert await connection.frame() == (TEXT, b"x" * 40_000)


async def test_a_request_right_behind_an_upgrade_is_a_broken_frame() -> None:
    app = Application()
    async with serve(app.handle, port=0) as server, wire(server) as connection:
        assert (await connection.ask(handshake() + request("/ws"))).status == 101
        assert await connection.closing() == (1002, "")
        assert await connection.read_all() == b""


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
