"""What is sent arrives whole and in order, however little the kernel takes at a time."""

import random
import sys
import weakref

import pytest

from tests.connection.peer import BINARY, CLOSE, TEXT, App, Peer, Serve, close_body, frames_of, text
from wsgroups import SendResult, WebSocket

# Around the sizes at which messages are gathered (512), referred to (8192), and leave the cork
# (65536), and around the steps of the length field.
SIZES = [0, 1, 100, 125, 126, 500, 502, 508, 510, 512, 513, 8181, 8191, 8192, 8193, 20_000]
LARGE = [65_520, 65_526, 65_532, 65_535, 65_536, 65_537, 100_000]


def payload_of(size: int, seed: int) -> bytes:
    return bytes([seed & 0xFF]) * size


def roomy(serve: Serve, **options: object) -> App:
    """An application that cuts nobody off."""
    return serve(write_limit=1 << 30, write_high_water=1 << 29, **options)


def drain(app: App, peer: Peer, window: int) -> bytes:
    """Take everything in bits of `window` bytes; every bit must be full but the last."""
    got = b""
    while True:
        before = peer.socket.buffered_amount
        peer.set_window(window)
        app.run()
        bit = peer.take()
        got += bit
        assert len(bit) == min(window, before)
        assert peer.socket.buffered_amount == before - len(bit)
        if before <= window:
            return got


@pytest.mark.parametrize("window", [1, 2, 3, 7, 511, 512, 4099, 65_536])
@pytest.mark.parametrize("corked", [False, True])
def test_messages_arrive_whole_and_in_order(serve: Serve, window: int, corked: bool) -> None:
    def send_all(ws: WebSocket) -> None:
        for i, size in enumerate(sizes):
            assert ws.send(payload_of(size, i)) < SendResult.DROPPED

    choice = random.Random(window)
    sizes = choice.choices(SIZES[:9] if window < 10 else SIZES + LARGE, k=60)
    app = roomy(serve, text=lambda message, ws: send_all(ws))
    peer = app.open()
    peer.set_window(0)
    if corked:
        peer.send(text("go"))
    else:
        send_all(peer.socket)
    app.run()
    frames, rest = frames_of(drain(app, peer, window))
    assert frames == [(BINARY, payload_of(size, i)) for i, size in enumerate(sizes)]
    assert rest == b""


@pytest.mark.parametrize("size", SIZES + LARGE)
@pytest.mark.parametrize("before", [0, 1, 60_000, 65_530])
def test_a_message_of_any_size_follows_what_is_in_the_cork(
    serve: Serve, size: int, before: int
) -> None:
    def handler(message: str, ws: WebSocket) -> None:
        for i, part in enumerate((before, size, 3)):
            assert ws.send(payload_of(part, i)) is SendResult.OK

    app = roomy(serve, text=handler)
    expected = [(BINARY, payload_of(part, i)) for i, part in enumerate((before, size, 3))]
    for window in (None, 0, 1, before, before + 5, size):
        peer = app.open()
        peer.set_window(window)
        peer.send(text("go"))
        got = peer.take()
        assert len(got) == window or window not in (0, 1)
        peer.set_window(None)
        app.run()
        assert frames_of(got + peer.take()) == (expected, b"")


def test_a_queue_that_is_never_empty_goes_on_for_ever(serve: Serve) -> None:
    choice = random.Random(2)
    app = roomy(serve, text=lambda message, ws: ws.send(message))
    peer, other = app.open(), app.open()
    peer.set_window(0)
    expected: list[str] = []
    got: list[str] = []
    for i in range(6000):
        message = f"{i} " * choice.choice([1, 1, 1, 30, 200, 3000])
        way = choice.randrange(3)
        if way == 0:
            peer.socket.send(message)
        elif way == 1:
            app.group.send(message, exclude=other.socket)
        else:
            peer.send(text(message))
        expected.append(message)
        if choice.random() < 0.5:
            backlog = peer.socket.buffered_amount
            peer.set_window(choice.randrange(min(backlog, 20_000)) if backlog > 5000 else 0)
            got += peer.received_texts()
    peer.set_window(None)
    app.run()
    assert got + peer.received_texts() == expected
    assert other.received() == []


