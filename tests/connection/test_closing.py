"""How a WebSocket ends: by either side, cleanly or not (RFC 6455 section 7)."""

from collections.abc import Callable

import pytest

from tests.connection.peer import (
    CLOSE,
    CONTINUATION,
    NOW,
    PING,
    PONG,
    TEXT,
    App,
    Peer,
    Serve,
    assert_failed,
    client_frame,
    close,
    close_body,
    echo,
    never,
    text,
)
from wsgroups import CloseInfo, SendResult, Side, WebSocket

# --- the peer closes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4321, 4999]
)
def test_a_close_is_answered_with_its_code(serve: Serve, code: int) -> None:  # FR-31
    peer = serve(text=echo).open()
    peer.send(text("before") + close(code, "reason"))
    assert peer.received() == [(TEXT, b"before"), (CLOSE, close_body(code))]
    assert peer.is_closed
    assert peer.info == CloseInfo(code, "reason", True, Side.REMOTE)
    assert peer.ends == 1


def test_an_empty_close_is_answered_with_an_empty_one(serve: Serve) -> None:  # FR-29
    peer = serve(text=echo).open()
    peer.send(client_frame(CLOSE))
    assert peer.received() == [(CLOSE, b"")]
    assert peer.is_closed
    assert peer.info == CloseInfo(1005, "", True, Side.REMOTE)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_a_close_code_that_may_not_be_sent_fails_with_1002(serve: Serve, code: int) -> None:
    peer = serve(text=echo).open()  # FR-30
    peer.send(close(code))
    assert_failed(peer, 1002)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (client_frame(CLOSE, b"\x03"), 1002),
        (client_frame(CLOSE, b"\x03\xe8" + bytes(124)), 1002),
        (client_frame(CLOSE, b"\x03\xe8", final=False), 1002),
        (b"\xc8\x80\0\0\0\0", 1002),
        (client_frame(CLOSE, b"\x03\xe8\xff"), 1007),
    ],
)
def test_a_malformed_close_fails(serve: Serve, frame: bytes, code: int) -> None:  # FR-29, FR-32
    peer = serve(text=echo).open()
    peer.send(frame)
    assert_failed(peer, code)


def test_a_close_in_the_middle_of_a_message_is_answered(serve: Serve) -> None:  # FR-33
    peer = serve(text=echo).open()
    peer.send(client_frame(TEXT, b"Hel", final=False) + close(1001))
    assert peer.received() == [(CLOSE, close_body(1001))]
    assert peer.is_closed


def test_what_comes_behind_a_close_is_ignored(serve: Serve) -> None:  # FR-34
    peer = serve(text=never).open()
    peer.send(close(1000) + text("x") + client_frame(PING) + b"\xff\xff\xff")
    assert peer.received() == [(CLOSE, close_body(1000))]
    assert peer.got_fin
    peer.send(text("more"))
    assert peer.received() == []
    peer.end_input()
    assert peer.is_closed
    assert peer.ends == 1


def test_a_close_is_answered_behind_what_was_sent_before(serve: Serve) -> None:
    peer = serve(text=echo).open()
    peer.set_window(10)
    peer.send(text("a" * 100) + close(1000))
    assert peer.ends == 1
    assert not peer.is_closed
    peer.set_window(None)
    assert peer.received() == [(TEXT, b"a" * 100), (CLOSE, close_body(1000))]
    assert peer.is_closed


