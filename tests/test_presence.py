"""Presence handlers in one process: what they are told, in which order, and what they may do."""

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from tests.drivers.crowd import connected
from tests.support import Gate, Wire, quiet_handle, turns, until, wire
from wsgroups import (
    DuplicateHandlerError,
    Handle,
    HandlerSignatureError,
    PresenceEvent,
    WebSocket,
    serve,
    testing,
)


def recorded(handle: Handle, *, group: str | None = None, room: str | None = None) -> list[Any]:
    """Return a list that gets the events of a group or of rooms."""
    events: list[PresenceEvent] = []
    handle.presence(group, room=room)(events.append)
    return events


async def test_a_group_tells_who_comes_and_who_leaves() -> None:
    handle = quiet_handle()
    events = recorded(handle, group="room")
    gate = Gate(handle)
    async with testing.start(handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        await until(lambda: events)
        assert events == [PresenceEvent("join", ws.id, "room", None, True)]
        await client.close()
        await until(lambda: len(events) == 2)
        assert events[1] == PresenceEvent("leave", ws.id, "room", None, True)
        assert WebSocket(events[1].id).is_dead()


def test_a_loop_that_was_closed_too_soon_does_not_silence_the_next_one(
    error_log: list[logging.LogRecord],
) -> None:
    """What its sockets leave behind is told to nobody: there is no loop to do it in."""
    handle = quiet_handle()
    events = recorded(handle, group="room")
    gate = Gate(handle)

    async def come_and_go() -> None:
        async with serve(handle, port=0) as server:
            async with wire(server) as connection:
                await connection.upgrade()
                await until(lambda: len(events) == 2)
            await until(lambda: len(events) == 3)

    server, loop = serve(handle, port=0), asyncio.new_event_loop()
    loop.run_until_complete(server.start())
    connection = Wire(connected(server))
    loop.run_until_complete(connection.upgrade())
    ws = loop.run_until_complete(gate.next())
    loop.run_until_complete(until(lambda: events))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loop.close()
        ws.send("is anybody there?")  # finds that the loop is closed
        connection.sock.close()
        for sock in server.sockets:
            sock.close()
        del server, loop
        gc.collect()
    asyncio.run(come_and_go())
    assert [event.kind for event in events] == ["join", "join", "leave"]
    assert "could not be noted" in error_log[0].getMessage()


async def test_a_room_tells_of_those_who_join_leave_and_close() -> None:
    handle = quiet_handle()
    named, begun, everywhere = (
        recorded(handle, room=pattern) for pattern in ("chess:1", "chess:*", "*")
    )
    gate = Gate(handle)
    async with testing.start(handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        for name in ("chess:1", "chess:2", "go", "chess:1"):
            ws.join(name)  # the last is no change
        ws.leave("chess:2")
        ws.leave("chess:2")
        ws.leave("never joined")
        await client.close()
        await until(lambda: len(everywhere) == 6)
        await turns()
        said = [(event.kind, event.room) for event in everywhere]
        assert said[:4] == [
            ("join", "chess:1"),
            ("join", "chess:2"),
            ("join", "go"),
            ("leave", "chess:2"),
        ]
        assert sorted(said[4:]) == [("leave", "chess:1"), ("leave", "go")]
        assert begun == [event for event in everywhere if event.room != "go"]
        assert named == [event for event in everywhere if event.room == "chess:1"]
        assert {(event.group, event.id, event.is_here) for event in everywhere} == {
            (None, ws.id, True)
        }


async def test_whoever_registers_while_sockets_are_open_hears_of_what_comes() -> None:
    handle = quiet_handle()
    gate = Gate(handle)
    async with testing.start(handle) as app:
        ((_, first),) = await gate.admit(app, 1)
        first.join("chess")
        room, group = recorded(handle, room="chess"), recorded(handle, group="room")
        ((_, second),) = await gate.admit(app, 1)
        second.join("chess")
        first.leave("chess")
        await until(lambda: len(room) == 2)
        assert [(e.kind, e.id) for e in room] == [("join", second.id), ("leave", first.id)]
        assert [(e.kind, e.id) for e in group] == [("join", second.id)]


async def test_nothing_is_noted_where_nobody_wants_to_know() -> None:
    handle = quiet_handle()
    events = recorded(handle, room="chess")
    gate = Gate(handle)
    async with testing.start(handle) as app:
        ((_, ws),) = await gate.admit(app, 1)
        ws.join("go")
        assert handle.group("room").members.witness is None
        assert handle.room("go").members.witness is None
        assert handle.room("chess").members.witness is not None
        await turns()
        assert events == []


async def test_an_async_handler_is_awaited_before_the_next_event() -> None:
    handle = quiet_handle()
    log: list[str] = []

    @handle.presence(room="*")
    async def slowly(event: PresenceEvent) -> None:
        log.append(f"begin {event.kind} {event.room}")
        await turns(5)
        log.append(f"end {event.kind} {event.room}")

    gate = Gate(handle)
    async with testing.start(handle) as app:
        ((_, ws),) = await gate.admit(app, 1)
        expected = []
        for number in range(20):
            ws.join(str(number))
            ws.leave(str(number))
            for kind in ("join", "leave"):
                expected += [f"begin {kind} {number}", f"end {kind} {number}"]
        await until(lambda: len(log) == len(expected))
        assert log == expected


async def test_when_the_server_stops_the_last_events_are_handled() -> None:
    handle = quiet_handle()
    log: list[str] = []

    @handle.presence("room")
    async def slowly(event: PresenceEvent) -> None:
        await turns(5)
        log.append(event.kind)

    gate = Gate(handle)
    async with testing.start(handle) as app:
        await gate.admit(app, 30)
    assert log == ["join"] * 30 + ["leave"] * 30


async def test_what_a_handler_raises_is_logged_and_the_next_event_is_handled(
    error_log: list[logging.LogRecord],
) -> None:
    handle = quiet_handle()
    log: list[str] = []

    @handle.presence("room")
    def fails(event: PresenceEvent) -> None:
        log.append(event.kind)
        raise RuntimeError("a slip")

    gate = Gate(handle)
    async with testing.start(handle) as app:
        ((client, ws),) = await gate.admit(app, 1)
        await until(lambda: log)
        assert not ws.is_dead()
        await client.close()
        await until(lambda: len(log) == 2)
    assert [record.getMessage()[:23] for record in error_log] == ["presence handler failed"] * 2
    assert str(ws.id) in error_log[0].getMessage()


async def test_a_handler_is_in_no_sockets_context() -> None:
    handle = quiet_handle()
    seen: list[object] = []
    handle.presence("room")(lambda event: seen.append(WebSocket.current))
    gate = Gate(handle)
    async with testing.start(handle) as app:
        await gate.admit(app, 3)
        await until(lambda: len(seen) == 3)
    assert set(seen) == {None}


async def test_threads_join_and_leave_and_each_sockets_order_is_kept() -> None:
    handle = quiet_handle()
    events = recorded(handle, room="*")
    gate = Gate(handle)
    async with testing.start(handle) as app:
        pairs = await gate.admit(app, 4)

        def wander(ws: WebSocket) -> None:
            for number in range(500):
                ws.join(f"room {number % 7}")
                ws.leave(f"room {number % 7}")

        threads = [threading.Thread(target=wander, args=(ws,)) for _, ws in pairs]
        for thread in threads:
            thread.start()
        await until(lambda: len(events) == 4 * 1000)
        for thread in threads:
            thread.join()
        for _, ws in pairs:
            mine = [(e.kind, e.room) for e in events if e.id == ws.id]
            assert mine == [
                (kind, f"room {number % 7}") for number in range(500) for kind in ("join", "leave")
            ]


async def test_servers_one_after_another_in_loops_of_their_own() -> None:
    handle = quiet_handle()
    events = recorded(handle, group="room")
    gate = Gate(handle)

    async def visit() -> None:
        async with testing.start(handle) as app:
            await gate.admit(app, 1)

    for _ in range(3):
        await asyncio.to_thread(lambda: asyncio.run(visit()))
    assert [event.kind for event in events] == ["join", "leave"] * 3


def test_one_function_for_each_group_and_each_pattern() -> None:
    handle = quiet_handle()
    ignore: Callable[..., Any] = lambda event: None  # noqa: E731
    handle.presence("room")(ignore)
    handle.presence(room="chess")(ignore)
    handle.presence(room="chess*")(ignore)
    for options in ({"group": "room"}, {"room": "chess"}, {"room": "chess*"}):
        with pytest.raises(DuplicateHandlerError, match="presence"):
            handle.presence(**options)(ignore)


def test_how_it_cannot_be_called() -> None:
    handle = quiet_handle()
    with pytest.raises(TypeError, match='room="name"'):
        handle.presence()
    with pytest.raises(TypeError, match='room="name"'):
        handle.presence("chat", room="chess")
    with pytest.raises(HandlerSignatureError, match="must take \\(event\\)"):
        handle.presence("chat")(lambda: None)
