"""Pings, pongs and the keepalive."""

from collections.abc import Callable

import pytest

from tests.connection.peer import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Serve,
    client_frame,
    close_body,
    echo,
    text,
)
from wsgroups import CloseInfo, Side

# --- pings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"x", bytes(range(125))])
def test_a_ping_is_answered_with_its_payload(serve: Serve, payload: bytes) -> None:  # FR-05
    peer = serve().open()
    peer.send(client_frame(PING, payload))
    assert peer.received() == [(PONG, payload)]


def test_an_unsolicited_pong_is_ignored(serve: Serve) -> None:  # FR-07
    peer = serve().open()
    peer.send(client_frame(PONG) + client_frame(PONG, b"unasked") * 1000)
    assert peer.received() == []
    assert not peer.is_closed


def test_at_most_one_pong_waits_for_a_peer_that_does_not_read(serve: Serve) -> None:  # RX-08
    app = serve(text=echo)
    peer = app.open()
    peer.set_window(2)
    peer.send(text("first"))
    before = peer.socket.buffered_amount
    for i in range(2000):
        peer.send(client_frame(PING, b"%d" % i))
    app.run()
    assert peer.socket.buffered_amount == before
    assert not peer.is_read, "who takes no pongs is not asked for more pings"
    peer.set_window(None)
    app.run()
    assert peer.received() == [(TEXT, b"first"), *((PONG, b"%d" % i) for i in range(2000))]
    peer.send(client_frame(PING, b"again"))
    assert peer.received() == [(PONG, b"again")]


def test_a_flood_of_pings_in_one_segment_stays_bounded(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.set_window(0)
    peer.socket.send("x")
    app.run()
    peer.send(client_frame(PING, bytes(125)) * 20_000)
    app.run()
    assert not peer.is_read
    assert peer.socket.buffered_amount < 2 * 64 * 127
    peer.set_window(None)
    app.run()
    assert peer.received()[-1] == (PONG, bytes(125))


def test_a_pong_answers_its_ping_and_those_before(serve: Serve) -> None:
    def note(name: str) -> Callable[[bool], None]:
        return lambda answered: seen.append((name, answered))

    peer = serve().open()
    seen: list[tuple[str, bool]] = []
    for name in ("a", "b", "c", "d"):
        peer.connection.ping(name.encode(), note(name))
    peer.send(client_frame(PONG, b"unknown"))
    assert seen == []
    assert peer.received() == [(PING, b"a"), (PING, b"b"), (PING, b"c"), (PING, b"d")]
    peer.send(client_frame(PONG, b"b"))
    assert seen == [("a", True), ("b", True)]
    peer.send(client_frame(PONG, b"b"))
    peer.end_input()
    assert seen == [("a", True), ("b", True), ("c", False), ("d", False)]


def test_a_ping_on_a_socket_that_closes_is_never_answered(serve: Serve) -> None:
    peer = serve().open()
    seen: list[bool] = []
    peer.socket.disconnect()
    peer.connection.ping(b"x", seen.append)
    assert seen == [False]


# --- keepalive ---------------------------------------------------------------------------------


def test_a_silent_peer_is_pinged_by_the_end_of_the_interval(serve: Serve) -> None:
    app = serve()
    peer = app.open()
    app.advance(15.9)
    assert peer.received() == []
    app.advance(4.2)
    assert peer.received() == [(PING, b"")]


def test_a_peer_that_does_not_answer_is_closed_with_1011(serve: Serve) -> None:  # KA-01
    app = serve()
    peer = app.open()
    while not peer.pending():
        app.advance(0.1)
    assert peer.received() == [(PING, b"")]
    app.advance(19.8)
    assert not peer.got_fin
    app.advance(0.3)
    assert peer.received() == [(CLOSE, close_body(1011))]
    assert peer.got_fin
    assert peer.info == CloseInfo(1011, "", False, Side.LOCAL)
    assert peer.ends == 1
    app.advance(5.1)
    assert peer.is_closed
    assert peer.ends == 1


@pytest.mark.parametrize(
    "sign",
    [
        client_frame(PONG),
        client_frame(PONG, b"wrong"),
        client_frame(PING),
        text("x"),
        b"\x81",  # a single byte
    ],
)
def test_any_byte_is_a_sign_of_life(serve: Serve, sign: bytes) -> None:
    app = serve(text=echo)
    peer = app.open()
    app.advance(20.1)
    assert (PING, b"") in peer.received()
    peer.send(sign)
    app.advance(20.5)
    assert not peer.is_closed
    assert peer.socket.is_dead() is False


def test_a_byte_in_the_moment_of_the_ping_is_a_sign_of_life(serve: Serve) -> None:
    app = serve()
    peer = app.open()
    while not peer.pending():
        app.advance(0.1)
    peer.send(client_frame(PONG))
    app.advance(20.1)
    assert not peer.got_fin
    assert not peer.socket.is_dead()


def test_a_peer_that_answers_lives_for_ever(serve: Serve) -> None:
    app = serve()
    peer = app.open()
    pings = 0
    for _ in range(3600):
        app.advance(1)
        for frame in peer.received():
            assert frame == (PING, b"")
            pings += 1
            peer.send(client_frame(PONG))
    assert 3600 / 20.1 <= pings <= 3600 / 16
    assert not peer.socket.is_dead()


def test_a_peer_that_sends_is_not_pinged(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    for _ in range(200):
        app.advance(5)
        peer.send(text("x"))
    assert {opcode for opcode, _ in peer.received()} == {TEXT}


def test_without_an_interval_there_are_no_pings(serve: Serve) -> None:
    app = serve(ping_interval=None)
    peer = app.open()
    app.advance(1000)
    assert peer.received() == []
    assert not peer.is_closed


@pytest.mark.parametrize("interval", [4e8, 1e15, float("inf")])
def test_an_interval_beyond_all_clocks_is_no_short_one(serve: Serve, interval: float) -> None:
    app = serve(ping_interval=interval, ping_timeout=interval)
    peer = app.open()
    app.advance(1000)
    assert peer.received() == []
    assert not peer.is_closed


def test_without_a_timeout_pings_are_sent_and_nobody_is_closed(serve: Serve) -> None:
    app = serve(ping_timeout=None)
    peer = app.open()
    app.advance(221)
    frames = peer.received()
    assert 11 <= len(frames) <= 13
    assert set(frames) == {(PING, b"")}
    assert not peer.is_closed


def test_interval_and_timeout_can_be_changed(serve: Serve) -> None:
    app = serve(ping_interval=2, ping_timeout=1)
    peer = app.open()
    app.advance(2.3)
    assert peer.received() == [(PING, b"")]
    app.advance(1)
    assert peer.received() == [(CLOSE, close_body(1011))]


def test_a_new_interval_holds_for_live_sockets(serve: Serve) -> None:
    app = serve(ping_interval=None)
    peer = app.open()
    app.advance(100)
    app.handle.group("room", ping_interval=20)
    app.advance(23)
    assert peer.received() == [(PING, b"")]


def test_sockets_that_came_together_are_not_pinged_together(serve: Serve) -> None:
    app = serve()
    peers = [app.open() for _ in range(200)]
    pinged = []
    for _ in range(50):
        app.advance(0.1)
        pinged.append(sum(bool(peer.received()) for peer in peers))
    assert sum(pinged) == 0
    for _ in range(180):
        app.advance(0.1)
        pinged.append(sum(bool(peer.received()) for peer in peers))
    assert sum(pinged) == 200
    assert max(pinged) < 40