def test_one_frame_for_many_sockets_is_sent_by_each_at_its_own_pace(serve: Serve) -> None:
    app = roomy(serve)
    peers = [app.open() for _ in range(10)]
    for i, peer in enumerate(peers):
        peer.set_window(i * 1000)
    messages = [str(i) * size for i, size in enumerate([10, 9000, 100, 8192, 70_000, 1])]
    for message in messages:
        assert app.group.send(message) == 10
        for peer in peers:
            peer.socket.send(f"own {message[0]}")
    app.run()
    expected = [part for message in messages for part in (message, f"own {message[0]}")]
    for i, peer in enumerate(peers):
        got = peer.take()
        assert len(got) == i * 1000
        frames, rest = frames_of(got + drain(app, peer, 997 + i))
        assert [payload.decode() for _, payload in frames] == expected
        assert rest == b""


def test_many_small_messages_share_blocks_and_a_send(serve: Serve) -> None:
    app = roomy(serve)
    peer = app.open()
    for i in range(1000):
        peer.socket.send(str(i))
    assert peer.received() == []
    assert peer.socket.buffered_amount == sum(2 + len(str(i)) for i in range(1000))
    app.turn()
    assert peer.received_texts() == [str(i) for i in range(1000)]


@pytest.mark.parametrize("kind", [bytes, str])
def test_a_large_message_is_kept_until_it_is_sent_and_then_let_go(
    serve: Serve, kind: type[bytes] | type[str]
) -> None:
    message = b"x" * 50_000 if kind is bytes else "x" * 50_000
    app = roomy(serve)
    peers = [app.open() for _ in range(3)]
    before = sys.getrefcount(message)
    peers[0].socket.send(message)
    app.run()
    assert sys.getrefcount(message) == before, "what is sent is not kept"
    for peer in peers:
        peer.set_window(10)
    app.group.send(message)
    app.run()
    assert sys.getrefcount(message) == before + 1, "one frame for all"
    peers[0].set_window(None)
    peers[1].reset()
    assert sys.getrefcount(message) == before + 1
    peers[2].set_window(None)
    assert sys.getrefcount(message) == before


def test_a_string_of_a_class_that_could_do_anything_in_the_end_is_copied(serve: Serve) -> None:
    class Message(str):
        """Its `__del__` may be anything, also a send."""

    peer = roomy(serve).open()
    peer.set_window(5)
    message = Message("x" * 50_000)
    alive = weakref.ref(message)
    peer.socket.send(message)
    del message
    assert alive() is None
    peer.set_window(None)
    assert peer.received_texts() == ["x" * 50_000]


@pytest.mark.parametrize("size", [10, 8192, 100_000])
def test_what_can_change_is_copied(serve: Serve, size: int) -> None:
    app = roomy(serve)
    peer = app.open()
    peer.set_window(5)
    message = bytearray(b"a" * size)
    peer.socket.send(message)
    peer.socket.send(memoryview(message), is_text=True)
    app.group.send(message)
    message[:] = b"b" * size
    message.clear()  # nothing holds on to its buffer
    peer.set_window(None)
    app.run()
    original = b"a" * size
    assert peer.received() == [(BINARY, original), (TEXT, original), (BINARY, original)]


@pytest.mark.parametrize("window", [0, 1, 2, 3, 50, 503, 504, 505, 1007, 1008, 1009, 2500])
@pytest.mark.parametrize("size", [100, 500])
def test_a_peer_that_is_cut_off_gets_whole_frames_and_the_close(
    serve: Serve, window: int, size: int
) -> None:
    app = serve(write_limit=5000, write_high_water=100)
    peer = app.open()
    peer.set_window(window)
    sent = 0
    while peer.socket.send(payload_of(size, sent)) < SendResult.DROPPED:
        sent += 1
    assert sent > 5
    peer.set_window(None)
    app.run()
    frames, rest = frames_of(peer.take())
    assert rest == b""
    assert frames.pop() == (CLOSE, close_body(1013))
    assert frames == [(BINARY, payload_of(size, i)) for i in range(len(frames))]
    assert sum(4 + size for _ in frames) <= window + 4 + size + 512, "little more than had begun"


def test_nothing_is_left_of_a_queue_when_the_socket_breaks(serve: Serve) -> None:
    app = roomy(serve)
    peer = app.open()
    peer.set_window(100)
    message = b"x" * 10_000
    before = sys.getrefcount(message)
    for _ in range(100):
        peer.socket.send(message)
        peer.socket.send("small")
    assert peer.socket.buffered_amount == 100 * (10_004 + 7)
    app.run()
    assert sys.getrefcount(message) == before + 100
    peer.reset()
    assert peer.socket.buffered_amount == 0
    assert sys.getrefcount(message) == before
