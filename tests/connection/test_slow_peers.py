"""Peers that read slowly or not at all."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.connection.peer import (
    BINARY,
    CLOSE,
    PING,
    App,
    Serve,
    binary,
    close,
    close_body,
    echo,
    numbers,
    text,
    texts,
)
from wsgroups import CloseInfo, Request, SendResult, Side, SocketStatus, WebSocket
from wsgroups.connection.stream import limit_write_buffers

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


def test_the_drop_oldest_policy_keeps_what_is_new(serve: Serve) -> None:
    app = serve(write_limit=10_000, write_high_water=1000, slow_consumer="drop_oldest")
    peer = app.open()
    peer.set_window(500)
    results = [peer.socket.send(f"{i:1000}") for i in range(100)]
    assert max(results) is SendResult.BUFFERED
    assert peer.socket.buffered_amount <= 10_000
    peer.set_window(None)
    got = [int(message) for message in peer.received_texts()]
    assert got == [0, *range(91, 100)], "what has begun is finished"
    assert peer.socket.dropped == app.group.dropped == 90
    assert peer.ends == 0


def test_the_drop_oldest_policy_leaves_control_frames(serve: Serve) -> None:
    app = serve(
        write_limit=10_000, write_high_water=1000, slow_consumer="drop_oldest", ping_interval=20
    )
    peer = app.open()
    peer.set_window(0)
    peer.socket.send("a" * 5000)
    app.advance(20)
    for i in range(20):
        peer.socket.send(f"{i:1000}")
    peer.set_window(None)
    frames = peer.received()
    assert frames[0] == (PING, b"")
    assert [int(payload) for _, payload in frames[1:]] == list(range(11, 20))


def test_what_cannot_be_made_room_for_is_dropped_itself(serve: Serve) -> None:
    app = serve(write_limit=10_000, write_high_water=1000, slow_consumer="drop_oldest")
    peer = app.open()
    peer.set_window(1)
    assert peer.socket.send(bytes(9000)) is SendResult.BUFFERED
    assert peer.socket.send(bytes(2000)) is SendResult.DROPPED
    assert peer.socket.send(bytes(500)) is SendResult.BUFFERED
    peer.set_window(None)
    assert [len(payload) for _, payload in peer.received()] == [9000, 500]


def test_the_conflate_policy_keeps_the_newest_of_each_key(serve: Serve) -> None:
    app = serve(write_limit=10_000, write_high_water=1000, slow_consumer="conflate")
    slow, quick = app.open(), app.open()
    slow.set_window(10)
    slow.socket.send("x" * 100, key="x")
    app.run()
    for price in range(50):
        assert slow.socket.send(f"A {price}", key="A") < SendResult.DROPPED
        app.group.send(f"B {price}", key=b"B")
        app.group.send(f"C {price}", key=3)
        slow.socket.send(f"without {price}")
    slow.set_window(None)
    app.run()
    got = slow.received_texts()
    assert got[:5] == ["x" * 100, "A 49", "B 49", "C 49", "without 0"]
    assert got[5:] == [f"without {price}" for price in range(1, 50)]
    assert quick.received_texts() == [f"{k} {p}" for p in range(50) for k in "BC"]
    assert app.group.conflated == 3 * 49
    assert app.group.dropped == 0
    for peer in (slow, quick):
        peer.socket.send("A 50", key="A")
        app.run()
        assert peer.received_texts() == ["A 50"], "nothing is left over for a later one to replace"


def test_without_room_the_conflate_policy_drops_the_oldest(serve: Serve) -> None:
    app = serve(write_limit=10_000, write_high_water=1000, slow_consumer="conflate")
    peer = app.open()
    peer.set_window(0)
    for i in range(20):
        assert peer.socket.send(f"{i:1000}", key=i) < SendResult.DROPPED
    peer.socket.send("19 again", key=19)
    peer.set_window(None)
    assert [int(text[:1004].split()[0]) for text in peer.received_texts()] == list(range(11, 20))


@pytest.mark.parametrize("policy", ["disconnect", "drop_newest", "drop_oldest", "wait"])
def test_in_other_groups_a_key_means_nothing(serve: Serve, policy: str) -> None:
    app = serve(slow_consumer=policy)
    peer = app.open()
    peer.set_window(0)
    for i in range(3):
        peer.socket.send(str(i), key="k")
        app.group.send(str(i), key="k")
    peer.set_window(None)
    assert peer.received_texts() == ["0", "0", "1", "1", "2", "2"]


@pytest.mark.parametrize("key", [1.5, ("a",), True, bytearray(b"a"), object()])
def test_a_key_is_of_a_type_that_cannot_surprise(serve: Serve, key: Any) -> None:
    app = serve(slow_consumer="conflate")
    peer = app.open()
    with pytest.raises(TypeError, match="key takes a str, int or bytes, not"):
        peer.socket.send("x", key=key)
    with pytest.raises(TypeError, match="key takes a str, int or bytes, not"):
        app.group.send("x", key=key)


Queued = tuple[bytes, object]  # a message that waits, and its key
LIMIT, MARK = 400, 100


@settings(max_examples=300, deadline=None)
@given(
    policy=st.sampled_from(["drop_oldest", "conflate"]),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["send", "group", "read"]),
            st.integers(0, 120),
            st.sampled_from([None, "a", "b", 1]),
        ),
        max_size=60,
    ),
)
def test_the_queue_does_what_a_list_would(policy: str, steps: list[Any]) -> None:
    """The model: a list of messages; the first may have begun and is then left alone."""
    app = App(slow_consumer=policy, write_limit=LIMIT, write_high_water=MARK)
    peer = app.open()
    peer.set_window(0)
    queue: list[Queued] = []
    begun = False  # the first of the queue is sent in part
    left = 0  # bytes of it that are not sent
    expected: list[bytes] = []
    number = 0

    def unsent() -> int:
        whole = sum(len(message) + 2 for message, _ in queue[begun:])
        return whole + (left if begun else 0)

    def model_send(message: bytes, key: object) -> bool:
        size = len(message) + (2 if verb == "group" else 0)
        if unsent() > MARK and unsent() + size > LIMIT:
            while unsent() + size > LIMIT and len(queue) > begun:
                del queue[int(begun)]
            if unsent() > MARK and unsent() + size > LIMIT:
                return False
        if policy == "conflate" and key is not None:
            for index in range(int(begun), len(queue)):
                if queue[index][1] == key:
                    queue[index] = (message, key)
                    return True
        queue.append((message, key))
        return True

    for verb, amount, key in steps:
        if verb == "read":
            peer.set_window(amount)
            while amount and queue:
                size = left if begun else len(queue[0][0]) + 2
                if amount < size:
                    begun, left, amount = True, size - amount, 0
                else:
                    expected.append(queue.pop(0)[0])
                    begun, amount = False, amount - size
            peer.set_window(0)
            continue
        number += 1
        message = b"%03d" % number + bytes(amount)
        if key is not None and verb == "send":
            verb = "group"  # a message with a key goes as a block, whose size has its header
            model_send(message, key)
            peer.socket.send(message, key=key)
        elif verb == "group":
            assert app.group.send(message, key=key) == model_send(message, key)
        else:
            taken = peer.socket.send(message) < SendResult.DROPPED
            assert taken == model_send(message, key)
        app.run()
        assert peer.socket.buffered_amount == unsent()
    peer.set_window(None)
    app.run()
    expected += [message for message, _ in queue]
    assert [payload for _, payload in peer.received()] == expected
    app.finish()


# --- all peers together ---------------------------------------------------------------------


@pytest.fixture
def few_bytes() -> Iterator[None]:
    """Let all queues of the process hold 100,000 bytes."""
    limit_write_buffers(100_000)
    yield
    limit_write_buffers(sys.maxsize)


@pytest.mark.usefixtures("few_bytes")
def test_above_the_limit_of_all_the_longest_queues_go_first(serve: Serve) -> None:
    app = serve(write_limit=50_000, write_high_water=1000)
    peers = [app.open() for _ in range(10)]
    for share, peer in enumerate(peers):
        peer.set_window(0)
        peer.socket.send("x" * 2500 * share)  # 112,500 in all
    app.run()
    assert [peer.info is None for peer in peers] == [True] * 8 + [False] * 2
    assert peers[9].info == CloseInfo(1013, "", False, Side.LOCAL)
    assert app.group.cut_off == 2
    peers[9].set_window(None)
    assert peers[9].received() == [(CLOSE, close_body(1013))]
    for share, peer in enumerate(peers[:8]):
        peer.set_window(None)
        app.run()
        assert peer.received_texts() == ["x" * 2500 * share]


@pytest.mark.usefixtures("few_bytes")
def test_a_message_that_many_wait_for_counts_once(serve: Serve) -> None:
    app = serve(write_limit=50_000, write_high_water=1000)
    peers = [app.open() for _ in range(50)]
    for peer in peers:
        peer.set_window(0)
    assert app.group.send("x" * 20_000) == 50
    app.run()
    assert [peer.info for peer in peers] == [None] * 50
    for i in range(4):
        app.group.send(str(i) * 20_000)
        app.run()
    assert [peer.info for peer in peers if peer.info] == [
        CloseInfo(1013, "", False, Side.LOCAL)
    ] * 50


@pytest.mark.usefixtures("few_bytes")
def test_a_response_that_nobody_reads_counts_too(serve: Serve) -> None:
    app = serve()

    @app.handle.get("/long")
    def long(request: Request) -> str:
        return "x" * 30_000

    slow = [app.connect() for _ in range(5)]
    for peer in slow:
        peer.set_window(0)
        peer.send(b"GET /long HTTP/1.1\r\nHost: test\r\n\r\n")
    app.run()
    assert 1 <= [peer.is_closed for peer in slow].count(True) < 5


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
