"""What may be done with the records of TLS, byte by byte and from memory."""

import ssl
from collections.abc import Callable

import pytest

from tests.connection.peer import (
    BINARY,
    CLOSE,
    REQUEST,
    TEXT,
    App,
    binary,
    close,
    close_body,
    never,
    text,
    texts,
)
from tests.tls.conftest import Connect
from tests.tls.end import TlsEnd
from wsgroups import CloseInfo, SendResult, Side, WebSocket

Serve = Callable[..., App]

RECORD = 16384


def assert_lost(end: TlsEnd) -> None:
    """The socket has ended as one that was lost, once."""
    assert end.peer.info == CloseInfo(1006, "", False, Side.REMOTE)
    assert end.peer.ends == 1


# --- in pieces ---------------------------------------------------------------------------------


def test_everything_may_come_in_two_parts_cut_anywhere(serve: Serve, connect: Connect) -> None:
    app = serve()
    longest = cut = 1
    while cut <= longest:
        end = connect(app)
        for flight in end.flights():
            longest = max(longest, len(flight))
            at = cut % len(flight)
            end.peer.send(*filter(None, (flight[:at], flight[at:])))
        sealed = end.seal(REQUEST + text("hello"))
        at = cut % len(sealed)
        end.peer.send(*filter(None, (sealed[:at], sealed[at:])))
        app.run()
        end.expect_upgrade()
        assert end.frames() == [(TEXT, b"hello")]
        cut += 1
    assert cut > 150


def test_everything_may_come_byte_by_byte(serve: Serve, connect: Connect) -> None:
    end = connect(serve())
    for flight in end.flights():
        end.peer.send(*(bytes([byte]) for byte in flight))
    end.peer.send(*(bytes([byte]) for byte in end.seal(REQUEST)))
    end.expect_upgrade()
    for size in (0, 1, 125, 126, 1000):
        message = bytes(size)
        end.peer.send(*(bytes([byte]) for byte in end.seal(binary(message))))
        assert end.frames() == [(BINARY, message)]


def test_a_record_for_each_byte(serve: Serve, connect: Connect) -> None:
    end = connect(serve())
    end.shake()
    end.peer.send(end.seal(*(bytes([byte]) for byte in REQUEST)))
    end.app.run()
    end.expect_upgrade()
    end.peer.send(end.seal(*(bytes([byte]) for byte in text("x" * 1000))))
    end.app.run()
    assert end.frames() == [(TEXT, b"x" * 1000)]


@pytest.mark.parametrize("size", [RECORD - 14, RECORD, RECORD + 1, 3 * RECORD, 1_000_000])
@pytest.mark.parametrize("segment", [1000, 65536, 1 << 20])
def test_messages_of_several_records(
    serve: Serve, connect: Connect, size: int, segment: int
) -> None:
    end = connect(serve(write_limit=1 << 22))
    end.open()
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    sealed = end.seal(binary(message), binary(b"behind it"))
    end.peer.send(*(sealed[at : at + segment] for at in range(0, len(sealed), segment)))
    end.app.run()
    assert end.frames() == [(BINARY, message), (BINARY, b"behind it")]


def test_a_turn_takes_no_more_than_its_share(serve: Serve, connect: Connect) -> None:
    """RX-12: a segment with thousands of small records leaves other sockets their turn."""
    heard: list[str] = []
    app = serve(text=lambda message, ws: heard.append(message))
    end = connect(app)
    end.open()
    end.send(*(text(str(number)) for number in range(1000)))
    assert 0 < len(heard) <= 64
    assert not end.peer.is_read
    app.run()
    assert heard == [str(number) for number in range(1000)]
    assert end.peer.is_read


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_large_body_takes_several_turns(serve: Serve, connect: Connect, is_chunked: bool) -> None:
    app = serve()
    app.handle.post("/size")(lambda request: str(len(request.body())))
    end = connect(app)
    end.shake()
    body = bytes(900_000)
    head = b"POST /size HTTP/1.1\r\nHost: test\r\n"
    if is_chunked:
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"".join(
            b"2710\r\n" + body[at : at + 10_000] + b"\r\n" for at in range(0, 900_000, 10_000)
        )
        body += b"0\r\n\r\n"
    else:
        head += b"Content-Length: 900000\r\n\r\n"
    end.send(head, body)
    app.run()
    assert end.read().endswith(b"\r\n\r\n900000")


