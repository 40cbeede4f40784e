"""A driver over real sockets: batches, turns and edges.

Nearly all holds for the portable driver as well, and is shown for both.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.drivers.crowd import (
    App,
    Ends,
    Message,
    connected,
    crowd,
    fill,
    gone,
    ignore,
    rest,
    server_side,
    standing,
    text,
    texts,
    waiting,
)
from tests.support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Wire,
    frame,
    handshake,
    request,
    soon,
    turns,
    until,
    wire,
)
from wsgroups import (
    ConnectionFlags,
    Handle,
    HandlerStatus,
    Request,
    SendResult,
    WebSocket,
    serve,
)

NORMAL = frame(CLOSE, b"\x03\xe8")
EVENTS_A_TURN = 64
CUTS_BATCHES = pytest.mark.only_on_epoll(
    reason="transports have no batch: each ready socket is a callback of the loop's own"
)
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]

NewLoop = Callable[[], asyncio.AbstractEventLoop]
Ender = Callable[[WebSocket], None]
Errors = list[logging.LogRecord]


def spin(seconds: float) -> None:
    """Keep the loop busy."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def most_between_turns(calls: Sequence[object], count: int) -> int:
    """Wait for so many calls; return the most that came between two turns of the loop."""
    most = before = 0
    while before < count:
        await asyncio.sleep(0)
        now = len(calls)
        most, before = max(most, now - before), now
    return most


