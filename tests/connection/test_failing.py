"""Bad frames, and handlers that raise or close sockets in the middle of a turn."""

import asyncio
from collections.abc import Callable

import pytest

from tests.connection.peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    NOW,
    PING,
    REQUEST,
    TEXT,
    App,
    Errors,
    Serve,
    assert_failed,
    binary,
    client_frame,
    close,
    close_body,
    echo,
    never,
    numbers,
    text,
    texts,
)
from wsgroups import CloseInfo, SendResult, Side, WebSocket

# --- bad frames --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x01a", 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (client_frame(CONTINUATION, b"x"), 1002),
        (client_frame(PING, bytes(126)), 1002),
        (client_frame(PING, final=False), 1002),
        (b"GET / HTTP/1.1\r\n\r\n", 1002),
        (REQUEST, 1002),
        (client_frame(TEXT, b"\xff"), 1007),
        (client_frame(TEXT, b"\xc0", final=False), 1007),
        (b"\x82\xff\0\0\0\0\0\x10\0\x01\0\0\0\0", 1009),
        (b"\x82\xff\x7f" + b"\xff" * 7 + bytes(4), 1009),
        (b"\x82\xff\xff" + b"\xff" * 7 + bytes(4), 1002),
    ],
)
def test_a_bad_frame_fails_the_connection(serve: Serve, frame: bytes, code: int) -> None:
    app = serve(text=echo, binary=echo)
    peer = app.open()
    peer.send(text("valid") + frame + text("ignored"))  # FR-27, FR-28
    app.run()
    frames = peer.received()
    assert frames == [(TEXT, b"valid"), (CLOSE, close_body(code))]
    peer.send(text("ignored"))
    assert peer.received() == []
    assert peer.got_fin
    assert peer.ends == 1
    peer.end_input()
    assert peer.is_closed


