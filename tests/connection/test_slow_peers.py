"""Peers that read slowly or not at all."""

import pytest

from tests.connection.peer import (
    BINARY,
    CLOSE,
    Serve,
    binary,
    close,
    close_body,
    echo,
    numbers,
    text,
    texts,
)
from wsgroups import CloseInfo, SendResult, Side, SocketStatus, WebSocket

HIGH_WATER = 64 << 10  # the default


# --- a peer that does not read -----------------------------------------------------------------


def test_send_says_buffered_above_the_high_water_mark(serve: Serve) -> None:
    peer = serve(write_high_water=1000).open()
    peer.set_window(0)
    assert peer.socket.send(bytes(900)) is SendResult.OK
    assert peer.socket.send(bytes(900)) is SendResult.BUFFERED
    assert peer.socket.buffered_amount == 2 * 904
    peer.set_window(None)
    assert peer.socket.buffered_amount == 0
    assert peer.received() == [(BINARY, bytes(900))] * 2
    assert peer.socket.send(bytes(5000)) is SendResult.OK
    assert peer.received() == [(BINARY, bytes(5000))]


def test_the_write_limit_closes_with_1013(serve: Serve) -> None:  # SC-01
    app = serve(write_limit=10_000, write_high_water=1000)
    peer, other = app.open(), app.open()
    peer.set_window(50)
    results = [peer.socket.send(bytes(1000)) for _ in range(11)]
    assert results.index(SendResult.DROPPED) == 10
    assert peer.socket.send("x") is SendResult.GONE
    assert peer.socket.buffered_amount < 2000, "only what has begun is finished"
    assert peer.info == CloseInfo(1013, "", False, Side.LOCAL)
    peer.set_window(None)
    app.run()
    assert peer.received() == [(BINARY, bytes(1000)), (CLOSE, close_body(1013))]
    assert peer.got_fin
    assert peer.ends == 1
    assert other.socket.send("fine") is SendResult.OK


def test_a_peer_that_is_cut_off_in_its_own_handler_is_told_why(serve: Serve) -> None:
    results: list[SendResult] = []

    def flood(message: str, ws: WebSocket) -> None:
        results.extend(ws.send("x" * 5000) for _ in range(int(message)))

    app = serve(text=flood, write_limit=100_000)
    peer = app.open()
    peer.set_window(0)
    peer.send(text("1"), text("40"))
    assert results[-1] is SendResult.GONE
    peer.set_window(None)
    app.run()
    assert peer.received()[-1] == (CLOSE, close_body(1013))
    assert peer.got_fin
    assert peer.info == CloseInfo(1013, "", False, Side.LOCAL)


def test_a_peer_over_the_limit_is_dropped_when_it_goes_on_not_reading(serve: Serve) -> None:
    app = serve(write_limit=10_000, write_high_water=1000)
    peer = app.open()
    peer.set_window(0)
    while peer.socket.send(bytes(1000)) < SendResult.DROPPED:
        pass
    app.advance(5.1)
    assert peer.is_closed
    assert peer.ends == 1


def test_the_drop_newest_policy_drops_and_keeps_the_socket(serve: Serve) -> None:
    app = serve(write_limit=10_000, write_high_water=1000, slow_consumer="drop_newest")
    peer = app.open()
    peer.set_window(0)
    sent = []
    for i in range(100):
        if peer.socket.send(f"{i:1000}") < SendResult.DROPPED:
            sent.append(i)
    assert sent == list(range(9))
    assert app.group.send("x" * 2000) == 0
    peer.set_window(None)
    assert [int(message) for message in peer.received_texts()] == sent
    assert peer.socket.send("again") is SendResult.OK
    app.run()
    assert peer.received_texts() == ["again"]
    assert peer.ends == 0


def test_a_message_above_the_write_limit_goes_to_a_peer_that_has_read_all(serve: Serve) -> None:
    peer = serve(write_limit=10_000, write_high_water=1000).open()
    assert peer.socket.send(bytes(50_000)) is SendResult.OK
    assert peer.received() == [(BINARY, bytes(50_000))]


