"""The rows of opening handshakes."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from tests.codec.feeding import masked
from tests.rows.row import Frame, HandshakeCase, Row, close_frame, closed, failed
from tests.support import KEY, PONG, TEXT, handshake, request

REQUEST_LINE = "GET /ws HTTP/1.1"
HOST = "Host: test"
UPGRADE = "Upgrade: websocket"
CONNECTION = "Connection: Upgrade"
WEBSOCKET_KEY = f"Sec-WebSocket-Key: {KEY}"
VERSION = "Sec-WebSocket-Version: 13"
LINES = [REQUEST_LINE, HOST, UPGRADE, CONNECTION, WEBSOCKET_KEY, VERSION]

SPOKEN = "chat.v2"  # the subprotocol of the group behind /ws
LONGEST_LINE = 8 << 10
LONGEST_HEAD = 32 << 10
UPGRADE_REQUIRED = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
HELLO = masked(0x81, b"hello")
GOODBYE = masked(0x88, b"\x03\xe8")
GREETED: tuple[Frame, ...] = ((TEXT, b"hello"), close_frame(1000))


def but(*changes: tuple[str, str | None], end: str = "\r\n") -> bytes:
    """Return a good handshake with lines replaced; None leaves the line out."""
    replaced = dict(changes)
    assert set(replaced) <= set(LINES)
    lines = [replaced.get(line, line) for line in LINES]
    return (end.join(line for line in lines if line is not None) + end * 2).encode("latin-1")


def asking(line: str) -> bytes:
    """Return a handshake with another request line."""
    return but((REQUEST_LINE, line))


def key(value: str) -> bytes:
    """Return a handshake with another key."""
    return but((WEBSOCKET_KEY, f"Sec-WebSocket-Key: {value}"))


def accepted(streams: dict[str, bytes], **more: Any) -> tuple[HandshakeCase, ...]:
    """Return cases that get a 101, then an echo and the Close."""
    return tuple(
        HandshakeCase(
            what=what,
            data=data,
            status=101,
            then=HELLO + GOODBYE,
            frames=GREETED,
            info=closed(1000),
            boundaries=_boundaries(data),
            **more,
        )
        for what, data in streams.items()
    )


def refused(
    status: int,
    streams: dict[str, bytes],
    headers: dict[str, str] | None = None,
    **more: Any,
) -> tuple[HandshakeCase, ...]:
    """Return cases that get one response and no WebSocket."""
    return tuple(
        HandshakeCase(
            what=what,
            data=data,
            status=status,
            headers=headers or {},
            boundaries=_boundaries(data),
            **more,
        )
        for what, data in streams.items()
    )


def followed(what: str, behind: bytes, frames: tuple[Frame, ...], info: Any) -> HandshakeCase:
    """Return a case of a good handshake with something right behind it."""
    data = handshake() + behind
    at = (len(handshake()), len(handshake()) + 40)
    return HandshakeCase(what=what, data=data, status=101, frames=frames, info=info, boundaries=at)


def _boundaries(data: bytes) -> tuple[int, ...]:
    """Where a long head is looked at: its first lines and its last, and where limits strike."""
    ends: Iterable[int] = [at + 2 for at in range(len(data)) if data[at : at + 2] == b"\r\n"]
    ends = list(ends)
    limits = [start + LONGEST_LINE for start in (0, *ends[:2]) if start + LONGEST_LINE < len(data)]
    return (*ends[:2], *ends[-2:], *limits, LONGEST_HEAD)


def _in_words(character: str) -> str:
    names = {
        "\0": "NUL",
        "\x01": "a control character",
        "\x7f": "DEL",
        "\x80": "byte 0x80",
        "\xc3\xbc": "UTF-8",
        " x": "space",
        "\t": "tab",
    }
    return names[character]


ROWS = [
    Row(id="HS-01", what="No `Host`", cases=refused(400, {"no host": but((HOST, None))})),
    Row(
        id="HS-02",
        what="Two `Host` headers, the same or different",
        cases=refused(
            400,
            {
                "the same": but((HOST, "Host: test\r\nHost: test")),
                "different": but((HOST, "Host: test\r\nHost: other")),
            },
        ),
    ),
    Row(
        id="HS-03",
        what="`Host` empty, a list, with a user, a path, a space or a port that is none",
        cases=refused(
            400,
            {
                "empty": but((HOST, "Host:")),
                "list": but((HOST, "Host: a,b")),
                "user": but((HOST, "Host: u@h")),
                "path": but((HOST, "Host: h/p")),
                "space": but((HOST, "Host: a b")),
                "port that is none": but((HOST, "Host: a:b")),
            },
        ),
    ),
    Row(
        id="HS-04",
        what="`Host` with a control character or bytes that are no ASCII",
        cases=refused(
            400,
            {
                "control character": but((HOST, "Host: a\x01b")),
                "no UTF-8": but((HOST, "Host: \xff")),
                "UTF-8": but((HOST, "Host: \xc3\xbc")),
            },
        ),
    ),
    Row(
        id="HS-05",
        what="HTTP/1.0 with a WebSocket handshake",
        cases=refused(505, {"1.0": asking("GET /ws HTTP/1.0")}),
    ),
    Row(
        id="HS-06",
        what="Other versions of HTTP, and what is none",
        cases=(
            *refused(
                505,
                {
                    "`HTTP/1.2`": asking("GET /ws HTTP/1.2"),
                    "`HTTP/2.0`": asking("GET /ws HTTP/2.0"),
                },
            ),
            *refused(
                400,
                {
                    "`http/1.1`": asking("GET /ws http/1.1"),
                    "`HTTP/1`": asking("GET /ws HTTP/1"),
                    "`HTTP/01.1`": asking("GET /ws HTTP/01.1"),
                    "`HTTP/1.11`": asking("GET /ws HTTP/1.11"),
                    "no version (0.9)": b"GET /ws\r\n\r\n",
                },
            ),
        ),
    ),
    Row(
        id="HS-07",
        what="The preface of HTTP/2",
        cases=refused(505, {"preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}),
    ),
    Row(
        id="HS-08",
        what="Any method but GET, known or not, `get` in small letters among them",
        cases=tuple(
            case
            for method in (
                "POST",
                "PUT",
                "PATCH",
                "DELETE",
                "HEAD",
                "OPTIONS",
                "CONNECT",
                "TRACE",
                "get",
                "NEW",
            )
            for case in refused(
                405,
                {method: asking(f"{method} /ws HTTP/1.1")},
                {"Allow": "GET"},
                is_head=method == "HEAD",
            )
        ),
    ),
    Row(
        id="HS-09",
        what="`Upgrade` missing or another: `h2c`, `websocketx`",
        cases=refused(
            426,
            {
                "missing": but((UPGRADE, None)),
                "h2c": but((UPGRADE, "Upgrade: h2c")),
                "websocketx": but((UPGRADE, "Upgrade: websocketx")),
                "nothing but a key": request("/ws", WEBSOCKET_KEY),
                "nothing but a version": request("/ws", VERSION),
            },
            UPGRADE_REQUIRED,
        ),
        outcome="Beside a key or version of WebSocket: a GET with neither of them, nor `websocket` "
        "in `Upgrade`, is an ordinary request, for the route's handler to answer",
    ),
    Row(
        id="HS-10",
        what="`Connection` missing or without `upgrade`: `keep-alive`, `notupgrade`",
        cases=refused(
            426,
            {
                "missing": but((CONNECTION, None)),
                "keep-alive": but((CONNECTION, "Connection: keep-alive")),
                "notupgrade": but((CONNECTION, "Connection: notupgrade")),
                "missing, and all else but `Upgrade` too": request("/ws", UPGRADE),
            },
            UPGRADE_REQUIRED,
        ),
    ),
    Row(
        id="HS-10b",
        what="`Connection: keep-alive, Upgrade`, any case, lists, lists over two lines, no space "
        "behind the colon, an IPv6 host",
        cases=accepted(
            {
                "plain": handshake(),
                "several connection tokens": but((CONNECTION, "Connection: keep-alive, Upgrade")),
                "upgrade in capitals": but((UPGRADE, "Upgrade: WebSocket")),
                "upgrade list": but((UPGRADE, "Upgrade: h2c, websocket")),
                "upgrade in two lines": but((UPGRADE, "Upgrade: h2c\r\nUpgrade: websocket")),
                "connection in two lines": but(
                    (CONNECTION, "Connection: x\r\nConnection: uPgRaDe")
                ),
                "no space behind the colon": but((UPGRADE, "Upgrade:websocket")),
                "IPv6 host": handshake(host="[::1]:8080"),
            }
        ),
    ),
    Row(
        id="HS-11",
        what="`Sec-WebSocket-Version` missing, or not 13",
        cases=(
            *refused(400, {"missing": but((VERSION, None))}),
            *refused(
                426,
                {
                    value or "empty": but((VERSION, f"Sec-WebSocket-Version: {value}"))
                    for value in ("8", "12", "14", "13, 8", "013", "")
                },
                UPGRADE_REQUIRED,
            ),
        ),
    ),
    Row(
        id="HS-12",
        what="`Sec-WebSocket-Version` or `Sec-WebSocket-Key` twice",
        cases=refused(
            400,
            {
                "two versions": but((VERSION, f"{VERSION}\r\n{VERSION}")),
                "two different versions": but((VERSION, f"{VERSION}\r\n{VERSION[:-2]}8")),
                "two keys": but((WEBSOCKET_KEY, f"{WEBSOCKET_KEY}\r\n{WEBSOCKET_KEY}")),
                "two different keys": but(
                    (WEBSOCKET_KEY, f"{WEBSOCKET_KEY}\r\nSec-WebSocket-Key: {'A' * 22}==")
                ),
            },
        ),
    ),
    Row(
        id="HS-13",
        what="`Sec-WebSocket-Key` missing, empty, of 15, 17 or 18 bytes, no base64, wrongly "
        "padded, of 4,000 characters",
        cases=refused(
            400,
            {
                "missing": but((WEBSOCKET_KEY, None)),
                "empty": key(""),
                "15 bytes": key("A" * 20),
                "17 bytes": key("A" * 23 + "="),
                "18 bytes": key("A" * 24),
                "no base64": key("!" * 22 + "=="),
                "bad padding": key("A" * 21 + "==="),
                "4,000 characters": key("A" * 4000),
            },
        ),
    ),
    Row(
        id="HS-14",
        what="A body: `Content-Length` above 0, any `Transfer-Encoding`, both",
        cases=refused(
            400,
            {
                "body": handshake("/ws", "Content-Length: 5") + b"hello",
                "body that does not come": handshake("/ws", "Content-Length: 5"),
                "body that is too large": handshake("/ws", "Content-Length: 99999999"),
                "body that is asked for": handshake(
                    "/ws", "Content-Length: 5", "Expect: 100-continue"
                ),
                "encoding without a body": handshake("/ws", "Transfer-Encoding: chunked"),
                "encoding": handshake("/ws", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
                "other encoding": handshake("/ws", "Transfer-Encoding: identity"),
                "both": handshake("/ws", "Transfer-Encoding: chunked", "Content-Length: 5"),
                "both with no length": handshake(
                    "/ws", "Transfer-Encoding: chunked", "Content-Length: 0"
                ),
            },
        ),
    ),
    Row(
        id="HS-15",
        what="`Content-Length: 0`",
        cases=accepted({"empty body": handshake("/ws", "Content-Length: 0")}),
    ),
    Row(
        id="HS-16",
        what="`Content-Length` as `+0`, `-1`, `abc`, `0x0`, `00`, `0,0`, `0 0`, empty, of 30 "
        "digits, twice",
        cases=refused(
            400,
            {
                **{
                    value or "empty": handshake("/ws", f"Content-Length: {value}")
                    for value in ("+0", "-1", "abc", "0x0", "00", "0,0", "0 0", "", "1" * 30)
                },
                "twice": handshake("/ws", "Content-Length: 0", "Content-Length: 0"),
            },
        ),
    ),
    Row(
        id="HS-17",
        what="Malformed header lines: folded, ended by a lone LF or CR, with NUL, BEL, DEL or ESC, "
        "a space or tab before the colon or the first name, no name, no colon, a name that is no "
        "token",
        cases=refused(
            400,
            {
                "folded header": handshake("/ws", "X: a", " b"),
                "folded with tab": handshake("/ws", "X: a", "\tb"),
                "bare LF": but(end="\n"),
                "bare LF in one place": handshake("/ws", "X: a\nY: b"),
                "bare CR": handshake("/ws", "X: a\rb"),
                "CR before CRLF": handshake("/ws", "X: a\r"),
                "NUL": handshake("/ws", "X: a\0b"),
                "BEL": handshake("/ws", "X: a\x07b"),
                "DEL": handshake("/ws", "X: a\x7fb"),
                "ESC": handshake("/ws", "X: a\x1bb"),
                "space before the colon": handshake("/ws", "X : a"),
                "tab before the colon": handshake("/ws", "X\t: a"),
                "space in a name": handshake("/ws", "X Y: a"),
                "space before the first header": but((HOST, " Host: test")),
                "empty name": handshake("/ws", ": a"),
                "no colon": handshake("/ws", "X"),
                "no token in a name": handshake("/ws", "X(): a"),
                "high byte in a name": handshake("/ws", "X\xe9: a"),
            },
        ),
    ),
    Row(
        id="HS-18",
        what="Bytes 0x80 to 0xFF in a value, or a tab",
        cases=accepted(
            {
                "high bytes": handshake("/ws", "X: \x80\xff"),
                "tab": handshake("/ws", "X: a\tb"),
            }
        ),
        outcome="The application gets them as latin-1",
        shown_by=("tests/test_http.py::test_a_request_tells_what_was_asked",),
    ),
    Row(
        id="HS-19",
        what="NUL, control characters, bytes from 0x80, a space or tab in the target; a space too "
        "many in the request line",
        cases=refused(
            400,
            {
                **{
                    _in_words(value): asking(f"GET /ws{value} HTTP/1.1")
                    for value in ("\0", "\x01", "\x7f", "\x80", "\xc3\xbc", " x", "\t")
                },
                "two spaces": asking("GET  /ws HTTP/1.1"),
                "two spaces later": asking("GET /ws  HTTP/1.1"),
                "space first": asking(" GET /ws HTTP/1.1"),
                "space last": asking("GET /ws HTTP/1.1 "),
            },
        ),
    ),
    Row(
        id="HS-20",
        what="Targets in another form than a path and query",
        cases=(
            *refused(
                400,
                {
                    "a fragment": asking("GET /ws#frag HTTP/1.1"),
                    "no slash": asking("GET ws HTTP/1.1"),
                    "`*`": asking("GET * HTTP/1.1"),
                    "an authority": asking("GET test:80 HTTP/1.1"),
                    "the URL of another host": asking("GET http://other/ws HTTP/1.1"),
                    "the URL of another scheme": asking("GET ftp://test/ws HTTP/1.1"),
                },
            ),
            *accepted({"the URL of this host": asking("GET http://test/ws HTTP/1.1")}),
        ),
    ),
    Row(
        id="HS-21",
        what="A request line or header above 8 KiB, above 100 headers, a head above 32 KiB",
        cases=(
            *refused(414, {"long target": asking(f"GET /{'a' * 9000} HTTP/1.1")}),
            *refused(
                431,
                {
                    "long header": handshake("/ws", "X: " + "a" * 9000),
                    "many headers": handshake("/ws", *["X: a"] * 101),
                    "long head": handshake("/ws", *["X: " + "a" * 4000] * 9),
                },
            ),
        ),
        outcome="At the byte that is too many, within 50 ms",
        shown_by=(
            "tests/rows/test_handshake_rows.py"
            "::test_a_refusal_comes_at_once_and_not_at_the_end_of_the_request",
        ),
    ),
    Row(
        id="HS-22",
        what="A head without an end",
        cases=(
            *refused(414, {"endless line": asking("GET /" + "a" * 100_000)}, outlasts=True),
            *refused(
                431,
                {
                    "endless head": handshake("/ws", *["X: " + "a" * 8000] * 16),
                    "endless empty headers": handshake("/ws", *["X:"] * 50_000),
                },
                outlasts=True,
            ),
        ),
        outcome="Before 40 KiB are read",
        shown_by=(
            "tests/rows/test_handshake_rows.py::test_an_endless_head_is_refused_at_its_limit",
        ),
    ),
    Row(
        id="HS-23",
        what="Empty lines before the request",
        cases=(
            *accepted({"one": b"\r\n" + handshake(), "two": b"\r\n\r\n" + handshake()}),
            *refused(
                400,
                {
                    "three": b"\r\n" * 3 + handshake(),
                    "fifty": b"\r\n" * 50 + handshake(),
                },
            ),
        ),
    ),
    Row(
        id="HS-24",
        what="What is no HTTP",
        cases=(
            *refused(
                0,
                {
                    "a client of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
                },
                outlasts=True,
            ),
            *refused(
                400,
                {
                    "random bytes": b"\x93" + random.Random(24).randbytes(63),
                    "`PROXY` of version 1": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + handshake(),
                    "`PROXY` of version 2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
                    + bytes(12)
                    + handshake(),
                },
            ),
        ),
        outcome="Within 100 ms",
        shown_by=(
            "tests/rows/test_handshake_rows.py"
            "::test_a_refusal_comes_at_once_and_not_at_the_end_of_the_request",
        ),
    ),
    Row(
        id="HS-25",
        what="`Expect: 100-continue`",
        cases=accepted({"expect": handshake("/ws", "Expect: 100-continue")}),
        outcome="No 100 before it",
    ),
    Row(
        id="HS-26",
        what="Frames right behind the request, 64 KiB of them at the most",
        cases=(
            followed("short", HELLO + GOODBYE, GREETED, closed(1000)),
            followed(
                "long",
                masked(0x81, b"one") + masked(0x89, b"two") + masked(0x81, b"x" * 40_000) + GOODBYE,
                ((TEXT, b"one"), (PONG, b"two"), (TEXT, b"x" * 40_000), close_frame(1000)),
                closed(1000),
            ),
        ),
    ),
    Row(
        id="HS-27",
        what="A second request right behind a handshake that is accepted",
        cases=(
            followed("plain", request("/ws"), (close_frame(1002),), failed(1002)),
            followed("handshake", handshake(), (close_frame(1002),), failed(1002)),
        ),
    ),
    Row(
        id="HS-28",
        what="A plain request to a route that upgrades, then a handshake on the same connection",
        cases=refused(426, {"both": request("/ws") + handshake()}, UPGRADE_REQUIRED, asked=1),
        outcome="The plain request's: it is the route's handler that calls for the upgrade. The "
        "connection closes, and the handshake gets no answer",
    ),
    Row(
        id="HS-29",
        what="`permessage-deflate` with window bits of 7, 16 or `abc`, a parameter twice, an "
        "unknown parameter",
        cases=accepted(
            {
                offer: handshake("/ws", f"Sec-WebSocket-Extensions: permessage-deflate; {offer}")
                for offer in (
                    "server_max_window_bits=7",
                    "server_max_window_bits=16",
                    "client_max_window_bits=abc",
                    "server_max_window_bits=10; server_max_window_bits=10",
                    "server_no_context_takeover; server_no_context_takeover",
                    "unknown=1",
                )
            }
        ),
        outcome="Without the extension",
    ),
    Row(
        id="HS-30",
        what="`permessage-deflate` with `server_max_window_bits=8`; with `client_max_window_bits` "
        "and no value; with nothing",
        cases=accepted(
            {
                offer: handshake("/ws", f"Sec-WebSocket-Extensions: {offer}")
                for offer in (
                    "permessage-deflate; server_max_window_bits=8",
                    "permessage-deflate; client_max_window_bits",
                    "permessage-deflate",
                )
            }
        ),
        outcome="Without the extension in a group that does not compress, and the first where one "
        "does",
        shown_by=(
            "tests/connection/test_compression.py::test_an_offer_that_cannot_be_met_is_declined",
        ),
    ),
    Row(
        id="HS-31",
        what="Hostile lists of extensions or subprotocols: a quote that 7 KB do not close, 600 "
        "offers, 7 KB of spaces, `constructor`, `,;;=`",
        cases=(
            *accepted(
                {
                    "extension: quote": handshake(
                        "/ws", 'Sec-WebSocket-Extensions: permessage-deflate; a="' + "x" * 7000
                    ),
                    "extension: 600 offers": handshake(
                        "/ws", "Sec-WebSocket-Extensions: " + ", ".join(["x"] * 600)
                    ),
                    "extension: spaces": handshake(
                        "/ws", "Sec-WebSocket-Extensions: x" + " " * 7000 + "y"
                    ),
                    "extension: `constructor`": handshake(
                        "/ws", "Sec-WebSocket-Extensions: constructor, __proto__"
                    ),
                    "extension: `,;;=`": handshake("/ws", "Sec-WebSocket-Extensions: ,;;="),
                    "subprotocol: 600 offers": handshake(
                        "/ws",
                        "Sec-WebSocket-Protocol: " + ", ".join(f"x{i}" for i in range(600)),
                    ),
                    "subprotocol: `constructor`": handshake(
                        "/ws", "Sec-WebSocket-Protocol: constructor, __proto__"
                    ),
                }
            ),
            *refused(
                400,
                {
                    "subprotocol: quote": handshake(
                        "/ws", 'Sec-WebSocket-Protocol: "' + "x" * 7000
                    ),
                    "subprotocol: spaces": handshake(
                        "/ws", "Sec-WebSocket-Protocol: x" + " " * 7000 + "y"
                    ),
                    "subprotocol: `,;;=`": handshake("/ws", "Sec-WebSocket-Protocol: ,;;="),
                },
            ),
        ),
        outcome="101 without an extension or subprotocol; 400 where a subprotocol is no token. "
        "Looked at in less than 1 ms",
        in_short=True,
        shown_by=(
            "tests/rows/test_handshake_rows.py::test_hostile_lists_are_looked_at_in_a_millisecond",
        ),
    ),
    Row(
        id="HS-32",
        what="Subprotocols",
        cases=(
            *refused(
                400,
                {
                    "no token": handshake("/ws", "Sec-WebSocket-Protocol: a b"),
                    "no ASCII": handshake("/ws", "Sec-WebSocket-Protocol: \xe9"),
                    "an empty one": handshake("/ws", "Sec-WebSocket-Protocol: a,,b"),
                    "twice the same": handshake("/ws", "Sec-WebSocket-Protocol: a, a"),
                    "twice in two lines": handshake(
                        "/ws", "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"
                    ),
                },
            ),
            *accepted({"none in common": handshake("/ws", "Sec-WebSocket-Protocol: chat")}),
            *accepted(
                {
                    "one in common": handshake("/ws", f"Sec-WebSocket-Protocol: chat, {SPOKEN}"),
                },
                headers={"Sec-WebSocket-Protocol": SPOKEN},
            ),
        ),
        outcome="Without one in common, the 101 names none",
    ),
    Row(
        id="HS-33",
        what="`Origin`: another host, port or scheme, `null`, a list, twice, with a path or user, "
        "empty, no URL",
        cases=refused(
            403,
            {
                **{
                    value: handshake("/ws", f"Origin: {value}")
                    for value in (
                        "http://other",
                        "http://test:81",
                        "https://test",
                        "null",
                        "http://test http://test",
                        "http://test, http://test",
                        "http://test.evil",
                        "http://eviltest",
                        "http://u@test",
                        "http://test@evil",
                        "http://test/",
                        "test",
                        "",
                        "\xe9",
                    )
                },
                "twice": handshake("/ws", "Origin: http://test", "Origin: http://test"),
            },
        ),
        shown_by=("tests/test_http.py::test_origins_say_which_pages_may_connect",),
    ),
    Row(
        id="HS-33b",
        what="No `Origin`, or the server's own",
        cases=accepted(
            {
                "none": handshake(),
                "same": handshake("/ws", "Origin: http://test"),
                "same with its port": handshake("/ws", "Origin: http://TEST:80"),
            }
        ),
    ),
    Row(
        id="HS-34",
        what="`X-Forwarded-For`, `-Proto`, `-Host`, `Forwarded`, `X-Real-IP` from anybody",
        cases=accepted(
            {
                "all": handshake(
                    "/ws",
                    "X-Forwarded-For: 6.6.6.6",
                    "X-Forwarded-Proto: https",
                    "X-Forwarded-Host: evil",
                    "Forwarded: for=6.6.6.6;proto=https;host=evil",
                    "X-Real-IP: 6.6.6.6",
                )
            }
        ),
        outcome="Not believed",
        shown_by=("tests/rows/test_handshake_rows.py::test_headers_of_proxies_are_not_believed",),
    ),
    Row(
        id="HS-35",
        what="CR, LF or NUL from the application in a header, reason, cookie or subprotocol",
        outcome="`ValueError` where it is given; nothing is sent",
        shown_by=(
            "tests/test_http.py::test_a_line_break_in_a_response_is_a_value_error",
            "tests/test_http.py::test_a_line_break_in_an_upgrade_is_a_value_error",
        ),
    ),
    Row(
        id="HS-36",
        what="Look-alikes: `Content_Length`, `Transfer_Encoding`",
        cases=accepted(
            {
                "length": handshake("/ws", "Content_Length: 5"),
                "encoding": handshake("/ws", "Transfer_Encoding: chunked"),
            }
        ),
        outcome="Without effect, and the application gets them as they are",
        shown_by=(
            "tests/rows/test_handshake_rows.py::test_look_alike_headers_come_through_as_they_are",
        ),
    ),
    Row(
        id="HS-37",
        what="Odd paths",
        cases=(
            *refused(
                404,
                {
                    "`/rooms/%2e%2e/ws`": asking("GET /rooms/%2e%2e/ws HTTP/1.1"),
                    "`//ws`": asking("GET //ws HTTP/1.1"),
                    "`/ws;a=b`": asking("GET /ws;a=b HTTP/1.1"),
                    "`/%77s`": asking("GET /%77s HTTP/1.1"),
                },
            ),
            *refused(
                400,
                {
                    "`/ws%00`": asking("GET /ws%00 HTTP/1.1"),
                    "`/rooms/a%00b`": asking("GET /rooms/a%00b HTTP/1.1"),
                },
            ),
            *accepted(
                {
                    "`/rooms/a;b`": asking("GET /rooms/a;b HTTP/1.1"),
                    "`/ws?%00;//%2e`": asking("GET /ws?%00;//%2e HTTP/1.1"),
                }
            ),
        ),
        outcome="Routes are found by the bytes as sent",
    ),
    Row(
        id="HS-38",
        what="Escape sequences in the path, in `User-Agent`, in a subprotocol",
        cases=refused(
            400,
            {
                "path": asking("GET /\x1b[31m HTTP/1.1"),
                "user agent": handshake("/ws", "User-Agent: \x1b[31m"),
                "subprotocol": handshake("/ws", "Sec-WebSocket-Protocol: \x1b[31m"),
            },
        ),
        outcome="The log of all rows is printable ASCII",
        shown_by=("tests/rows/test_handshake_rows.py::test_the_log_of_all_rows_can_be_printed",),
    ),
    Row(
        id="HS-39",
        what="Who may not connect: as the handler says, or because the server is full",
        cases=(
            *refused(
                401,
                {"not logged in": handshake("/refused/401")},
                {"WWW-Authenticate": "Bearer"},
                asked=1,
            ),
            *refused(403, {"forbidden": handshake("/refused/403")}, asked=1),
            *refused(429, {"too often": handshake("/refused/429")}, {"Retry-After": "1"}, asked=1),
            *refused(
                503,
                {"the handler says so": handshake("/refused/503")},
                {"Retry-After": "1"},
                asked=1,
            ),
            *refused(503, {"full": handshake()}, {"Retry-After": "1"}, is_full=True),
        ),
        not_yet="no limit of the server's own answers 429",
    ),
    Row(
        id="HS-40",
        what="Any of these split at every byte",
        outcome="The same",
        shown_by=(
            "tests/rows/test_handshake_rows.py::test_a_row_comes_out_the_same_one_byte_at_a_time",
            "tests/rows/test_handshake_rows.py::test_a_row_comes_out_the_same_split_in_two_anywhere",
            "tests/rows/test_handshake_rows.py::test_a_row_comes_out_the_same_split_in_three",
        ),
    ),
]
