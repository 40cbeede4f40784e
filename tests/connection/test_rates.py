"""What a peer may send in a time: messages, bytes, control frames, and how long a message takes."""

import pytest

from tests.connection.peer import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    Serve,
    assert_failed,
    binary,
    client_frame,
    close_body,
    echo,
    text,
    texts,
)
from wsgroups import CloseInfo, Side

OVERDUE = CloseInfo(1008, "", False, Side.LOCAL)


# --- messages and bytes ---------------------------------------------------------------------


def test_as_many_messages_as_the_burst_may_come_at_once(serve: Serve) -> None:  # RL-01
    app = serve(text=echo, max_messages_per_second=4, rate_burst=2)
    peer = app.open()
    peer.send(texts(range(8)))
    assert peer.received_texts() == [str(i) for i in range(8)]
    peer.send(texts(range(8, 10)))
    assert_failed(peer, 1008)
    assert peer.info == CloseInfo(1008, "", False, Side.LOCAL)


def test_messages_at_the_rate_may_come_for_ever(serve: Serve) -> None:
    app = serve(text=echo, max_messages_per_second=5, rate_burst=1)
    peer = app.open()
    for second in range(100):
        peer.send(texts(range(5)))
        assert len(peer.received_texts()) == 5, f"in second {second}"
        app.advance(1)


def test_what_is_saved_up_has_a_limit(serve: Serve) -> None:
    app = serve(text=echo, max_messages_per_second=1, rate_burst=3, ping_interval=None)
    peer = app.open()
    peer.send(text("first"))
    app.advance(1000)
    peer.send(texts(range(4)))
    assert [payload for _, payload in peer.received()[1:-1]] == [b"0", b"1", b"2"]
    assert peer.info == OVERDUE


def test_a_rate_below_one_lets_single_messages_through(serve: Serve) -> None:
    app = serve(text=echo, max_messages_per_second=0.5, rate_burst=1)
    peer = app.open()
    for _ in range(5):
        peer.send(text("x"))
        assert peer.received_texts() == ["x"]
        app.advance(2)
    peer.send(text("x"))
    app.advance(1)
    peer.send(text("x"))
    assert peer.received() == [(TEXT, b"x"), (CLOSE, close_body(1008))]


def test_bytes_are_counted_as_well(serve: Serve) -> None:
    app = serve(binary=echo, max_bytes_per_second=1000, rate_burst=1)
    peer = app.open()
    for _ in range(10):
        peer.send(binary(bytes(600)), binary(bytes(400)))
        assert len(peer.received()) == 2
        app.advance(1)
    peer.send(binary(bytes(2000)))
    assert len(peer.received()) == 1, "a large one uses up what comes after it"
    app.advance(0.9)
    peer.send(binary(b""))
    assert_failed(peer, 1008)


def test_a_large_message_is_paid_off_with_time(serve: Serve) -> None:
    app = serve(binary=echo, max_bytes_per_second=1000, rate_burst=1)
    peer = app.open()
    peer.send(binary(bytes(3000)))
    app.advance(2)
    peer.send(binary(bytes(500)))
    assert [len(payload) for _, payload in peer.received()] == [3000, 500]