def test_a_peer_that_closes_and_does_not_read_is_dropped(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.set_window(10)
    peer.send(text("a" * 100) + close(1000))
    app.advance(4.9)
    assert not peer.is_closed
    app.advance(0.3)
    assert peer.is_closed
    assert peer.info == CloseInfo(1000, "", True, Side.REMOTE)


# --- we close ----------------------------------------------------------------------------------


def test_our_close_waits_for_the_peers(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.socket.send("before")
    peer.socket.disconnect("enough", 4001)
    app.run()
    assert peer.received() == [(TEXT, b"before"), (CLOSE, close_body(4001, "enough"))]
    assert not peer.is_closed
    assert peer.ends == 0
    assert peer.socket.is_dead()
    assert peer.info is None
    peer.send(close(4001))
    assert peer.is_closed
    assert peer.info == CloseInfo(4001, "enough", True, Side.LOCAL)
    assert peer.ends == 1


@pytest.mark.parametrize("answer", [close(1000), close(4321, "mine"), client_frame(CLOSE)])
def test_any_close_of_the_peer_answers_ours(serve: Serve, answer: bytes) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.socket.disconnect(code=4001)
    peer.send(answer)
    assert peer.received() == [(CLOSE, close_body(4001))]
    assert peer.is_closed
    assert peer.info == CloseInfo(4001, "", True, Side.LOCAL)


def test_messages_that_cross_our_close_are_ignored(serve: Serve) -> None:
    app = serve(text=never)
    peer = app.open()
    peer.socket.disconnect()
    peer.send(text("crossing") + client_frame(TEXT, b"a", final=False), client_frame(PONG))
    app.run()
    assert peer.received() == [(CLOSE, close_body(1000))]
    peer.send(client_frame(CONTINUATION, b"b") + close(1000))
    assert peer.is_closed
    assert peer.info == CloseInfo(1000, "", True, Side.LOCAL)


def test_nothing_is_sent_behind_our_close(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.socket.disconnect()
    assert peer.socket.send("late") is SendResult.GONE
    assert app.group.send("late") == 0
    peer.socket.disconnect(code=4002)
    peer.send(text("x"))
    app.advance(4)
    assert peer.received() == [(CLOSE, close_body(1000))]


def test_a_pong_that_waits_is_not_sent_behind_our_close(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.set_window(5)
    peer.send(text("a" * 20), client_frame(PING, b"waits"))
    peer.socket.disconnect()
    peer.set_window(None)
    app.run()
    assert peer.received() == [(TEXT, b"a" * 20), (CLOSE, close_body(1000))]


def test_a_peer_that_does_not_answer_our_close_is_dropped_in_time(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.socket.disconnect()
    app.run()
    app.advance(4.8)
    peer.send(text("still here") + client_frame(PING))  # CL-02: that is no answer
    assert not peer.is_closed
    app.advance(0.4)
    assert peer.is_closed
    assert peer.info == CloseInfo(1006, "", False, Side.LOCAL)
    assert peer.ends == 1


def test_close_timeout_can_be_changed(serve: Serve) -> None:
    app = serve(text=echo, close_timeout=1)
    peer = app.open()
    peer.socket.disconnect()
    app.advance(0.8)
    assert not peer.is_closed
    app.advance(0.4)
    assert peer.is_closed


def test_a_failure_behind_our_close_ends_the_connection_without_a_second_one(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.socket.disconnect()
    peer.send(b"\x83\x80\0\0\0\0")
    assert peer.received() == [(CLOSE, close_body(1000))]
    assert peer.got_fin
    assert peer.ends == 1
    peer.end_input()
    assert peer.is_closed


def test_our_close_is_sent_behind_what_the_peer_has_yet_to_read(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.set_window(0)
    peer.socket.send("a" * 1000)
    peer.socket.disconnect()
    app.run()
    assert peer.received() == []
    peer.set_window(None)
    app.run()
    assert peer.received() == [(TEXT, b"a" * 1000), (CLOSE, close_body(1000))]


# --- other ends --------------------------------------------------------------------------------


def test_fin_without_a_close_is_1006(serve: Serve) -> None:
    peer = serve(text=echo).open()
    peer.end_input()
    assert peer.is_closed
    assert peer.info == CloseInfo(1006, "", False, Side.REMOTE)
    assert peer.ends == 1


def test_fin_in_the_middle_of_a_frame_delivers_nothing(serve: Serve) -> None:  # CL-03
    peer = serve(text=never).open()
    peer.send(text("Hello")[:-1])
    peer.end_input()
    assert peer.info == CloseInfo(1006, "", False, Side.REMOTE)


def test_reset_is_1006(serve: Serve) -> None:
    peer = serve(text=echo).open()
    peer.reset()
    assert peer.is_closed
    assert peer.info == CloseInfo(1006, "", False, Side.REMOTE)
    assert peer.ends == 1


def test_fin_in_answer_to_our_close_is_no_clean_end(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.socket.disconnect(code=4000)
    app.run()
    peer.end_input()
    assert peer.info == CloseInfo(1006, "", False, Side.LOCAL)
    assert peer.ends == 1


def test_dropping_at_once_is_1006_on_our_side(serve: Serve) -> None:
    peer = serve(text=echo).open()
    assert peer.socket.send("last", flags=NOW) is SendResult.OK
    assert peer.received_texts() == ["last"]
    assert peer.is_closed
    assert peer.info == CloseInfo(1006, "", False, Side.LOCAL)


def end_by_close(app: App, peer: Peer) -> None:
    peer.send(close(1000))


def end_by_fin(app: App, peer: Peer) -> None:
    peer.end_input()


def end_by_reset(app: App, peer: Peer) -> None:
    peer.reset()


def end_by_failure(app: App, peer: Peer) -> None:
    peer.send(b"\xff\xff")


def end_by_us(app: App, peer: Peer) -> None:
    peer.socket.disconnect()
    peer.send(close(1000))


def end_by_dropping(app: App, peer: Peer) -> None:
    peer.socket.send("x", flags=NOW)


def end_by_group(app: App, peer: Peer) -> None:
    app.group.close(1001)
    app.advance(6)


def end_by_keepalive(app: App, peer: Peer) -> None:
    app.advance(60)


def end_by_overflow(app: App, peer: Peer) -> None:
    peer.set_window(0)
    while peer.socket.send(bytes(1 << 18)) < SendResult.DROPPED:
        pass
    app.advance(6)


ENDS = [
    end_by_close,
    end_by_fin,
    end_by_reset,
    end_by_failure,
    end_by_us,
    end_by_dropping,
    end_by_group,
    end_by_keepalive,
    end_by_overflow,
]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("after", ENDS)
def test_disconnect_comes_once_for_every_cause(
    serve: Serve, end: Callable[[App, Peer], None], after: Callable[[App, Peer], None]
) -> None:
    seen: list[CloseInfo | None] = []
    app = serve(text=echo, disconnect=lambda ws: seen.append(ws.close_info))
    peer = app.open()
    end(app, peer)
    app.run()
    assert peer.ends == 1
    assert peer.socket.send("x") is SendResult.GONE
    if not peer.is_closed or after not in (end_by_fin, end_by_reset):
        after(app, peer)
    app.run()
    assert peer.ends == 1
    assert seen == [peer.info]
    assert seen != [None]


def test_the_disconnect_handler_can_message_the_others(serve: Serve) -> None:
    def tell(ws: WebSocket) -> None:
        assert ws.send("too late") is SendResult.GONE
        app.group.send("one has left")

    app: App = serve(disconnect=tell)
    one, other = app.open(), app.open()
    one.end_input()
    assert other.received_texts() == ["one has left"]


def test_the_disconnect_handler_can_close_others(serve: Serve) -> None:
    app: App = serve(disconnect=lambda ws: app.group.close(1001))
    peers = [app.open() for _ in range(5)]
    peers[0].reset()
    for peer in peers[1:]:
        assert peer.received() == [(CLOSE, close_body(1001))]
        peer.send(close(1001))
        assert peer.is_closed


@pytest.mark.parametrize("late", [client_frame(PING), b"x", text("late"), close(1000)])
def test_what_comes_behind_a_close_destroys_nothing_that_is_queued(
    serve: Serve, late: bytes
) -> None:
    peer = serve(text=echo, write_high_water=1 << 20).open()
    peer.set_window(1000)
    peer.send(text("a" * 100_000), text("b"), close(1000))
    peer.send(late)
    assert not peer.is_closed
    peer.set_window(None)
    assert peer.received() == [
        (TEXT, b"a" * 100_000),
        (TEXT, b"b"),
        (CLOSE, close_body(1000)),
    ]
    assert peer.got_fin
    peer.end_input()
    assert peer.is_closed