# --- records that are wrong --------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        b"\x17\x03\x03\x00\x20" + bytes(32),  # does not decrypt
        b"\x17\x03\x03\x48\x01" + bytes(0x4801),  # too long (RFC 8446 section 5.2)
        b"\x17\x03\x03\x00\x00",  # empty
        b"\x99\x03\x03\x00\x01\x00",  # of no known type
        b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        bytes(1000),
    ],
    ids=["forged", "long", "empty", "unknown", "http", "zeros"],
)
def test_a_wrong_record_ends_the_socket_with_an_alert(
    serve: Serve, connect: Connect, record: bytes
) -> None:
    end = connect(serve())
    end.open()
    end.send(text("before"))
    end.peer.send(record)
    assert_lost(end)
    assert end.peer.got_fin
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        end.read()
    assert end.peer.socket.send("x") is SendResult.GONE
    end.peer.end_input()
    assert end.peer.is_closed


def test_what_came_before_a_wrong_record_is_handled(serve: Serve, connect: Connect) -> None:
    heard: list[str] = []
    end = connect(serve(text=lambda message, ws: heard.append(message)))
    end.open()
    end.peer.send(end.seal(text("before")) + b"\x17\x03\x03\x00\x20" + bytes(32))
    assert heard == ["before"]
    assert_lost(end)


@pytest.mark.parametrize(
    "opening",
    [
        b"GET /ws HTTP/1.1\r\nHost: test\r\n\r\n",
        REQUEST,
        b"\x00" * 100,
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff" + bytes(100),
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x17\x03\x03\x00\x20" + bytes(32),
        b"\x14\x03\x03\x00\x01\x01",
        b"SSH-2.0-x\r\n",
    ],
)
def test_what_is_no_client_hello_ends_the_connection(serve: Serve, opening: bytes) -> None:
    """HS-24, TLS-06: nothing of it reaches the application."""
    app = serve(enter=never)
    peer = app.connect()
    peer.send(opening)
    assert peer.got_fin
    sent = peer.take()
    assert sent == b"" or sent[0] == 0x15, "an alert, if anything"
    peer.end_input()
    assert peer.is_closed
    assert app.upgraded == []


def test_plain_text_before_the_handshake_never_reaches_the_application(
    serve: Serve, connect: Connect
) -> None:
    """TLS-06 (CVE-2023-40217): a request, then FIN or a handshake."""
    app = serve(enter=never)
    first, second = connect(app), connect(app)
    first.peer.send(REQUEST)
    first.peer.end_input()
    second.peer.send(REQUEST + second.hello())
    second.peer.end_input()
    assert first.peer.is_closed
    assert second.peer.is_closed
    assert app.upgraded == []


def test_a_handshake_that_stops_is_closed_at_the_deadline(serve: Serve, connect: Connect) -> None:
    """RX-06: bytes do not put it off."""
    app = serve()
    silent, half, dripping, shaken = (connect(app) for _ in range(4))
    hello = half.hello()
    half.peer.send(hello[:100])
    shaken.shake()
    hello = dripping.hello()
    for second in range(10):
        assert not any(end.peer.is_closed for end in (silent, half, dripping, shaken))
        dripping.peer.send(hello[second : second + 1])
        app.advance(1)
    assert all(end.peer.is_closed for end in (silent, half, dripping, shaken))


# --- ends --------------------------------------------------------------------------------------


def test_close_notify_without_a_close_frame_is_1006(serve: Serve, connect: Connect) -> None:
    end = connect(serve())
    end.open()
    end.peer.send(end.close_notify())
    assert_lost(end)
    assert end.peer.is_closed


def test_what_comes_behind_close_notify_is_thrown_away(serve: Serve, connect: Connect) -> None:
    end = connect(serve())
    end.open()
    end.peer.send(end.seal(text("before")) + end.close_notify() + bytes(100))
    assert_lost(end)


def test_fin_in_the_middle_of_a_record_is_1006(serve: Serve, connect: Connect) -> None:
    end = connect(serve())
    end.open()
    sealed = end.seal(text("hello"))
    end.peer.send(sealed[:-1])
    end.peer.end_input()
    assert_lost(end)
    assert end.peer.is_closed


def test_a_close_frame_and_close_notify_at_once_are_a_clean_end(
    serve: Serve, connect: Connect
) -> None:
    end = connect(serve())
    end.open()
    end.peer.send(end.seal(close(1000, "bye")) + end.close_notify())
    assert end.peer.info == CloseInfo(1000, "bye", True, Side.REMOTE)
    assert end.peer.got_fin
    end.peer.end_input()
    assert end.peer.is_closed