def test_a_rate_that_is_set_later_holds_for_live_sockets(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.send(texts(range(100)))
    app.group.change(max_messages_per_second=1, rate_burst=1)
    app.run()
    peer.send(texts(range(2)))
    assert peer.info == OVERDUE
    other = app.open()
    app.group.change(max_messages_per_second=None)
    other.send(texts(range(100)))
    assert other.info is None


def test_one_socket_uses_up_nothing_of_another(serve: Serve) -> None:
    app = serve(text=echo, max_messages_per_second=1, rate_burst=1)
    greedy, other = app.open(), app.open()
    greedy.send(texts(range(2)))
    other.send(text("x"))
    assert greedy.info == OVERDUE
    assert other.received_texts() == ["x"]


# --- pings and pongs ------------------------------------------------------------------------


def ping_for(peer: Peer, seconds: int, each: int, opcode: int = PING) -> None:
    for _ in range(seconds):
        peer.send(client_frame(opcode) * each)
        peer._app.run()
        peer._app.advance(1)


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_more_than_100_control_frames_a_second_for_10_seconds_close(
    serve: Serve, opcode: int
) -> None:
    app = serve()
    peer = app.open()
    ping_for(peer, 9, 101, opcode)
    assert peer.info is None
    ping_for(peer, 1, 101, opcode)
    assert peer.info == OVERDUE


def test_100_control_frames_a_second_may_come_for_ever(serve: Serve) -> None:
    peer = serve().open()
    ping_for(peer, 60, 100)
    assert peer.info is None
    assert len(peer.received()) == 6000


@pytest.mark.parametrize("pause", ["silence", "little"])
def test_a_pause_begins_the_count_anew(serve: Serve, pause: str) -> None:
    app = serve()
    peer = app.open()
    for _ in range(3):
        ping_for(peer, 9, 200)
        if pause == "silence":
            app.advance(1)
        else:
            ping_for(peer, 1, 1)
    assert peer.info is None


# --- the time of a message ------------------------------------------------------------------


def drip(peer: Peer, stream: bytes, seconds: int) -> None:
    """Send a byte each second."""
    for i in range(seconds):
        peer.send(stream[i : i + 1])
        peer._app.advance(1)


@pytest.mark.parametrize("ping_interval", [20.0, None])
@pytest.mark.parametrize(
    "stream",
    [
        client_frame(TEXT, b"x" * 1000),
        client_frame(TEXT, b"x" * 1000, final=False),
        client_frame(TEXT, b"", final=False) + client_frame(PING) * 100,
        client_frame(TEXT, b"a", final=False) + client_frame(CONTINUATION, b"a", final=False) * 99,
    ],
)
def test_a_message_that_drips_in_has_message_timeout_seconds(
    serve: Serve, stream: bytes, ping_interval: float | None
) -> None:
    app = serve(message_timeout=60, ping_interval=ping_interval)
    peer = app.open()
    drip(peer, stream, 55)
    assert peer.info is None
    drip(peer, stream[55:], 70)
    assert peer.info == OVERDUE


def test_a_header_that_never_ends_has_no_more_time(serve: Serve) -> None:
    app = serve(message_timeout=60, ping_timeout=None)
    peer = app.open()
    peer.send(b"\x81")
    app.advance(130)
    assert peer.info == OVERDUE


@pytest.mark.parametrize("message_timeout", [60, 10])
def test_messages_that_each_come_in_time_may_go_on_for_ever(
    serve: Serve, message_timeout: float
) -> None:
    app = serve(text=echo, message_timeout=message_timeout)
    peer = app.open()
    stream = text("xyz") * 100
    drip(peer, stream, 300)
    assert peer.info is None
    assert len(peer.received_texts()) == 300 // len(text("xyz"))


def test_without_a_message_timeout_a_message_may_take_for_ever(serve: Serve) -> None:
    app = serve(text=echo, message_timeout=None)
    peer = app.open()
    stream = text("x" * 400)
    drip(peer, stream, len(stream))
    assert peer.received_texts() == ["x" * 400]


def test_while_we_do_not_read_the_message_is_not_late(serve: Serve) -> None:
    app = serve(text=echo, message_timeout=60, write_high_water=1000, write_limit=100_000)
    peer = app.open()
    peer.set_window(0)
    half = text("x" * 500)
    peer.send(text("y" * 2000), half[:200])
    app.run()
    assert not peer.is_read
    for _ in range(20):
        app.advance(15)
        peer.set_window(1)  # a reader that is alive, and slow
        peer.set_window(0)
    assert peer.info is None or peer.info.code != 1008