@pytest.mark.parametrize("policy", ["disconnect", "drop_newest"])
def test_a_message_above_the_write_limit_goes_behind_a_small_one(serve: Serve, policy: str) -> None:
    def handler(message: str, ws: WebSocket) -> None:
        results.append(ws.send("small"))
        results.append(ws.send("a" * 20_000))

    results: list[SendResult] = []
    app = serve(text=handler, write_limit=10_000, write_high_water=1000, slow_consumer=policy)
    peer = app.open()
    peer.send(text("go"))
    assert peer.received_texts() == ["small", "a" * 20_000]
    assert max(results) < SendResult.DROPPED
    handler("from outside the turn", peer.socket)
    app.run()
    assert peer.received_texts() == ["small", "a" * 20_000]
    assert app.group.send("b" * 20_000) == 1
    app.group.send("small")
    app.group.send("b" * 20_000)
    app.run()
    assert peer.received_texts() == ["b" * 20_000, "small", "b" * 20_000]


def test_a_flood_to_echo_stays_bounded_when_the_peer_does_not_read(serve: Serve) -> None:  # RX-09
    app = serve(binary=echo)
    peer = app.open()
    peer.set_window(0)
    message = binary(bytes(10_000))
    peer.send(*[message * 10] * 100)
    app.run()
    assert not peer.is_read
    assert peer.socket.buffered_amount <= HIGH_WATER + 10_004
    assert peer.waiting > 9_000_000, "the rest stays in the kernel"
    peer.set_window(None)
    app.run()
    assert peer.received() == [(BINARY, bytes(10_000))] * 1000
    assert peer.waiting == 0


def test_a_flood_of_small_messages_stays_bounded_too(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.set_window(0)
    peer.send(texts(range(100_000)))
    app.run()
    assert peer.socket.buffered_amount <= HIGH_WATER + 64 * 8
    taken: list[str] = []
    while len(taken) < 100_000:
        peer.set_window(10_007)
        app.run()
        assert peer.socket.buffered_amount <= HIGH_WATER + 64 * 8
        taken += peer.received_texts()
    assert taken == numbers(0, 100_000)


def test_a_peer_that_reads_slowly_gets_everything_in_order(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.set_window(0)
    messages = [str(i) * (i % 300) for i in range(2000)]
    peer.send(*map(text, messages))
    taken: list[str] = []
    for _ in range(2000):
        peer.set_window(997)
        app.run()
        taken += peer.received_texts()
    assert taken == messages


def test_the_answer_to_our_close_is_heard_from_a_peer_that_does_not_read(serve: Serve) -> None:
    app = serve(binary=echo)
    peer = app.open()
    peer.set_window(0)
    peer.send(binary(bytes(100_000)))
    assert not peer.is_read
    peer.socket.disconnect(code=4000)
    assert peer.is_read
    peer.send(close(4000))
    assert peer.info == CloseInfo(4000, "", True, Side.LOCAL)
    assert not peer.is_closed
    peer.set_window(None)
    assert peer.received() == [(BINARY, bytes(100_000)), (CLOSE, close_body(4000))]
    assert peer.is_closed


@pytest.mark.parametrize("drip", [b"x", b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"])
def test_a_client_that_reads_no_answer_is_dropped_whatever_it_sends(
    serve: Serve, drip: bytes
) -> None:
    app = serve()
    app.handle.get("/")(lambda request: "x" * 500_000)
    peer = app.connect()
    peer.set_window(1000)
    peer.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", b"GET / HTTP/1.1\r\nX: ")
    for _ in range(20):
        app.advance(10)
        peer.send(drip)
    assert peer.is_closed


def test_draining_is_told_when_everything_is_sent(serve: Serve) -> None:
    app = serve()
    peer = app.open()
    seen: list[str] = []
    peer.connection.when_drained(lambda: seen.append("empty"))
    assert seen == ["empty"]
    peer.set_window(10)
    peer.socket.send(bytes(100))
    app.run()
    peer.connection.when_drained(lambda: seen.append("drained"))
    peer.set_window(50)
    assert seen == ["empty"]
    peer.set_window(None)
    assert seen == ["empty", "drained"]
    peer.set_window(10)
    peer.socket.send(bytes(100))
    app.run()
    peer.connection.when_drained(lambda: seen.append("gone"))
    peer.reset()
    assert seen == ["empty", "drained", "gone"]


@pytest.mark.parametrize("size", [9_999, 20_000])
def test_a_message_is_not_too_much_for_a_peer_below_the_high_water_mark(
    serve: Serve, size: int
) -> None:
    app = serve(binary=echo, write_limit=10_000, write_high_water=1000)
    peer = app.open()
    peer.set_window(size)  # four bytes short of the whole frame
    peer.send(binary(bytes(size)))
    assert peer.socket.buffered_amount == 4
    peer.send(binary(bytes(size)))
    assert peer.socket.status is SocketStatus.OPEN
    peer.set_window(None)
    assert peer.received() == [(BINARY, bytes(size))] * 2
