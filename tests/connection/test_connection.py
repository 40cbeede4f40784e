"""One WebSocket from its upgrade on, without a loop and without descriptors."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.connection.peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    NOW,
    PING,
    PONG,
    REQUEST,
    TEXT,
    App,
    Errors,
    Peer,
    Serve,
    assert_failed,
    binary,
    client_frame,
    close,
    close_body,
    echo,
    frames_of,
    never,
    numbers,
    text,
    texts,
)
from wsgroups import CloseInfo, SendResult, Side, WebSocket
from wsgroups.connection.connection import Connection

# --- opening -----------------------------------------------------------------------------------


def test_connect_comes_before_any_message(serve: Serve) -> None:
    seen: list[str] = []
    app = serve(
        enter=lambda ws: seen.append("enter"),
        connect=lambda ws: seen.append("connect"),
        text=lambda message, ws: seen.append(message),
    )
    app.open(texts(["a", "b"]))
    app.run()
    assert seen == ["enter", "connect", "a", "b"]


def test_what_is_sent_at_the_upgrade_comes_behind_the_101_in_order(serve: Serve) -> None:
    app = serve(enter=lambda ws: ws.send("enter"), connect=lambda ws: ws.send("connect"), text=echo)
    peer = app.open(texts(["a"]))
    app.run()
    assert peer.received_texts() == ["enter", "connect", "a"]


def test_frames_behind_the_request_are_handled(serve: Serve) -> None:  # HS-26
    app = serve(text=echo)
    peer = app.open(texts(range(150)))
    app.run()
    assert peer.received_texts() == numbers(0, 150)


def test_a_stream_is_the_same_however_it_is_split(serve: Serve) -> None:  # CO-9
    app = serve(text=echo, binary=echo)
    stream = (
        REQUEST
        + text("one")
        + client_frame(TEXT, b"t", final=False)
        + client_frame(PING, b"ping")
        + client_frame(CONTINUATION, b"wo")
        + binary(bytes(300))
        + close(1000, "bye")
    )
    expected = [
        (TEXT, b"one"),
        (PONG, b"ping"),
        (TEXT, b"two"),
        (BINARY, bytes(300)),
        (CLOSE, close_body(1000)),
    ]

    def outcome(*segments: bytes) -> None:
        peer = app.connect()
        peer.send(*segments)
        app.run()
        head, _, rest = peer.take().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert frames_of(rest) == (expected, b"")
        assert peer.is_closed
        assert peer.info == CloseInfo(1000, "bye", True, Side.REMOTE)

    outcome(stream)
    outcome(*(stream[i : i + 1] for i in range(len(stream))))
    for i in range(1, len(stream)):
        outcome(stream[:i], stream[i:])
    choice = random.Random(26)
    for _ in range(300):
        i, j = sorted(choice.choices(range(1, len(stream)), k=2))
        outcome(stream[:i], stream[i:j] or stream[i:i], stream[j:])


def test_a_socket_closed_in_the_get_handler_hears_nothing(serve: Serve) -> None:
    seen: list[str] = []
    app = serve(
        enter=lambda ws: ws.disconnect("no"),
        connect=lambda ws: seen.append("connect"),
        text=lambda message, ws: seen.append(message),
    )
    peer = app.open(texts(["a"]))
    app.run()
    assert peer.received() == [(CLOSE, close_body(1000, "no"))]
    assert seen == []
    peer.send(close(1000))
    assert peer.is_closed


def test_a_socket_dropped_in_the_get_handler_ends_once(serve: Serve) -> None:
    app = serve(enter=lambda ws: ws.send("last", flags=NOW), connect=never)
    peer = app.open(texts(["a"]))
    assert peer.is_closed
    assert peer.received_texts() == ["last"]


# --- messages ----------------------------------------------------------------------------------


def test_messages_are_handled_in_order(serve: Serve) -> None:
    seen: list[str | bytes] = []
    app = serve(
        text=lambda message, ws: seen.append(message),
        binary=lambda message, ws: seen.append(message),
    )
    peer = app.open()
    peer.send(text("a") + binary(b"b"), text("c"), binary(b"") + text("") + text("ä€😀"))
    assert seen == ["a", b"b", "c", b"", "", "ä€😀"]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000, 1 << 20])
def test_messages_of_any_size_are_echoed(serve: Serve, size: int) -> None:  # FR-01
    app = serve(text=echo, binary=echo)
    peer = app.open()
    payload = (b"0123456789abcdef!" * (size // 17 + 1))[:size]
    peer.send(binary(payload) + text(payload.decode()))
    app.run()
    assert peer.received() == [(BINARY, payload), (TEXT, payload)]


def test_a_large_message_in_many_segments_is_echoed(serve: Serve) -> None:
    app = serve(binary=echo)
    peer = app.open()
    payload = bytes(range(256)) * 3000
    frame = binary(payload)
    peer.send(*(frame[i : i + 10_007] for i in range(0, len(frame), 10_007)))
    assert peer.received() == [(BINARY, payload)]


def test_a_text_message_without_a_text_handler_closes_with_1003(serve: Serve) -> None:
    peer = serve(binary=echo).open()
    peer.send(binary(b"fine") + text("not"))
    assert peer.received()[0] == (BINARY, b"fine")
    peer.send(text("later"))
    assert peer.got_fin
    assert peer.info == CloseInfo(1003, "", False, Side.LOCAL)


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_a_message_kind_without_a_handler_closes_with_1003(serve: Serve, kind: str) -> None:
    peer = serve(**{kind: echo}).open()
    peer.send(binary(b"x") if kind == "text" else text("x"))
    assert_failed(peer, 1003)


def test_a_group_without_message_handlers_discards_messages(serve: Serve) -> None:
    peer = serve().open()
    peer.send(text("x") + binary(b"y") + client_frame(PING, b"z"))
    assert peer.received() == [(PONG, b"z")]
    assert peer.socket.send("push") is SendResult.OK


def test_json_that_is_none_closes_with_1007(serve: Serve) -> None:
    seen: list[Any] = []
    peer = serve(text=lambda value, ws: seen.append(value), decode_json=True).open()
    peer.send(text('{"a": [1]}') + text("{") + text('{"b": 2}'))
    assert seen == [{"a": [1]}]
    assert_failed(peer, 1007)


def test_control_frames_between_fragments_are_answered_at_once(serve: Serve) -> None:  # FR-12
    peer = serve(text=echo).open()
    peer.send(client_frame(TEXT, b"Hel", final=False))
    for i in range(10):
        peer.send(client_frame(PING, b"%d" % i) + client_frame(PONG, b"unasked"))
    assert peer.received() == [(PONG, b"%d" % i) for i in range(10)]
    peer.send(client_frame(CONTINUATION, b"lo"))
    assert peer.received() == [(TEXT, b"Hello")]


# --- fairness ----------------------------------------------------------------------------------


def test_a_turn_handles_64_events_and_the_next_turns_the_rest(serve: Serve) -> None:  # RX-12
    app = serve(text=echo)
    peer, other = app.open(), app.open()
    peer.send(texts(range(200)))
    assert peer.received_texts() == numbers(0, 64)
    assert not peer.is_read
    other.send(text("me too"))
    assert other.received_texts() == ["me too"], "others have their turn between"
    for start in (64, 128):
        app.turn()
        assert peer.received_texts() == numbers(start, start + 64)
    app.turn()
    assert peer.received_texts() == numbers(192, 200)
    assert peer.is_read
    peer.send(text("next"))
    assert peer.received_texts() == ["next"]


def test_exactly_a_turns_worth_leaves_nothing_behind(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.send(texts(range(64)))
    assert peer.received_texts() == numbers(0, 64)
    assert peer.is_read
    peer.send(texts(range(64)) + text("65")[:4], text("65")[4:])
    app.run()
    assert peer.received_texts() == [*numbers(0, 64), "65"]


def test_a_close_behind_many_messages_comes_last(serve: Serve) -> None:
    app = serve(text=echo)
    peer = app.open()
    peer.send(texts(range(150)) + close(1000) + text("ignored"))
    app.run()
    frames = peer.received()
    assert frames[:150] == [(TEXT, b"%d" % i) for i in range(150)]
    assert frames[150:] == [(CLOSE, close_body(1000))]


def test_a_reset_while_input_is_held_drops_it(serve: Serve) -> None:
    seen: list[str] = []
    app = serve(text=lambda message, ws: seen.append(message))
    peer = app.open()
    peer.send(texts(range(200)))
    peer.reset()
    app.run()
    assert seen == numbers(0, 64)
    assert peer.ends == 1


# --- async handlers ----------------------------------------------------------------------------


async def test_messages_wait_in_order_behind_a_handler_that_is_suspended(serve: Serve) -> None:
    gate = asyncio.Event()

    async def handler(message: str, ws: WebSocket) -> None:
        if message == "0":
            await gate.wait()
        ws.send(message)

    app = serve(text=handler)
    peer = app.open()
    peer.send(texts(range(10)))
    await asyncio.sleep(0)
    assert peer.received() == []
    gate.set()
    await settle(app, peer, 10)
    assert peer.received_texts() == numbers(0, 10)


async def test_reading_stops_while_too_much_waits_behind_a_handler(serve: Serve) -> None:  # FT-17
    gate = asyncio.Event()
    seen: list[str] = []

    async def handler(message: str, ws: WebSocket) -> None:
        await gate.wait()
        seen.append(message)

    app = serve(text=handler, max_queued_events=8)
    peer = app.open()
    peer.send(*map(text, numbers(0, 40)))
    app.run()
    assert not peer.is_read
    assert peer.waiting >= 30 * len(text("10"))
    gate.set()
    await settle(app, peer, 40, seen)
    assert seen == numbers(0, 40)
    assert peer.is_read


async def test_a_close_behind_a_handler_that_is_suspended_is_answered_at_once(
    serve: Serve,
) -> None:
    gate = asyncio.Event()
    order: list[str] = []

    async def handler(message: str, ws: WebSocket) -> None:
        await gate.wait()
        order.append(message)
        assert ws.send(message) is SendResult.GONE

    app = serve(text=handler, disconnect=lambda ws: order.append("end"))
    peer = app.open()
    peer.send(text("a") + text("b") + close(1000))
    app.run()
    await asyncio.sleep(0)
    assert peer.received() == [(CLOSE, close_body(1000))]
    assert order == []
    gate.set()
    await settle(app, peer, 3, order)
    assert order == ["a", "b", "end"]


async def test_an_async_handler_that_raises_closes_with_1011(
    serve: Serve, error_log: Errors
) -> None:
    async def handler(message: str, ws: WebSocket) -> None:
        await asyncio.sleep(0)
        raise ValueError("secret")

    app = serve(text=handler)
    peer = app.open()
    peer.send(text("x"))
    await settle(app, peer, 1, error_log)
    app.run()
    assert peer.received() == [(CLOSE, close_body(1011))]
    await settle(app, peer, 1, app.ended)


async def settle(app: App, peer: Peer, count: int, seen: list[Any] | None = None) -> None:
    """Give tasks and driver their turns until `count` things were seen, or sent to the peer."""
    for _ in range(1000):
        await asyncio.sleep(0)
        app.run()
        done = len(frames_of(peer.pending())[0]) if seen is None else len(seen)
        if done >= count:
            await asyncio.sleep(0)
            app.run()
            return
    raise AssertionError(f"{done} of {count}")


# --- many at once ------------------------------------------------------------------------------


def act(choice: random.Random, app: App, peer: Peer, message: bytes) -> None:
    """Do one thing to a peer that may happen to it."""
    actions: list[Callable[[], object]] = [
        lambda: peer.send(message * choice.randrange(1, 90)),
        lambda: peer.set_window(choice.choice([0, 10, 1000, None])),
        lambda: peer.send(client_frame(PING, b"x")),
        lambda: peer.send(close(1000)),
        peer.reset,
        lambda: app.advance(0.5),
        app.turn,
    ]
    choice.choices(actions, [20, 5, 5, 1, 1, 2, 5])[0]()


def test_sockets_that_live_and_die_at_random_end_as_they_should(serve: Serve) -> None:
    def handler(message: str, ws: WebSocket) -> None:
        verb, _, number = message.partition(" ")
        target = choice.choice(app.upgraded)
        if verb == "echo":
            ws.send(number)
        elif verb == "all":
            app.group.send(number, exclude=(target,))
        elif verb == "close":
            target.disconnect()
        elif verb == "drop":
            target.send(number, flags=NOW)

    choice = random.Random(3)
    app: App = serve(
        text=handler,
        write_limit=5000,
        write_high_water=500,
        disconnect=lambda ws: app.group.send("left"),
    )
    alive: list[Peer] = []
    for i in range(3000):
        if len(alive) < 3 or choice.random() < 0.05:
            alive.append(app.open(texts(["all hello"])))
        verb = choice.choices(["echo", "all", "close", "drop"], [20, 10, 1, 1])[0]
        act(choice, app, choice.choice(alive), text(f"{verb} {i}"))
        for peer in alive:
            peer.received()
        alive = [peer for peer in alive if not peer.is_closed]
    assert len(app.upgraded) > 100


def test_an_event_of_a_closed_connection_is_harmless(serve: Serve) -> None:
    peer = serve(text=echo).open()
    connection: Connection = peer.connection
    peer.send(close(1000))
    connection.go_on()
    connection.shut(close_body(1001))
    peer.socket.send("", flags=NOW)
    assert connection.buffered_amount == 0
    assert peer.ends == 1