def test_our_end_is_close_frame_close_notify_fin(serve: Serve, connect: Connect) -> None:
    end = connect(serve())
    end.open()
    end.send(close(1000))
    assert end.frames() == [(CLOSE, close_body(1000))]
    assert end.is_over
    assert end.peer.got_fin


def test_a_request_is_answered_although_nothing_follows_it(serve: Serve, connect: Connect) -> None:
    end = connect(serve())
    end.shake()
    request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
    end.peer.send(end.seal(request) + end.close_notify())
    end.app.run()
    assert end.read().startswith(b"HTTP/1.1 404 ")
    assert end.is_over


# --- who reads slowly, and who is not read -----------------------------------------------------


def test_what_is_sealed_counts_as_unsent(serve: Serve, connect: Connect) -> None:
    end = connect(serve(write_high_water=1000, write_limit=1 << 20))
    end.open()
    socket = end.peer.socket
    end.peer.set_window(0)
    for count in range(1, 11):
        socket.send(bytes(10_000))
        assert count * 10_000 < socket.buffered_amount < count * 10_000 + 5000
    end.peer.set_window(None)
    assert socket.buffered_amount == 0
    assert end.frames() == [(BINARY, bytes(10_000))] * 10


def test_the_write_limit_closes_with_1013(serve: Serve, connect: Connect) -> None:
    end = connect(serve(write_high_water=1000, write_limit=100_000))
    end.open()
    end.peer.set_window(0)
    results = [end.peer.socket.send(bytes(10_000)) for _ in range(12)]
    assert SendResult.DROPPED in results
    assert end.peer.info == CloseInfo(1013, "", False, Side.LOCAL)
    end.peer.set_window(None)
    end.app.run()
    assert end.frames()[-1] == (CLOSE, close_body(1013))
    assert end.is_over


@pytest.mark.parametrize("window", [1, 7, 1000, 20_000])
def test_a_reader_that_takes_little_at_a_time(serve: Serve, connect: Connect, window: int) -> None:
    end = connect(serve(write_limit=1 << 22))
    end.open()
    end.peer.set_window(0)
    message = bytes(min(200_000, 300 * window))
    end.peer.socket.send(message)
    end.peer.socket.send("behind it")
    frames = []
    while end.peer.socket.buffered_amount:
        end.peer.set_window(window)
        frames += end.frames()
    assert frames == [(BINARY, message), (TEXT, b"behind it")]


def test_an_echo_whose_client_does_not_read_stops_reading(serve: Serve, connect: Connect) -> None:
    """RX-09: what is read and not handled is held, and goes on when there is room."""
    end = connect(serve())
    end.open()
    end.peer.set_window(0)
    count, size = 3000, 1000
    sealed = end.seal(*(text(str(number).rjust(size)) for number in range(count)))
    segments = [sealed[at : at + 50_000] for at in range(0, len(sealed), 50_000)]
    end.peer.send(*segments)
    end.app.run()
    assert not end.peer.is_read
    assert end.peer.waiting > len(sealed) // 2
    assert end.peer.socket.buffered_amount < 400_000
    end.peer.set_window(None)
    end.app.run()
    messages = [payload.decode() for _, payload in end.frames()]
    assert messages == [str(number).rjust(size) for number in range(count)]
    assert end.peer.is_read


def test_a_member_of_a_group_that_stops_reading_costs_the_others_nothing(
    serve: Serve, connect: Connect
) -> None:
    app = serve(write_high_water=1000, write_limit=50_000)
    ends = [connect(app) for _ in range(5)]
    for end in ends:
        end.open()
    ends[2].peer.set_window(0)
    for _ in range(20):
        app.group.send(bytes(10_000))
        app.run()
    assert ends[2].peer.info == CloseInfo(1013, "", False, Side.LOCAL)
    for end in ends[:2] + ends[3:]:
        assert end.frames() == [(BINARY, bytes(10_000))] * 20


def test_handlers_send_much_from_within_a_turn(serve: Serve, connect: Connect) -> None:
    """What is sealed meanwhile does not overwrite what is being decoded."""

    def flood(message: str, ws: WebSocket) -> None:
        ws.send(message * 2000)
        ws.send(message)

    end = connect(serve(text=flood, write_limit=1 << 24, write_high_water=1 << 16))
    end.open()
    wanted = [str(number).rjust(50) for number in range(300)]
    end.send(texts(wanted))
    end.app.run()
    got = [payload.decode() for _, payload in end.frames()]
    assert got == [part for message in wanted for part in (message * 2000, message)]