def test_a_failed_connection_is_dropped_when_the_peer_stays(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.send(b"\xff\xff")
    app.advance(4.9)
    assert not peer.is_closed
    app.advance(0.3)
    assert peer.is_closed


def test_a_failed_connection_takes_in_only_so_much(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.send(b"\xff\xff")
    flood = bytes(1 << 20)
    for _ in range(64):
        assert not peer.is_closed
        peer.send(flood)
    assert peer.is_closed


def test_a_message_above_the_limit_closes_with_1009(serve: Serve) -> None:  # FR-22
    app = serve(binary=echo, max_message_size=1000)
    peer = app.open()
    peer.send(binary(bytes(1000)))
    assert peer.received() == [(BINARY, bytes(1000))]
    peer.send(binary(bytes(1001))[:8])
    assert_failed(peer, 1009)


def test_a_limit_that_changes_holds_for_live_sockets(serve: Serve) -> None:
    app = serve(binary=echo)
    peer = app.open()
    app.handle.group("room", max_message_size=10)
    peer.send(binary(bytes(10)))
    assert peer.received() == [(BINARY, bytes(10))]
    peer.send(client_frame(BINARY, bytes(6), final=False))
    peer.send(client_frame(CONTINUATION, bytes(5)))
    assert_failed(peer, 1009)


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_too_many_fragments_close_with_1008(serve: Serve, payload: bytes) -> None:  # RX-01, RX-02
    app = serve(text=never)
    peer = app.open()
    peer.send(client_frame(TEXT, payload, final=False))
    more = client_frame(CONTINUATION, payload, final=False)
    peer.send(more * 4095)
    app.run()
    assert peer.received() == []
    peer.send(more)
    assert_failed(peer, 1008)


# --- handlers that raise -----------------------------------------------------------------------


def fail_on(bad: str, error: BaseException) -> Callable[[str, WebSocket], None]:
    def handler(message: str, ws: WebSocket) -> None:
        if message == bad:
            raise error
        ws.send(message)

    return handler


@pytest.mark.parametrize(
    "kind",
    [
        ValueError,
        RecursionError,
        asyncio.CancelledError,
        GeneratorExit,
        StopIteration,
        BaseException,
    ],
)
def test_a_handler_that_raises_closes_with_1011_and_tells_nothing(
    serve: Serve, error_log: Errors, kind: type[BaseException]
) -> None:  # EX-01, FT-15
    error = kind("secret")
    app = serve(text=fail_on("bad", error))
    peer, other = app.open(), app.open()
    peer.send(texts(["good", "bad", "never", "never"]))
    assert peer.received() == [(TEXT, b"good"), (CLOSE, close_body(1011))]
    assert peer.got_fin
    assert peer.info == CloseInfo(1011, "", False, Side.LOCAL)
    other.send(text("good"))
    assert other.received_texts() == ["good"]
    assert [record.exc_info and record.exc_info[1] for record in error_log] == [error]
    assert "room" in error_log[0].getMessage()
    assert str(peer.socket.id) in error_log[0].getMessage()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_comes_out_when_the_turn_is_over(
    serve: Serve, error_log: Errors, error: type[BaseException]
) -> None:
    app = serve(text=fail_on("bad", error()))
    peer, other = app.open(), app.open()
    with pytest.raises(error):
        peer.send(texts(["good", "bad", "never"]))
    assert peer.received() == [(TEXT, b"good"), (CLOSE, close_body(1011))]
    assert peer.ends == 1
    other.send(text("still served"))
    assert other.received_texts() == ["still served"]


def test_the_error_handler_is_told(serve: Serve, error_log: Errors) -> None:
    error = ValueError("why")
    seen: list[object] = []
    app = serve(text=fail_on("bad", error), error=lambda error, ws: seen.append((error, ws)))
    peer = app.open()
    peer.send(text("bad"))
    assert seen == [(error, peer.socket)]
    assert_failed(peer, 1011)


def test_an_error_handler_that_sends_and_raises_does_no_harm(
    serve: Serve, error_log: Errors
) -> None:
    def handler(error: BaseException, ws: WebSocket) -> None:
        ws.send("sorry")
        raise RuntimeError("again")

    app = serve(text=fail_on("bad", ValueError()), error=handler)
    peer = app.open()
    peer.send(text("bad"))
    assert peer.received() == [(TEXT, b"sorry"), (CLOSE, close_body(1011))]
    assert len(error_log) == 2


def test_a_connect_handler_that_raises_closes_with_1011(serve: Serve, error_log: Errors) -> None:
    def connect(ws: WebSocket) -> None:
        raise ValueError

    app = serve(connect=connect, text=never)
    peer = app.open(text("never"))
    app.run()
    assert_failed(peer, 1011)


def test_a_disconnect_handler_that_raises_is_not_called_again(
    serve: Serve, error_log: Errors
) -> None:
    def disconnect(ws: WebSocket) -> None:
        raise ValueError

    app = serve(disconnect=disconnect)
    peer = app.open()
    peer.send(close(1000))
    assert peer.received() == [(CLOSE, close_body(1000))]
    assert peer.ends == 1
    assert len(error_log) == 1


def test_a_handler_that_raises_after_closing_keeps_its_close(
    serve: Serve, error_log: Errors
) -> None:
    def handler(message: str, ws: WebSocket) -> None:
        ws.disconnect("done", 4000)
        raise ValueError

    peer = serve(text=handler).open()
    peer.send(text("x"))
    assert peer.received() == [(CLOSE, close_body(4000, "done"))]
    peer.send(close(4000))
    assert peer.is_closed
    assert peer.ends == 1


# --- handlers that close -----------------------------------------------------------------------


def test_a_handler_that_closes_its_own_socket_hears_no_more(serve: Serve) -> None:
    seen: list[str] = []

    def handler(message: str, ws: WebSocket) -> None:
        seen.append(message)
        ws.send(message)
        if message == "2":
            ws.disconnect()

    app = serve(text=handler)
    peer = app.open()
    peer.send(texts(range(100)) + close(1000))
    app.run()
    assert seen == numbers(0, 3)
    assert peer.received() == [
        (TEXT, b"0"),
        (TEXT, b"1"),
        (TEXT, b"2"),
        (CLOSE, close_body(1000)),
    ]
    assert peer.is_closed
    assert peer.info == CloseInfo(1000, "", True, Side.LOCAL)


@pytest.mark.parametrize("size", [0, 100, 20_000, 200_000])
def test_a_handler_that_drops_its_own_socket_hears_no_more(serve: Serve, size: int) -> None:
    seen: list[bytes] = []

    def handler(message: bytes, ws: WebSocket) -> None:
        seen.append(message)
        ws.send("dropped", flags=NOW)
        assert ws.send("x") is SendResult.GONE

    app = serve(binary=handler)
    peer = app.open()
    peer.send(binary(bytes(size)) + texts(range(100)))
    app.run()
    assert seen == [bytes(size)]
    assert peer.is_closed
    assert peer.received_texts() == ["dropped"]


def test_a_handler_that_closes_another_socket(serve: Serve) -> None:
    seen: list[str] = []

    def handler(message: str, ws: WebSocket) -> None:
        seen.append(message)
        if message == "close":
            other.socket.disconnect("told to", 4000)
        elif message == "drop":
            other.socket.send("x", flags=NOW)

    app = serve(text=handler)
    peer, other = app.open(), app.open()
    other.send(texts(range(100)))  # of which 64 are handled in this turn
    assert len(seen) == 64
    peer.send(text("close"))
    app.run()
    assert seen == [*numbers(0, 64), "close"]
    assert other.received() == [(CLOSE, close_body(4000, "told to"))]
    other.send(close(4000))
    assert other.is_closed

    other = app.open()
    other.send(texts(range(100)))
    peer.send(text("drop") + text("still here"))
    app.run()
    assert seen[65:] == [*numbers(0, 64), "drop", "still here"]
    assert other.is_closed


def test_a_handler_that_closes_every_socket_of_its_group(serve: Serve) -> None:
    app: App = serve(text=lambda message, ws: app.group.close(1001))
    peers = [app.open() for _ in range(20)]
    peers[7].send(texts(range(10)))
    for peer in peers:
        assert peer.received() == [(CLOSE, close_body(1001))]
        peer.send(close(1001))
        assert peer.is_closed