@pytest.fixture(params=["tcp", "unix"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Where a server listens."""
    return {"port": 0} if request.param == "tcp" else {"uds": str(tmp_path / "socket")}


# --- sockets that end each other --------------------------------------------------------------


def _disconnect(ws: WebSocket) -> None:
    ws.disconnect("enough", 4000)


def _drop(ws: WebSocket) -> None:
    ws.send("last", flags=ConnectionFlags.DISCONNECT_IMMEDIATELY)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="epoll is Linux's")
def test_a_driver_that_was_not_made_closes_nothing() -> None:
    from wsgroups.drivers.epoll import EpollDriver

    before = os.fstat(0)
    with pytest.raises(TypeError):
        EpollDriver()  # type: ignore[call-arg]
    gc.collect()
    assert os.path.samestat(os.fstat(0), before)


@pytest.mark.parametrize("end", [_disconnect, _drop])
async def test_a_handler_may_end_sockets_that_are_ready_later_in_the_batch(end: Ender) -> None:
    app = App()

    def end_the_others(message: Message, ws: WebSocket) -> None:
        for other in app.group:
            if other != ws:
                end(other)

    app.on_message = end_the_others
    async with serve(app.handle, port=0) as server, crowd(server, app, 40) as ends:
        for connection, _ in ends:
            connection.sock.send(text("hello"))
        await until(lambda: app.heard)
        others = [(connection, ws) for connection, ws in ends if ws.id != app.heard[0][0]]
        assert len(others) == 39
        for connection, ws in others:
            if end is _disconnect:
                assert await connection.closing() == (4000, "enough")
                await connection.send(NORMAL)
            await connection.read_all()
            await gone(app, ws)
        assert len(app.heard) == 1, "a socket that is being closed is not heard"
        assert sorted(app.parted) == sorted(ws.id for _, ws in others)


@pytest.mark.parametrize("end", [_disconnect, _drop])
async def test_a_handler_may_end_sockets_that_were_served_before_and_its_own(end: Ender) -> None:
    app = App()

    def end_all(message: Message, ws: WebSocket) -> None:
        ws.send("got it")
        if len(app.heard) == 40:
            for each in app.group:
                end(each)

    app.on_message = end_all
    async with serve(app.handle, port=0) as server, crowd(server, app, 40) as ends:
        for connection, _ in ends:
            connection.sock.send(text("hello"))
        for connection, ws in ends:
            assert await connection.frame() == (TEXT, b"got it")
            if end is _disconnect:
                assert await connection.closing() == (4000, "enough")
                connection.send_fin()
            else:
                assert await connection.frame() == (TEXT, b"last")
            assert await connection.read_all() == b""
            await gone(app, ws)
        assert len(app.parted) == 40


async def test_a_disconnect_handler_may_drop_the_next_socket_and_so_on() -> None:
    app = App()
    async with serve(app.handle, port=0) as server, crowd(server, app, 30) as ends:
        sockets = [ws for _, ws in ends]
        following = {ws.id: after for ws, after in itertools.pairwise(sockets)}

        def drop_the_next(ws: WebSocket) -> None:
            if ws.id in following:
                _drop(following[ws.id])

        app.on_part = drop_the_next
        for connection, _ in ends[1:]:
            connection.sock.send(text("hello"))
        ends[0][0].reset()
        await gone(app, sockets[-1])
        assert app.parted == [ws.id for ws in sockets]


@CUTS_BATCHES
async def test_what_is_left_of_a_batch_does_not_reach_a_socket_that_has_closed_since() -> None:
    app = App()
    app.on_message = lambda message, ws: spin(0.001)  # a turn is over after a few of these
    async with serve(app.handle, port=0) as server, crowd(server, app, 100) as ends:
        for connection, _ in ends:
            connection.sock.send(text("hello"))
        while not app.heard:
            await asyncio.sleep(0)
        heard = {id for id, _ in app.heard}
        assert len(heard) < 50, "the batch was not cut"
        late = [ws for _, ws in ends if ws.id not in heard]
        for ws in late:
            _drop(ws)
        # Their places in memory and their descriptors are taken by others.
        async with crowd(server, app, len(late)) as fresh:
            for ws in late:
                await gone(app, ws)
            assert {id for id, _ in app.heard} == heard
            for connection, ws in fresh:
                connection.sock.send(text("good day"))
                await until(lambda ws=ws: app.messages_of(ws))
            assert sorted(app.parted) == sorted(ws.id for ws in late)


# --- handlers that raise, loops that stop -----------------------------------------------------


class _Odd(BaseException):
    """Neither an Exception nor what ends a program."""


@pytest.mark.parametrize("error", [ValueError, _Odd, asyncio.CancelledError, GeneratorExit])
async def test_a_batch_is_served_to_its_end_when_a_handler_raises(
    error: type[BaseException], error_log: Errors
) -> None:
    app = App()

    def raise_at_the_seventh(message: Message, ws: WebSocket) -> None:
        if len(app.heard) == 7:
            raise error("at the seventh")
        ws.send(message)

    app.on_message = raise_at_the_seventh
    async with serve(app.handle, port=0) as server, crowd(server, app, 20) as ends:
        for connection, _ in ends:
            connection.sock.send(text("hello"))
        await until(lambda: len(app.heard) == 20)
        unlucky = app.heard[6][0]
        for connection, ws in ends:
            if ws.id == unlucky:
                assert await connection.closing() == (1011, "")
                connection.send_fin()
                assert await connection.read_all() == b""
            else:
                assert await connection.frame() == (TEXT, b"hello")
                connection.sock.send(text("again"))
                assert await connection.frame() == (TEXT, b"again")
        assert app.parted == [unlucky]
        await rest()
    assert error_log


class _Strike:
    """Raises what ends a program, once, in a kind of handler; each kind has its trigger."""

    def __init__(self, app: App, place: str, error: type[BaseException]) -> None:
        self.place = place
        self.count = 0
        self.is_armed = False
        self._error = error
        if place == "request":
            app.handle.get("/strike")(self)
        elif place == "connect":
            app.handle.websocket_connect("room")(self._greet)
        elif place == "error":
            app.handle.websocket_error("room")(lambda error, ws: self())
        elif place == "disconnect":
            app.on_part = self
        app.on_message = self._hear

    def __call__(self, *_: object) -> None:
        self.count += 1
        if self.count == 1:
            raise self._error

    def _greet(self, ws: WebSocket) -> None:
        if self.is_armed:
            self()

    def _hear(self, message: Message, ws: WebSocket) -> None:
        if message == "strike":
            if self.place == "message":
                self()
            raise ValueError("for the error handler")
        ws.send(message)

    def send(self, connection: Wire, fresh: Wire) -> None:
        """Make it happen, through a socket that is open or a connection without a request."""
        self.is_armed = True
        if self.place == "request":
            fresh.sock.send(request("/strike"))
        elif self.place == "connect":
            fresh.sock.send(handshake())
        elif self.place == "disconnect":
            connection.reset()
        else:
            connection.sock.send(text("strike"))


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", ["request", "connect", "message", "error", "disconnect"])
def test_what_ends_the_program_comes_out_when_the_batch_is_served(
    new_loop: NewLoop, error: type[BaseException], place: str, error_log: Errors
) -> None:
    app = App()
    strike = _Strike(app, place, error)

    async def serve_and_strike() -> None:
        for connection, _ in ends[:3]:
            connection.sock.send(text("hello"))
        strike.send(ends[3][0], fresh)
        for connection, _ in ends[4:]:
            connection.sock.send(text("hello"))
        await asyncio.Event().wait()

    async def go_on() -> None:
        for connection, _ in ends[:3] + ends[4:]:
            connection.sock.send(text("again"))
            assert await connection.frame() == (TEXT, b"again")
        await rest()

    with standing(new_loop, app, 7) as (loop, server, ends), connected(server) as sock:
        fresh = Wire(sock)
        loop.run_until_complete(turns())  # it is accepted
        interrupted = loop.create_task(serve_and_strike())
        with pytest.raises(error):
            loop.run_until_complete(interrupted)
        # The loop stands still now: this has left at the end of the turn, which is never cut
        # before eight events.
        for connection, _ in ends[:3] + ends[4:]:
            assert waiting(connection) == b"\x81\x05hello"
        interrupted.cancel()
        loop.run_until_complete(go_on())
    assert strike.count >= 1


@pytest.mark.parametrize("new_loop", LOOPS)
def test_threads_that_send_faster_than_a_loop_serves_wait_or_drop(new_loop: NewLoop) -> None:
    app = App()
    with standing(new_loop, app, 1) as (loop, _, ends):
        connection, ws = ends[0]
        results: list[object] = []

        async def overfill() -> None:
            for _ in range(65_536):
                assert ws.send("") is SendResult.OK
            results.append(ws.send("too many"))
            results.append(app.group.send("too many"))

        def wait() -> None:
            results.append(ws.send("in time"))
            results.append("done")

        another = threading.Thread(target=asyncio.run, args=(overfill(),))
        another.start()
        another.join()  # a thread with a loop is not held up
        assert results == [SendResult.DROPPED, 0]
        plain = threading.Thread(target=wait)
        plain.start()
        loop.run_until_complete(until(lambda: "done" in results))
        plain.join()
        assert results[2:] == [SendResult.OK, "done"]
        assert loop.run_until_complete(connection.read(2 * 65_536)) == b"\x81\x00" * 65_536
        assert loop.run_until_complete(connection.frame()) == (TEXT, b"in time")


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_loop_that_is_stopped_in_a_handler_has_served_its_batch(new_loop: NewLoop) -> None:
    app = App()

    def stop(message: Message, ws: WebSocket) -> None:
        ws.send(message)
        if len(app.heard) == 3:
            loop.stop()

    app.on_message = stop
    with standing(new_loop, app, 7) as (loop, _, ends):
        for connection, _ in ends:
            connection.sock.send(text("hello"))
        loop.run_forever()
        assert [waiting(connection) for connection, _ in ends] == [b"\x81\x05hello"] * 7
        for connection, _ in ends:
            connection.sock.send(text("again"))
            assert loop.run_until_complete(connection.frame()) == (TEXT, b"again")


@pytest.mark.parametrize("new_loop", LOOPS)
def test_what_ends_the_program_comes_out_of_a_handler_that_outlives_its_socket(
    new_loop: NewLoop, error_log: Errors
) -> None:
    app = App()
    opened = asyncio.Event()

    async def exit_later(message: Message, ws: WebSocket) -> None:
        await opened.wait()
        raise SystemExit

    app.on_message = exit_later
    with standing(new_loop, app, 1) as (loop, _, ends):
        connection, ws = ends[0]
        connection.sock.send(text("hello"))
        loop.run_until_complete(turns())
        connection.reset()
        loop.run_until_complete(until(lambda: ws.is_dead()))
        loop.run_until_complete(turns(10))
        loop.call_soon(opened.set)
        with pytest.raises(SystemExit):
            loop.run_until_complete(asyncio.wait_for(loop.create_future(), 10))
        loop.run_until_complete(gone(app, ws))


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("is_async", [False, True])
def test_what_ends_the_program_comes_out_of_an_error_handler_that_is_called_once(
    new_loop: NewLoop, is_async: bool, error_log: Errors
) -> None:
    app = App()
    calls: list[BaseException] = []

    def fail(message: Message, ws: WebSocket) -> None:
        raise ValueError

    def strike(error: BaseException, ws: WebSocket) -> None:
        calls.append(error)
        if len(calls) < 10:  # not for ever
            raise SystemExit

    async def strike_later(error: BaseException, ws: WebSocket) -> None:
        await turns()
        strike(error, ws)

    app.on_message = fail
    app.handle.websocket_error("room")(strike_later if is_async else strike)
    with standing(new_loop, app, 1) as (loop, _, ends):
        connection, ws = ends[0]
        connection.sock.send(text("hello"))
        with pytest.raises(SystemExit):
            loop.run_until_complete(asyncio.wait_for(loop.create_future(), 10))
        loop.run_until_complete(gone(app, ws))
        loop.run_until_complete(turns(10))
    assert [type(error) for error in calls] == [ValueError]
    assert [type(record.exc_info[1]) for record in error_log if record.exc_info] == [
        ValueError,
        SystemExit,
    ]


@pytest.mark.parametrize("new_loop", LOOPS)
def test_timeouts_go_on_after_what_ends_the_program(new_loop: NewLoop, error_log: Errors) -> None:
    app = App(close_timeout=0.1)
    with standing(new_loop, app, 2) as (loop, _, ends):
        (_, first), (_, second) = ends

        def strike(ws: WebSocket) -> None:
            if ws == first:
                raise KeyboardInterrupt

        app.on_part = strike
        first.disconnect()  # its client says nothing
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(gone(app, second))
        second.disconnect()
        loop.run_until_complete(gone(app, second))
        assert app.parted == [first.id, second.id]


class _Broken(logging.Handler):
    """A log that cannot be written to."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("the disk is full")


async def test_a_log_that_raises_costs_no_more_than_the_connection_it_is_about(
    error_log: Errors,
) -> None:
    app = App()

    def fail_at_the_seventh(message: Message, ws: WebSocket) -> None:
        if len(app.heard) == 7:
            raise ValueError
        ws.send(message)

    app.on_message = fail_at_the_seventh
    broken = _Broken(logging.ERROR)
    async with serve(app.handle, port=0) as server, crowd(server, app, 20) as ends:
        logging.getLogger("wsgroups").addHandler(broken)
        for connection, _ in ends:
            connection.sock.send(text("hello"))
        await until(lambda: app.parted)
        logging.getLogger("wsgroups").removeHandler(broken)
        assert app.parted == [app.heard[6][0]]
        for connection, ws in ends:
            if ws.id not in app.parted:
                assert await connection.frame() == (TEXT, b"hello")
                connection.sock.send(text("again"))
                assert await connection.frame() == (TEXT, b"again")
        await rest()


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_socket_whose_log_cannot_be_written_to_ends_as_any_other(
    is_async: bool, error_log: Errors
) -> None:
    app = App()

    def fail(message: Message, ws: WebSocket) -> None:
        raise ValueError

    async def fail_later(message: Message, ws: WebSocket) -> None:
        await turns()
        raise ValueError

    app.on_message = fail_later if is_async else fail
    broken = _Broken(logging.ERROR)
    async with serve(app.handle, port=0) as server, crowd(server, app, 1) as ends:
        connection, ws = ends[0]
        logging.getLogger("wsgroups").addHandler(broken)
        try:
            connection.sock.send(text("hello"))
            assert await connection.closing() == (1011, "")
            await gone(app, ws)
            await turns(10)
        finally:
            logging.getLogger("wsgroups").removeHandler(broken)
        assert app.parted == [ws.id]


# --- turns ------------------------------------------------------------------------------------


async def test_a_busy_socket_does_not_keep_the_others_waiting() -> None:
    app = App()
    count = 20_000
    async with serve(app.handle, port=0) as server, crowd(server, app, 2) as ends:
        (busy, _), (canary, canary_ws) = ends

        def let_the_canary_sing(message: Message, ws: WebSocket) -> None:
            if len(app.heard) == 2000:
                canary.sock.send(text("tweet"))

        app.on_message = let_the_canary_sing
        sending = asyncio.ensure_future(busy.send(texts(range(count))))
        assert await most_between_turns(app.heard, count + 1) <= 4 * EVENTS_A_TURN
        await soon(sending)
        place = app.heard.index((canary_ws.id, "tweet"))
        assert 2000 <= place <= 2000 + 4 * EVENTS_A_TURN
        assert [m for _, m in app.heard if m != "tweet"] == [str(i) for i in range(count)]


@pytest.mark.only_on_epoll(reason="uvloop reads a busy socket up to 32 times before the next")
async def test_large_messages_of_one_socket_leave_room_for_others() -> None:
    app = App()
    async with serve(app.handle, port=0) as server, crowd(server, app, 2) as ends:
        (busy, _), (canary, canary_ws) = ends

        def let_the_canary_sing(message: Message, ws: WebSocket) -> None:
            if len(app.heard) == 100:
                canary.sock.send(text("tweet"))

        app.on_message = let_the_canary_sing
        large = frame(BINARY, bytes(20_000))
        sending = asyncio.ensure_future(busy.send(large * 1000))
        # One receive takes 512 KiB at the most, and a turn ends with the one that passes 256 KiB.
        assert await most_between_turns(app.heard, 1001) <= 4 * (768 << 10) // 20_000
        await soon(sending)
        place = app.heard.index((canary_ws.id, "tweet"))
        assert 100 <= place <= 100 + 4 * (768 << 10) // 20_000


@CUTS_BATCHES
async def test_the_loop_has_its_turn_however_many_sockets_are_ready() -> None:
    app = App()
    app.on_message = lambda message, ws: spin(0.001)
    async with serve(app.handle, port=0) as server, crowd(server, app, 100) as ends:
        for connection, _ in ends:
            connection.sock.send(text("one") + text("two"))
        assert await most_between_turns(app.heard, 200) <= 64
        assert sorted(app.heard) == sorted((ws.id, m) for _, ws in ends for m in ("one", "two"))


def _reset(ends: Ends) -> None:
    for connection, _ in ends:
        connection.reset()


def _drop_all(ends: Ends) -> None:
    for _, ws in ends:
        _drop(ws)


@pytest.mark.parametrize("end", [_reset, _drop_all])
async def test_the_loop_has_its_turn_however_many_sockets_have_closed(
    end: Callable[[Ends], None],
) -> None:
    app = App()
    app.on_part = lambda ws: spin(0.001)
    async with serve(app.handle, port=0) as server, crowd(server, app, 200) as ends:
        end(ends)
        assert await most_between_turns(app.parted, 200) <= 64
        await turns(10)
        assert sorted(app.parted) == sorted(ws.id for _, ws in ends)


def test_a_loop_that_is_blocked_again_and_again_is_forgiven_once() -> None:
    app = App(close_timeout=1.0)
    with standing(asyncio.new_event_loop, app, 1) as (loop, _, ends):
        _, ws = ends[0]
        ws.disconnect()  # its client says nothing
        for expected in ([], [ws.id]):
            loop.run_until_complete(asyncio.sleep(0.15))  # a look at the clock
            time.sleep(2.1)
            loop.run_until_complete(asyncio.sleep(0.15))
            assert app.parted == expected


@pytest.mark.parametrize("new_loop", LOOPS)
def test_answers_of_more_than_fit_into_a_turn_are_read_before_they_are_missed(
    new_loop: NewLoop,
) -> None:
    app = App(ping_interval=None)
    with standing(new_loop, app, 700) as (loop, _, ends):
        app.handle.group("room", ping_interval=0.3, ping_timeout=1.0)

        async def pinged() -> None:
            for connection, _ in ends:
                assert await connection.frame() == (PING, b"")

        loop.run_until_complete(pinged())
        for connection, _ in ends:
            connection.sock.send(frame(PONG))
        time.sleep(1.5)
        loop.run_until_complete(asyncio.sleep(0.15))
        assert app.parted == []
        assert len(app.group) == 700


async def test_a_loop_that_never_reads_all_that_comes_gives_up_the_dead_as_well() -> None:
    app = App(close_timeout=0.3)

    def echo_slowly(message: Message, ws: WebSocket) -> None:
        spin(0.002)
        ws.send(message)

    app.on_message = echo_slowly
    async with serve(app.handle, port=0) as server, crowd(server, app, 200) as ends:
        (_, dead), *busy = ends

        async def talk(connection: Wire) -> None:
            while not app.parted:
                await connection.send(frame(TEXT, b"again"))
                assert await connection.frame() == (TEXT, b"again")

        dead.disconnect()
        await asyncio.gather(*(talk(connection) for connection, _ in busy))
        assert app.parted == [dead.id]


async def test_a_message_to_thousands_goes_out_in_slices() -> None:
    app = App()
    count, messages = 3000, 6
    async with serve(app.handle, port=0, backlog=4096) as server, crowd(server, app, count) as ends:
        unsent = []
        for number in range(messages):
            assert app.group.send(f"{number}") == count
            await asyncio.sleep(0)
            unsent.append(sum(ws.buffered_amount > 0 for _, ws in ends))
        # The loop had turns in the middle of it, and sent more meanwhile.
        assert any(0 < left < count for left in unsent), unsent
        await until(lambda: not any(ws.buffered_amount for _, ws in ends))
        expected = b"".join(b"\x81\x01%d" % number for number in range(messages))
        for connection, _ in ends:
            assert waiting(connection) == expected


async def test_sockets_that_close_in_the_middle_of_a_message_to_thousands() -> None:
    app = App()
    async with serve(app.handle, port=0) as server, crowd(server, app, 1000) as ends:
        assert app.group.send("one") == 1000
        await asyncio.sleep(0)
        for connection, _ in ends[::3]:
            connection.reset()
        for _, ws in ends[1::3]:
            _drop(ws)
        assert app.group.send("two") == 1000 - 333
        await until(lambda: len(app.parted) == 667)
        for connection, ws in ends[2::3]:
            assert await connection.frame() == (TEXT, b"one")
            assert await connection.frame() == (TEXT, b"two")
            assert ws.id not in app.parted


# --- edges ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 10, EVENTS_A_TURN, EVENTS_A_TURN + 1, 1000])
async def test_messages_that_come_together_with_fin_are_all_heard(count: int) -> None:
    app = App()
    app.on_message = ignore
    async with serve(app.handle, port=0) as server, crowd(server, app, 1) as ends:
        connection, ws = ends[0]
        connection.sock.send(texts(range(count)))
        connection.send_fin()
        await gone(app, ws)
        assert app.messages_of(ws) == [str(i) for i in range(count)]
        assert ws.close_info is not None
        assert ws.close_info.code == 1006
        assert await connection.read_all() == b""


@pytest.mark.parametrize("count", [0, 1, 10, EVENTS_A_TURN, EVENTS_A_TURN + 1, 1000])
async def test_messages_close_and_fin_that_come_together_are_all_answered(
    count: int, place: dict[str, Any]
) -> None:
    app = App()
    async with serve(app.handle, **place) as server, crowd(server, app, 1) as ends:
        connection, ws = ends[0]
        connection.sock.send(texts(range(count)) + NORMAL)
        connection.send_fin()
        for i in range(count):
            assert await connection.frame() == (TEXT, str(i).encode())
        assert await connection.closing() == (1000, "")
        assert await connection.read_all() == b""
        await gone(app, ws)
        assert ws.close_info is not None
        assert ws.close_info.clean


async def test_a_large_message_that_comes_together_with_close_and_fin_is_answered() -> None:
    app = App()
    size = 900_000
    async with serve(app.handle, port=0) as server, crowd(server, app, 1) as ends:
        connection, ws = ends[0]
        sent = await fill(connection, frame(BINARY, bytes(size)) + NORMAL)
        rest = (frame(BINARY, bytes(size)) + NORMAL)[sent:]
        await connection.send(rest)
        connection.send_fin()
        assert await connection.frame() == (BINARY, bytes(size))
        assert await connection.closing() == (1000, "")
        assert await connection.read_all() == b""
        await gone(app, ws)


async def test_a_burst_of_every_size_is_answered_completely(place: dict[str, Any]) -> None:
    app = App(write_limit=64 << 20, write_high_water=64 << 20)
    sizes = [1, 100, 125, 126, 5000, 20_000, 70_000, 300_000, 3, 1_000_000, 600_000, 17]
    async with serve(app.handle, **place) as server, crowd(server, app, 1) as ends:
        connection, _ = ends[0]
        burst = b"".join(frame(BINARY, bytes([i]) * size) for i, size in enumerate(sizes))
        sending = asyncio.ensure_future(connection.send(burst * 3))
        for _ in range(3):
            for i, size in enumerate(sizes):
                assert await connection.frame() == (BINARY, bytes([i]) * size)
        await soon(sending)


class _Valve(App):
    """An application whose handlers wait until they are let through."""

    def __init__(self, **policy: object) -> None:
        super().__init__(**policy)
        self.opened = asyncio.Event()
        self.on_message = self._wait

    async def _wait(self, message: Message, ws: WebSocket) -> None:
        await self.opened.wait()
        ws.send(message)
        await ws.drain()


@pytest.mark.parametrize("count", [3, 4, EVENTS_A_TURN, 1000])
@pytest.mark.parametrize("fin", [False, True])
async def test_a_socket_that_was_paused_goes_on_where_it_was(
    count: int, fin: bool, place: dict[str, Any]
) -> None:
    app = _Valve(max_queued_events=2)
    async with serve(app.handle, **place) as server, crowd(server, app, 1) as ends:
        connection, ws = ends[0]
        connection.sock.send(texts(range(count)))
        await turns(10)
        assert len(app.heard) == 1
        await rest()
        connection.sock.send(texts(range(count, 2 * count)))
        if fin:
            connection.send_fin()
        await turns(10)
        await rest()
        app.opened.set()
        if fin:
            await connection.read_all()
        else:
            for i in range(2 * count):
                assert await connection.frame() == (TEXT, str(i).encode())
            connection.send_fin()
        await gone(app, ws)
        assert app.messages_of(ws) == [str(i) for i in range(2 * count)]


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
async def test_a_reset_of_a_paused_socket_ends_it_once(count: int) -> None:
    app = _Valve(max_queued_events=2, handler_grace=0.05)
    async with serve(app.handle, port=0) as server, crowd(server, app, 2) as ends:
        connection, ws = ends[0]
        connection.sock.send(texts(range(count)))
        await turns(10)
        connection.reset()
        await turns(10)
        await rest()
        app.opened.set()
        await gone(app, ws)
        await turns(10)
        assert app.parted == [ws.id]
        said = app.messages_of(ws)
        assert said == [str(i) for i in range(len(said))]


async def test_large_messages_to_a_paused_socket_stay_with_the_kernel(
    place: dict[str, Any],
) -> None:
    app = _Valve(max_queued_events=2)
    large = frame(BINARY, bytes(500_000))
    async with serve(app.handle, **place) as server, crowd(server, app, 1) as ends:
        connection, _ = ends[0]
        sent = await fill(connection, large * 60)
        assert sent < len(large * 60), "everything was read"
        await rest()
        sending = asyncio.ensure_future(connection.send((large * 60)[sent:]))
        app.opened.set()
        for _ in range(60):
            assert await connection.frame() == (BINARY, bytes(500_000))
        await soon(sending)


async def test_a_peer_that_reads_nothing_and_then_everything(place: dict[str, Any]) -> None:
    app = App()
    large = frame(BINARY, bytes(1 << 20))
    async with serve(app.handle, **place) as server, crowd(server, app, 2) as ends:
        (connection, ws), (other, _) = ends
        sent = await fill(connection, large * 30)
        assert sent < len(large * 30), "the server took all of it"
        assert ws.buffered_amount
        await rest()
        other.sock.send(text("meanwhile"))
        assert await other.frame() == (TEXT, b"meanwhile")
        sending = asyncio.ensure_future(connection.send((large * 30)[sent:]))
        for _ in range(30):
            assert await connection.frame() == (BINARY, bytes(1 << 20))
        await soon(sending)
        assert not ws.buffered_amount


async def test_a_send_that_was_blocked_goes_on_when_the_peer_reads(place: dict[str, Any]) -> None:
    app = App(write_limit=64 << 20)
    async with serve(app.handle, **place) as server, crowd(server, app, 1) as ends:
        connection, ws = ends[0]
        for i in range(16):
            assert ws.send(bytes([i]) * (1 << 20)) in (SendResult.OK, SendResult.BUFFERED)
        draining = asyncio.ensure_future(ws.drain())
        await turns(10)
        assert not draining.done()
        await rest()
        for i in range(16):
            assert await connection.frame() == (BINARY, bytes([i]) * (1 << 20))
        await soon(draining)


async def test_a_peer_that_goes_while_a_send_is_blocked() -> None:
    app = App(write_limit=64 << 20)
    async with serve(app.handle, port=0) as server, crowd(server, app, 3) as ends:
        for connection, ws in ends:
            ws.send(bytes(8 << 20))
            draining = asyncio.ensure_future(ws.drain())
            await turns(10)
            assert not draining.done()
            connection.reset()
            await soon(draining)
            await gone(app, ws)
            assert not ws.buffered_amount


async def test_a_client_that_keeps_sending_after_its_error_still_gets_the_close() -> None:
    app = App()
    async with serve(app.handle, port=0) as server, crowd(server, app, 1) as ends:
        connection, ws = ends[0]
        await connection.send(b"\xff\xff" + bytes(16 << 20))
        assert await connection.closing() == (1002, "")
        assert await connection.read_all() == b""
        await connection.send(bytes(4 << 20))
        await gone(app, ws)
        assert app.heard == []
        assert server_side(connection.sock) is not None
        connection.send_fin()
        await until(lambda: server_side(connection.sock) is None)


async def test_a_client_that_never_stops_after_its_error_is_dropped() -> None:
    app = App()
    async with serve(app.handle, port=0) as server, crowd(server, app, 1) as ends:
        connection, _ = ends[0]
        loop = asyncio.get_running_loop()
        await connection.send(b"\xff\xff")
        mib = 0
        with contextlib.suppress(ConnectionError):
            while True:
                await soon(loop.sock_sendall(connection.sock, bytes(1 << 20)))
                mib += 1
        assert 60 <= mib <= 100  # 64 are read and thrown away; some are in the kernel


async def test_half_close_during_an_async_request_is_noticed_after_the_upgrade() -> None:
    app = App()
    opened = asyncio.Event()
    sockets = []

    @app.handle.get("/later")
    async def later(request: Request) -> HandlerStatus:
        await opened.wait()
        sockets.append(request.send_upgrade("room"))
        return HandlerStatus.HANDLED

    async with serve(app.handle, port=0) as server, wire(server) as connection:
        connection.sock.send(handshake("/later") + text("hello"))
        connection.send_fin()
        await turns(10)
        opened.set()
        assert (await connection.answer()).status == 101
        await gone(app, sockets[0])
        assert app.messages_of(sockets[0]) == ["hello"]


@pytest.mark.parametrize("reset", [False, True])
async def test_requests_that_come_together_with_the_end_of_their_connection(reset: bool) -> None:
    handle = Handle()
    asked = []

    @handle.get("/")
    def index(request: Request) -> str:
        asked.append(request)
        return "yes"

    async with serve(handle, port=0) as server, wire(server) as connection:
        await turns()
        connection.sock.send(request() * 3)
        if reset:
            connection.reset()
            await until(lambda: asked)
        else:
            connection.send_fin()
            for _ in range(3):
                assert (await connection.answer()).body == b"yes"
            assert await connection.read_all() == b""
        await turns(10)
        await rest()


async def test_frames_behind_the_handshake_belong_to_the_websocket() -> None:
    app = App()
    async with serve(app.handle, port=0) as server, wire(server) as connection:
        connection.sock.send(handshake() + texts(range(1000)) + NORMAL)
        connection.send_fin()
        assert (await connection.answer()).status == 101
        for i in range(1000):
            assert await connection.frame() == (TEXT, str(i).encode())
        assert await connection.closing() == (1000, "")
        assert await connection.read_all() == b""
