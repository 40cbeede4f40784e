"""Handlers: which messages they get, when they run, what happens when they raise."""

import asyncio
import contextlib
import functools
import logging
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import (
    BINARY,
    CLOSE,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    Gate,
    frame,
    request,
    soon,
    turns,
    until,
    wire,
)
from wsgroups import (
    CloseInfo,
    DuplicateHandlerError,
    Handle,
    HandlerSignatureError,
    HandlerStatus,
    Request,
    Side,
    WebSocket,
    serve,
)

BEGINS_AT_ONCE = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="tasks begin at once from Python 3.12 on"
)

# --- which messages -------------------------------------------------------------------------


def plain(message, ws):  # type: ignore[no-untyped-def]
    """No annotation: both kinds."""
    ws.send(repr(message))


def text(message: str, ws: WebSocket) -> None:
    ws.send(repr(message))


def binary(message: bytes, ws: WebSocket) -> None:
    ws.send(repr(message))


def both(message: str | bytes, ws: WebSocket) -> None:
    ws.send(repr(message))


@pytest.mark.parametrize(
    ("function", "kind", "takes_text", "takes_binary"),
    [
        (plain, None, True, True),
        (both, None, True, True),
        (text, None, True, False),
        (binary, None, False, True),
        (plain, "text", True, False),
        (plain, "binary", False, True),
        (text, "both", True, True),
    ],
)
async def test_the_annotation_says_which_messages_come(
    function: Callable[..., Any], kind: Any, takes_text: bool, takes_binary: bool
) -> None:
    handle = Handle()
    Gate(handle)
    handle.websocket("room", kind=kind)(function)
    async with serve(handle, port=0) as server:
        for opcode, payload, shown, takes in (
            (TEXT, "grüße".encode(), b"'gr\xc3\xbc\xc3\x9fe'", takes_text),
            (BINARY, b"\x00", rb"b'\x00'", takes_binary),
        ):
            async with wire(server) as connection:
                await connection.upgrade()
                await connection.send(frame(opcode, payload))
                if takes:
                    assert await connection.frame() == (TEXT, shown)
                else:
                    assert await connection.closing() == (1003, "")


async def test_two_handlers_share_the_kinds() -> None:
    handle = Handle()
    Gate(handle)
    handle.websocket("room")(text)
    handle.websocket("room")(binary)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(BINARY, b"b") + frame(TEXT, b"t"))
        assert await connection.frame() == (TEXT, b"b'b'")
        assert await connection.frame() == (TEXT, b"'t'")


@dataclass
class Move:
    """A JSON message as a class."""

    x: int
    y: int = 0


def as_dict(message: dict[str, Any], ws: WebSocket) -> None:
    ws.send_json(message)


def as_list(message: list[int], ws: WebSocket) -> None:
    ws.send_json(message)


def as_dataclass(message: Move, ws: WebSocket) -> None:
    ws.send_json([message.x, message.y])


def as_anything(message: Any, ws: WebSocket) -> None:
    ws.send_json(message)


@pytest.mark.parametrize(
    ("kind", "frames"),
    [("text", [TEXT]), ("binary", [BINARY]), ("both", [TEXT, BINARY]), ("json", [TEXT])],
)
async def test_json_is_decoded_from_the_frames_that_are_asked_for(
    kind: Any, frames: list[int]
) -> None:
    handle = Handle()
    Gate(handle)
    handle.websocket("room", kind=kind)(as_dataclass)
    async with serve(handle, port=0) as server:
        for opcode in (TEXT, BINARY):
            async with wire(server) as connection:
                await connection.upgrade()
                await connection.send(frame(opcode, b'{"x": 3}'))
                if opcode in frames:
                    assert await connection.frame() == (TEXT, b"[3,0]")
                    await connection.send(frame(opcode, b'{"z": 3}'))
                    assert (await connection.closing())[0] == 1007
                else:
                    assert (await connection.closing())[0] == 1003


@pytest.mark.parametrize(
    ("function", "kind", "sent", "answer"),
    [
        (as_dict, None, b'{"a": [1, 2.5, null]}', b'{"a":[1,2.5,null]}'),
        (as_list, None, b"[1, 2]", b"[1,2]"),
        (as_dataclass, None, b'{"x": 3, "y": 4}', b"[3,4]"),
        (as_dataclass, None, b'{"x": 3}', b"[3,0]"),
        (as_anything, "json", b'"text"', b'"text"'),
        (as_anything, "json", b"17", b"17"),
    ],
)
async def test_json_is_decoded_into_the_annotation(
    function: Callable[..., Any], kind: Any, sent: bytes, answer: bytes
) -> None:
    handle = Handle()
    Gate(handle)
    handle.websocket("room", kind=kind)(function)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, sent))
        assert await connection.frame() == (TEXT, answer)


@pytest.mark.parametrize(
    ("function", "sent"),
    [
        (as_dict, b"{"),
        (as_dict, b""),
        (as_dict, b"[1]"),
        (as_dict, b'{"a": NaN}'),
        (as_dict, b'{"a": "\\ud800"}'),
        (as_dict, b"[" * 100_000),
        (as_list, b"{}"),
        (as_dataclass, b"{}"),
        (as_dataclass, b'{"x": "text"}'),
    ],
)
async def test_json_that_does_not_fit_closes_with_1007(
    function: Callable[..., Any], sent: bytes
) -> None:
    handle = Handle()
    Gate(handle)
    handle.websocket("room")(function)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, sent))
        assert await connection.closing() == (1007, "")


async def test_binary_to_a_json_handler_closes_with_1003() -> None:
    handle = Handle()
    Gate(handle)
    handle.websocket("room")(as_dict)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(BINARY, b"{}"))
        assert await connection.closing() == (1003, "")


# --- registration ---------------------------------------------------------------------------


@pytest.mark.parametrize("second", [text, both, plain, as_dict])
def test_a_second_handler_of_the_same_kind_is_refused(second: Callable[..., Any]) -> None:
    handle = Handle()
    handle.websocket("room")(text)
    with pytest.raises(DuplicateHandlerError, match="'room' has a handler for text messages"):
        handle.websocket("room")(second)
    handle.websocket("room")(binary)
    handle.websocket("other")(text)


def test_a_refused_handler_takes_no_place() -> None:
    handle = Handle()
    handle.websocket("room")(binary)
    with pytest.raises(DuplicateHandlerError):
        handle.websocket("room")(both)
    handle.websocket("room")(text)


@pytest.mark.parametrize("event", ["connect", "error", "disconnect"])
def test_a_second_handler_of_an_event_is_refused(event: str) -> None:
    handle = Handle()
    register = getattr(handle, f"websocket_{event}")
    register("room")(lambda *_: None)
    with pytest.raises(DuplicateHandlerError, match=event):
        register("room")(lambda *_: None)
    register("other")(lambda *_: None)


@pytest.mark.parametrize(
    ("decorator", "function"),
    [
        ("websocket", lambda: None),
        ("websocket", lambda message: None),
        ("websocket", lambda a, b, c: None),
        ("websocket_connect", lambda: None),
        ("websocket_disconnect", lambda a, b: None),
        ("websocket_error", lambda a: None),
    ],
)
def test_a_function_that_cannot_be_called_is_refused(
    decorator: str, function: Callable[..., Any]
) -> None:
    with pytest.raises(HandlerSignatureError, match="must take"):
        getattr(Handle(), decorator)("room")(function)


def test_an_annotation_that_is_no_message_is_refused() -> None:
    def wrong(message: int, ws: WebSocket) -> None: ...

    with pytest.raises(HandlerSignatureError, match="int"):
        Handle().websocket("room")(wrong)


def test_annotations_that_are_written_as_text_are_found_where_they_are() -> None:
    """As with `from __future__ import annotations`: each by itself, and in the function around."""

    @dataclass
    class Point:
        x: int

    handle = Handle()
    handle.websocket("point")(_written("Point"))
    handle.websocket("both")(_written("str | bytes"))
    handle.websocket("list")(_written("list[Point]"))
    assert decoder(handle, "point")(b'{"x": 1}') == Point(1)
    assert decoder(handle, "list")(b'[{"x": 1}]') == [Point(1)]
    assert decoder(handle, "both") is None
    assert handle.group("both").core.binary is not None
    with pytest.raises(HandlerSignatureError, match="'Pint', a name that is not found here"):
        handle.websocket("pint")(_written("Pint"))


def decoder(handle: Handle, group: str) -> Any:
    text = handle.group(group).core.text
    assert text is not None
    return text.decode


def _written(message: str) -> Callable[..., Any]:
    def handler(message, ws):  # type: ignore[no-untyped-def]
        """Nothing to do."""

    handler.__annotations__ = {"message": message, "ws": "Unknown"}
    return handler


def test_decorators_give_the_function_back() -> None:
    handle = Handle()
    assert handle.websocket("room")(text) is text
    for event in ("connect", "error", "disconnect"):
        assert getattr(handle, f"websocket_{event}")("room")(print) is print


async def test_handlers_can_be_registered_while_sockets_are_open() -> None:
    handle = Handle()
    Gate(handle)
    handle.websocket_connect("room")(lambda ws: None)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"too early") + frame(PING))
        assert await connection.frame() == (PONG, b"")
        handle.websocket("room")(text)
        await connection.send(frame(TEXT, b"x"))
        assert await connection.frame() == (TEXT, b"'x'")


class Counter:
    """Handlers may be methods and callable objects."""

    def __init__(self) -> None:
        self.count = 0

    async def on_text(self, message: str, ws: WebSocket) -> None:
        self.count += 1
        ws.send(f"{self.count} {message}")

    async def __call__(self, message: bytes, ws: WebSocket) -> None:
        await self.on_text(message.decode(), ws)


@pytest.mark.parametrize("wrap", [lambda f: f, functools.partial])
async def test_methods_and_callable_objects_are_handlers_as_well(
    wrap: Callable[[Any], Any],
) -> None:
    handle = Handle()
    Gate(handle)
    counter = Counter()
    handle.websocket("room")(wrap(counter.on_text))
    handle.websocket("room", kind="binary")(wrap(counter))
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"a") + frame(BINARY, b"b"))
        assert await connection.frame() == (TEXT, b"1 a")
        assert await connection.frame() == (TEXT, b"2 b")


# --- order ----------------------------------------------------------------------------------


class Script:
    """Async handlers that stop where a test wants them to, and what they did."""

    def __init__(self, handle: Handle) -> None:
        self.log: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        handle.websocket("room")(self.on_text)

    async def on_text(self, message: str, ws: WebSocket) -> None:
        self.log.append(f"+{message}")
        gate = self.gates.setdefault(message, asyncio.Event())
        if message.startswith("wait"):
            await gate.wait()
        self.log.append(f"-{message}")
        ws.send(message)

    def let(self, message: str) -> None:
        self.gates.setdefault(message, asyncio.Event()).set()


async def test_handlers_of_one_socket_run_one_at_a_time_in_order() -> None:
    handle = Handle()
    Gate(handle)
    script = Script(handle)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        names = ["wait1", "a", "wait2", "b"]
        await connection.send(b"".join(frame(TEXT, name.encode()) for name in names))
        await until(lambda: script.log)
        await turns(10)
        assert script.log == ["+wait1"]
        script.let("wait2")
        await turns(10)
        assert script.log == ["+wait1"]
        script.let("wait1")
        for name in names:
            assert await connection.frame() == (TEXT, name.encode())
        assert script.log == [sign + name for name in names for sign in "+-"]


async def test_sockets_do_not_wait_for_one_another() -> None:
    handle = Handle()
    Gate(handle)
    script = Script(handle)
    async with serve(handle, port=0) as server, wire(server) as slow, wire(server) as quick:
        await slow.upgrade()
        await quick.upgrade()
        await slow.send(frame(TEXT, b"wait"))
        await until(lambda: script.log)
        await quick.send(frame(TEXT, b"quick"))
        assert await quick.frame() == (TEXT, b"quick")
        script.let("wait")
        assert await slow.frame() == (TEXT, b"wait")


async def test_a_sync_handler_waits_for_its_turn_behind_a_suspended_one() -> None:
    handle = Handle()
    Gate(handle)
    script = Script(handle)
    handle.websocket("room", kind="binary")(lambda message, ws: script.log.append("binary"))
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"wait") + frame(BINARY, b"") + frame(TEXT, b"last"))
        await until(lambda: script.log)
        await turns(10)
        script.let("wait")
        await connection.frame()
        await connection.frame()
        assert script.log == ["+wait", "-wait", "binary", "+last", "-last"]


async def test_pings_are_answered_while_a_handler_is_suspended() -> None:
    handle = Handle()
    Gate(handle)
    script = Script(handle)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"wait") + frame(PING, b"alive?"))
        assert await connection.frame() == (PONG, b"alive?")
        script.let("wait")
        assert await connection.frame() == (TEXT, b"wait")


async def test_a_full_queue_stops_the_reading_until_there_is_room_again() -> None:
    handle = Handle()
    handle.group("room", max_queued_events=4)
    Gate(handle)
    script = Script(handle)
    payload = b"x" * 60_000
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"wait"))
        await until(lambda: script.log)
        # TCP pushes back: the server takes what its queue and the kernel's buffers hold.
        sent = 0
        with contextlib.suppress(BlockingIOError):
            rest = b""
            while sent < 1000:
                rest = rest or frame(TEXT, payload)
                rest = rest[connection.sock.send(rest) :]
                sent += not rest
                await turns()
        assert sent < 1000
        assert script.log == ["+wait"]
        finish = asyncio.ensure_future(connection.send(rest))
        script.let("wait")
        assert await connection.frame() == (TEXT, b"wait")
        for _ in range(sent + 1):
            assert await connection.frame() == (TEXT, payload)
        await finish


async def test_a_plain_function_may_return_a_coroutine() -> None:
    handle = Handle()
    Gate(handle)

    async def answer(message: str, ws: WebSocket) -> None:
        await turns()
        ws.send(message)

    @handle.websocket("room")
    def on_text(message: str, ws: WebSocket) -> Any:
        return answer(message, ws)

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
        assert await connection.frame() == (TEXT, b"1")
        assert await connection.frame() == (TEXT, b"2")


# --- the current socket ---------------------------------------------------------------------


async def test_current_is_the_socket_after_await_and_in_tasks_of_every_handler() -> None:
    handle = Handle()
    Gate(handle)
    seen: list[tuple[str, int, int]] = []
    places = {
        *("connect", "task of connect"),
        *("async", "task of async", "thread of async", "after await"),
        *("sync", "task of sync", "callback of sync"),
        *("disconnect", "after disconnect"),
    }
    tasks: set[asyncio.Task[None]] = set()

    def note(where: str, ws: WebSocket) -> None:
        seen.append((where, ws.id, WebSocket.current.id))

    async def later(where: str, ws: WebSocket) -> None:
        await turns()
        note(where, ws)

    def start(where: str, ws: WebSocket) -> None:
        task = asyncio.ensure_future(later(where, ws))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    @handle.websocket_connect("room")
    def on_connect(ws: WebSocket) -> None:
        note("connect", ws)
        start("task of connect", ws)

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        note("async", ws)
        start("task of async", ws)
        await asyncio.to_thread(note, "thread of async", ws)
        note("after await", ws)
        ws.send("done")

    @handle.websocket("room", kind="binary")
    def on_binary(message: bytes, ws: WebSocket) -> None:
        note("sync", ws)
        start("task of sync", ws)
        asyncio.get_running_loop().call_soon(note, "callback of sync", ws)
        ws.send("done")

    @handle.websocket_disconnect("room")
    async def on_disconnect(ws: WebSocket) -> None:
        note("disconnect", ws)
        await later("after disconnect", ws)

    async with serve(handle, port=0) as server:
        async with wire(server) as one, wire(server) as two:
            for connection in (one, two):
                await connection.upgrade()
            for connection in (one, two):
                await connection.send(frame(TEXT, b"") + frame(BINARY, b""))
            for connection in (one, two):
                assert await connection.frame() == (TEXT, b"done")
                assert await connection.frame() == (TEXT, b"done")
        await until(lambda: len(seen) == 2 * len(places) and not tasks)
    assert {where for where, *_ in seen} == places
    assert all(expected == current for _, expected, current in seen)
    assert WebSocket.current is None


@pytest.mark.parametrize(
    "order",
    [
        "copied",
        "set, copied",
        "copied, set",
        "set, copied, set",
        "set in a copy",
        "set, set in a copy, set",
        "set in a copy, copied",
    ],
)
@pytest.mark.parametrize("before", [0, 40])
async def test_who_has_copied_the_context_keeps_his_current_socket(before: int, order: str) -> None:
    handle = Handle()
    Gate(handle)
    variables = [ContextVar(f"variable{i}", default=0) for i in range(before + 1)]
    found: list[tuple[int, int]] = []

    def note(ws: WebSocket) -> None:
        found.append((ws.id, WebSocket.current.id))

    @handle.websocket("room")
    def on_text(message: str, ws: WebSocket) -> None:
        for variable in variables[:before]:
            variable.set(1)
        assert WebSocket.current == ws
        for step in order.split(", "):
            if step == "set":
                variables[-1].set(ws.id)  # the context of all turns: others see it as well
                continue
            context = copy_context()
            if step == "set in a copy":  # which shares no variables with ours any more
                context.run(variables[-1].set, ws.id)
            asyncio.get_running_loop().call_later(0.01, note, ws, context=context)
        assert WebSocket.current == ws
        ws.send(message)

    async with serve(handle, port=0) as server, AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(wire(server)) for _ in range(5)]
        for connection in sockets:
            await connection.upgrade()
        for _ in range(3):
            for connection in sockets:
                connection.sock.send(frame(TEXT, b"x"))  # one batch for the driver
            for connection in sockets:
                assert await connection.frame() == (TEXT, b"x")
        copies = order.count("cop")
        await until(lambda: len(found) == 15 * copies)
    assert len({expected for expected, _ in found}) == 5
    assert all(expected == current for expected, current in found)


@BEGINS_AT_ONCE
async def test_an_error_in_a_request_that_begins_at_once_hides_nobody_elses_socket(
    error_log: list[logging.LogRecord],
) -> None:
    """Its error handler begins within the task of the request, with variables of its own."""
    handle = Handle()
    Gate(handle)
    seen: list[bool] = []

    @handle.get("/fails")
    async def fails(request: Request) -> HandlerStatus:
        request.send_upgrade("room")
        raise RuntimeError("as you wish")

    @handle.websocket("room")
    def on_text(message: str, ws: WebSocket) -> None:
        seen.append(WebSocket.current == ws)
        ws.send(message)

    @handle.websocket_error("room")
    async def on_error(error: BaseException, ws: WebSocket) -> None:
        seen.append(WebSocket.current == ws)

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        for _ in range(3):
            await connection.send(frame(TEXT, b"x"))
            assert await connection.frame() == (TEXT, b"x")
            async with wire(server) as other:
                await other.upgrade("/fails")
    assert seen == [True] * len(seen)
    assert len(seen) == 6
    assert len(error_log) == 3


async def test_there_is_no_current_socket_in_a_request_or_outside() -> None:
    handle = Handle()
    handle.websocket("room")(text)
    seen: list[object] = []

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        seen.append(WebSocket.current)
        request.send_upgrade("room")
        seen.append(WebSocket.current)
        return HandlerStatus.HANDLED

    @handle.get("/later")
    async def later(request: Request) -> HandlerStatus:
        await turns()
        seen.append(WebSocket.current)
        request.send_upgrade("room")
        return HandlerStatus.HANDLED

    async with serve(handle, port=0) as server:
        for path in ("/ws", "/later"):
            async with wire(server) as connection:
                await connection.upgrade(path)
                await connection.send(frame(TEXT, b"x"))
                await connection.frame()
                seen.append(WebSocket.current)
    assert seen == [None] * 5


async def test_there_is_no_current_socket_in_a_request_that_comes_together_with_a_message() -> None:
    handle = Handle()
    Gate(handle)
    handle.websocket("room")(text)
    seen: list[object] = []

    @handle.get("/now")
    def now(request: Request) -> str:
        seen.append(WebSocket.current)
        return "now"

    @handle.get("/later")
    async def later(request: Request) -> str:
        seen.append(WebSocket.current)
        await turns()
        seen.append(WebSocket.current)
        return "later"

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        async with wire(server) as one, wire(server) as two:
            await turns()  # they are accepted; what follows is one batch for the driver
            connection.sock.send(frame(TEXT, b"x"))
            one.sock.send(request("/now"))
            two.sock.send(request("/later"))
            assert await connection.frame() == (TEXT, b"'x'")
            assert (await one.answer()).body == b"now"
            assert (await two.answer()).body == b"later"
    assert seen == [None] * 3


# --- connect, error, disconnect -------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
async def test_connect_comes_first_and_disconnect_last(is_async: bool) -> None:
    handle = Handle()
    Gate(handle)
    log: list[str] = []

    def note(what: str) -> None:
        log.append(what)

    async def note_later(what: str) -> None:
        await turns()
        log.append(what)

    write: Callable[[str], Any] = note_later if is_async else note
    handle.websocket_connect("room")(lambda ws: write("connect"))
    handle.websocket("room")(lambda message, ws: write(message))
    handle.websocket_disconnect("room")(lambda ws: write("disconnect"))
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"a") + frame(TEXT, b"b") + frame(CLOSE))
        assert await connection.closing() == (1005, "")
        await until(lambda: len(log) == 4)
    assert log == ["connect", "a", "b", "disconnect"]


async def test_an_async_connect_handler_holds_the_messages_back() -> None:
    handle = Handle()
    Gate(handle)
    ready = asyncio.Event()

    @handle.websocket_connect("room")
    async def on_connect(ws: WebSocket) -> None:
        await ready.wait()
        ws.send("ready")

    handle.websocket("room")(text)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"x"))
        await turns(10)
        ready.set()
        assert await connection.frame() == (TEXT, b"ready")
        assert await connection.frame() == (TEXT, b"'x'")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("failing", ["connect", "text"])
async def test_an_exception_closes_with_1011_and_no_internals(
    is_async: bool, failing: str, error_log: list[logging.LogRecord]
) -> None:
    handle = Handle()
    gate = Gate(handle)
    log: list[object] = []

    def fail(*_: object) -> None:
        raise RuntimeError("swordfish")

    async def fail_later(*_: object) -> None:
        await turns()
        fail()

    chosen = fail_later if is_async else fail
    if failing == "connect":
        handle.websocket_connect("room")(chosen)
        handle.websocket("room")(text)
    else:
        handle.websocket("room")(chosen)
    handle.websocket_error("room")(lambda error, ws: log.append(("error", str(error), ws.id)))
    handle.websocket_disconnect("room")(lambda ws: log.append(("gone", ws.close_info)))
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        ws = await gate.next()
        if failing == "text":
            await connection.send(frame(TEXT, b"x"))
        assert await connection.closing() == (1011, "")
        await until(lambda: len(log) == 2)
        assert log == [
            ("error", "swordfish", ws.id),
            ("gone", CloseInfo(1011, "", False, Side.LOCAL)),
        ]
    (record,) = error_log
    assert str(ws.id) in record.getMessage()
    assert "'room'" in record.getMessage()
    assert record.exc_info is not None


async def test_messages_behind_one_that_failed_are_not_delivered(
    error_log: list[logging.LogRecord],
) -> None:
    handle = Handle()
    Gate(handle)
    log: list[str] = []

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        log.append(message)
        await turns()
        raise RuntimeError

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(TEXT, b"3"))
        assert await connection.closing() == (1011, "")
        await turns(10)
    assert log == ["1"]
    assert len(error_log) == 1


@pytest.mark.parametrize("form", ["plain", "async", "plain that gives a coroutine"])
@pytest.mark.parametrize("kind", [LookupError, asyncio.CancelledError, GeneratorExit])
async def test_an_error_handler_that_fails_is_logged_and_called_once(
    form: str, kind: type[BaseException], error_log: list[logging.LogRecord]
) -> None:
    handle = Handle()
    Gate(handle)
    gone: list[WebSocket] = []
    calls: list[BaseException] = []

    def fail(message: str, ws: WebSocket) -> None:
        raise RuntimeError("first")

    def fail_again(error: BaseException, ws: WebSocket) -> None:
        calls.append(error)
        if len(calls) < 10:  # not for ever
            raise kind("second")

    async def fail_again_later(error: BaseException, ws: WebSocket) -> None:
        await turns()
        fail_again(error, ws)

    handlers: dict[str, Any] = {
        "plain": fail_again,
        "async": fail_again_later,
        "plain that gives a coroutine": lambda error, ws: fail_again_later(error, ws),
    }
    handle.websocket("room")(fail)
    handle.websocket_error("room")(handlers[form])
    handle.websocket_disconnect("room")(gone.append)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"x"))
        assert await connection.closing() == (1011, "")
        await until(lambda: gone)
    assert [str(error) for error in calls] == ["first"]
    assert [str(record.exc_info[1]) for record in error_log if record.exc_info] == [
        "first",
        "second",
    ]


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_error_after_the_socket_has_closed_is_told_once_with_the_dead_socket(
    is_async: bool, error_log: list[logging.LogRecord]
) -> None:
    handle = Handle()
    closed = asyncio.Event()
    calls: list[tuple[str, bool]] = []

    @handle.get("/ws")
    async def enter(request: Request) -> HandlerStatus:
        request.send_upgrade("room")
        await closed.wait()
        raise RuntimeError("late")

    def note(error: BaseException, ws: WebSocket) -> None:
        calls.append((str(error), isinstance(ws, WebSocket) and ws.is_dead()))

    async def note_later(error: BaseException, ws: WebSocket) -> None:
        await turns()
        note(error, ws)

    handle.websocket_error("room")(note_later if is_async else note)
    handle.websocket_disconnect("room")(lambda ws: closed.set())
    async with serve(handle, port=0) as server:
        async with wire(server) as connection:
            await connection.upgrade()
        await until(lambda: calls)
        await turns(10)
    assert calls == [("late", True)]
    assert [str(record.exc_info[1]) for record in error_log if record.exc_info] == ["late"]


@pytest.mark.parametrize("form", ["error, ws", "ws, error", "typed"])
async def test_an_error_handler_may_name_the_socket_first(
    form: str, error_log: list[logging.LogRecord]
) -> None:
    handle = Handle()
    Gate(handle)
    calls: list[tuple[object, object]] = []

    def fail(message: str, ws: WebSocket) -> None:
        raise RuntimeError

    def error_first(error, ws):  # type: ignore[no-untyped-def]
        calls.append((error, ws))

    def socket_first(ws, error):  # type: ignore[no-untyped-def]
        calls.append((error, ws))

    def typed(s: WebSocket, e: BaseException) -> None:
        calls.append((e, s))

    handlers: dict[str, Any] = {
        "error, ws": error_first,
        "ws, error": socket_first,
        "typed": typed,
    }
    handle.websocket("room")(fail)
    handle.websocket_error("room")(handlers[form])
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"x"))
        await connection.closing()
    ((error, ws),) = calls
    assert isinstance(error, RuntimeError)
    assert isinstance(ws, WebSocket)
    assert error_log


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_disconnect_handler_that_fails_is_logged(
    is_async: bool, error_log: list[logging.LogRecord]
) -> None:
    handle = Handle()
    Gate(handle)
    errors: list[BaseException] = []

    def fail(ws: WebSocket) -> None:
        raise RuntimeError("swordfish")

    async def fail_later(ws: WebSocket) -> None:
        await turns()
        fail(ws)

    handle.websocket_disconnect("room")(fail_later if is_async else fail)
    handle.websocket_error("room")(lambda error, ws: errors.append(error))
    async with serve(handle, port=0) as server:
        async with wire(server) as connection:
            await connection.upgrade()
            await connection.send(frame(CLOSE, b"\x03\xe8"))
            assert await connection.closing() == (1000, "")
        await until(lambda: errors)
    assert [str(error) for error in errors] == ["swordfish"]
    assert len(error_log) == 1


async def test_a_suspended_handler_may_finish_after_its_socket_has_closed() -> None:
    handle = Handle()
    Gate(handle)
    script = Script(handle)
    gone: list[list[str]] = []
    handle.websocket_disconnect("room")(lambda ws: gone.append(list(script.log)))
    async with serve(handle, port=0) as server:
        async with wire(server) as connection:
            await connection.upgrade()
            await connection.send(frame(TEXT, b"wait") + frame(TEXT, b"next") + frame(CLOSE))
            assert await connection.closing() == (1005, "")
        assert not gone
        script.let("wait")
        await until(lambda: gone)
    assert gone == [["+wait", "-wait", "+next", "-next"]]


async def test_a_suspended_handler_is_cancelled_when_its_grace_is_over() -> None:
    handle = Handle()
    handle.group("room", handler_grace=0.05)
    Gate(handle)
    log: list[str] = []

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        log.append(message)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            log.append("cancelled")

    gone = asyncio.Event()
    handle.websocket_disconnect("room")(lambda ws: gone.set())
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"first") + frame(TEXT, b"second"))
        await until(lambda: log)
        connection.reset()
        await soon(gone.wait())
    assert log == ["first", "cancelled"]


# --- cancelling, and beginning at once ------------------------------------------------------


async def hang(log: list[str], what: str) -> None:
    """Wait for ever, and note how that ended."""
    log.append(what)
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        log.append(f"{what} cancelled")
        raise


class Parting:
    """A group whose handlers hang where they are told to, and what happened in which order."""

    def __init__(self, **policy: Any) -> None:
        self.log: list[str] = []
        self.gone = asyncio.Event()
        self.handle = Handle()
        self.handle.group("room", **policy)
        self.gate = Gate(self.handle)
        self.handle.websocket("room")(self.on_text)
        self.handle.websocket_disconnect("room")(self.on_disconnect)
        self.handle.websocket_error("room")(lambda error, ws: self.log.append(repr(error)))

    async def on_text(self, message: str, ws: WebSocket) -> None:
        await hang(self.log, message)

    async def on_disconnect(self, ws: WebSocket) -> None:
        await turns()
        self.log.append("gone")
        self.gone.set()

    async def run(self, *messages: str, began: int = 1) -> list[str]:
        """Send these, break the connection off, and return what happened until all is over."""
        async with serve(self.handle, port=0) as server, wire(server) as connection:
            await connection.upgrade()
            await connection.send(b"".join(frame(TEXT, m.encode()) for m in messages))
            await until(lambda: len(self.log) == began)
            connection.reset()
            await soon(self.gone.wait())
        return self.log


async def test_a_suspended_handler_is_cancelled_with_its_socket_where_that_is_asked_for() -> None:
    log = await Parting(cancel_on_disconnect=True, handler_grace=1000).run("first", "second")
    assert log == ["first", "first cancelled", "gone"]


async def test_the_socket_closes_before_the_handler_is_cancelled_and_not_when_it_is_about_to() -> (
    None
):
    parting = Parting(cancel_on_disconnect=True, handler_grace=1000)
    async with serve(parting.handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        ws = await parting.gate.next()
        await connection.send(frame(TEXT, b"first"))
        await until(lambda: parting.log)
        ws.disconnect()
        assert await connection.closing() == (1000, "")
        await turns(10)
        assert parting.log == ["first"]
        await connection.send(frame(CLOSE, b"\x03\xe8"))
        await soon(parting.gone.wait())
    assert parting.log == ["first", "first cancelled", "gone"]


async def test_a_connect_handler_is_cancelled_with_its_socket_as_well() -> None:
    parting = Parting(cancel_on_disconnect=True, handler_grace=1000)

    @parting.handle.websocket_connect("room")
    async def on_connect(ws: WebSocket) -> None:
        await hang(parting.log, "connect")

    assert await parting.run("first") == ["connect", "connect cancelled", "gone"]


async def test_a_message_that_comes_together_with_the_end_never_costs_the_disconnect() -> None:
    """On Python 3.11 its task has not begun when the socket closes."""
    for _ in range(20):
        parting = Parting(cancel_on_disconnect=True, handler_grace=1000)
        async with serve(parting.handle, port=0) as server:
            async with wire(server) as connection:
                await connection.upgrade()
                await connection.send(frame(TEXT, b"first") + frame(CLOSE, b"\x03\xe8"))
                assert await connection.closing() == (1000, "")
            await soon(parting.gone.wait())
        assert parting.log in (["gone"], ["first", "first cancelled", "gone"])


@pytest.mark.parametrize("cancels", [False, True])
async def test_a_handler_that_will_not_be_cancelled_is_told_again_when_its_grace_is_over(
    cancels: bool,
) -> None:
    parting = Parting(cancel_on_disconnect=cancels, handler_grace=0.05)
    loop = asyncio.get_running_loop()

    async def stubborn(message: bytes, ws: WebSocket) -> None:
        parting.log.append("began")
        try:
            await loop.create_future()
        finally:
            parting.log.append("once")
            if cancels:
                try:
                    await loop.create_future()
                finally:
                    parting.log.append("twice")

    parting.handle.websocket("room", kind="binary")(stubborn)
    async with serve(parting.handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(BINARY))
        await until(lambda: parting.log)
        connection.reset()
        await soon(parting.gone.wait())
    assert parting.log == ["began", "once", *["twice"] * cancels, "gone"]


@pytest.mark.parametrize("swallows", [False, True])
async def test_the_disconnect_handler_knows_nothing_of_the_cancellation(
    swallows: bool, error_log: list[logging.LogRecord]
) -> None:
    """A task group in a task with a cancellation pending would raise that and hide the error."""
    parting = Parting(cancel_on_disconnect=True, handler_grace=1000)
    found: list[BaseException] = []

    async def swallow(message: bytes, ws: WebSocket) -> None:
        parting.log.append("first")
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if not swallows:
                raise

    async def fail() -> None:
        raise LookupError

    @parting.handle.websocket_disconnect("other")
    async def on_disconnect(ws: WebSocket) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        except BaseException as error:
            found.append(error)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.get_running_loop().create_future()
        parting.gone.set()

    parting.handle.group("other", cancel_on_disconnect=True)
    parting.handle.websocket("other")(swallow)
    Gate(parting.handle, "other", "/other")
    async with serve(parting.handle, port=0) as server, wire(server) as connection:
        await connection.upgrade("/other")
        await connection.send(frame(BINARY))
        await until(lambda: parting.log)
        connection.reset()
        await soon(parting.gone.wait())
    (error,) = found
    assert isinstance(error, ExceptionGroup)
    assert not error_log


async def test_an_error_handler_is_not_cancelled_with_its_socket(
    error_log: list[logging.LogRecord],
) -> None:
    handle = Handle()
    handle.group("room", cancel_on_disconnect=True, handler_grace=1000)
    Gate(handle)
    log: list[str] = []
    may_end = asyncio.Event()

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        raise RuntimeError

    @handle.websocket_error("room")
    async def on_error(error: BaseException, ws: WebSocket) -> None:
        log.append("error")
        await may_end.wait()
        log.append("error handled")

    handle.websocket_disconnect("room")(lambda ws: log.append("gone"))
    async with serve(handle, port=0) as server:
        async with wire(server) as connection:
            await connection.upgrade()
            await connection.send(frame(TEXT, b"x"))
            assert await connection.closing() == (1011, "")
        await until(lambda: not handle.group("room").ids())
        await turns(20)
        assert log == ["error"]
        may_end.set()
        await until(lambda: len(log) == 3)
    assert log == ["error", "error handled", "gone"]
    assert len(error_log) == 1


async def test_a_handler_that_cancels_itself_has_failed(
    error_log: list[logging.LogRecord],
) -> None:
    parting = Parting(cancel_on_disconnect=True)

    async def cancel_itself(message: bytes, ws: WebSocket) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await turns()

    parting.handle.websocket("room", kind="binary")(cancel_itself)
    async with serve(parting.handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(BINARY))
        assert await connection.closing() == (1011, "")
        connection.sock.close()
        await soon(parting.gone.wait())
    assert parting.log == ["CancelledError()", "gone"]
    assert len(error_log) == 1


async def test_a_handler_is_in_a_task_of_its_own_from_its_first_line() -> None:
    handle = Handle()
    Gate(handle)
    seen: list[Any] = []

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        before = asyncio.current_task()
        seen.append(before)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            group.create_task(turns())
        seen.append(asyncio.current_task() is before)
        ws.send(message)

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"x"))
        assert await connection.frame() == (TEXT, b"x")
    task, is_the_same = seen
    assert isinstance(task, asyncio.Task)
    assert task is not asyncio.current_task()
    assert is_the_same


@BEGINS_AT_ONCE
async def test_a_handler_that_does_not_suspend_takes_no_turn_of_the_loop() -> None:
    handle = Handle()
    gate = Gate(handle)
    order: list[str] = []

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        order.append(message)
        asyncio.get_running_loop().call_soon(order.append, "a turn")

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await gate.next()
        await connection.send(b"".join(frame(TEXT, name) for name in (b"1", b"2", b"3")))
        await until(lambda: "a turn" in order)
    assert order[:4] == ["1", "2", "3", "a turn"]


# --- a burst --------------------------------------------------------------------------------


@BEGINS_AT_ONCE
async def test_what_comes_in_one_burst_is_answered_in_its_order() -> None:
    handle = Handle()
    Gate(handle)

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        ws.send(message)

    @handle.websocket("room")
    def on_binary(message: bytes, ws: WebSocket) -> None:
        ws.send(message)

    burst = [(TEXT, b"1"), (BINARY, b"2"), (PING, b"3"), (TEXT, b"4"), (TEXT, b"5"), (CLOSE, b"")]
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(b"".join(frame(*each) for each in burst))
        answers = [await connection.frame() for _ in burst]
    burst[2] = (PONG, b"3")
    assert answers == burst


@BEGINS_AT_ONCE
async def test_what_was_answered_leaves_before_the_close_for_a_bad_frame() -> None:
    handle = Handle()
    Gate(handle)

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        ws.send(message)

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(3) + frame(TEXT, b"4"))
        assert await connection.frame() == (TEXT, b"1")
        assert await connection.frame() == (TEXT, b"2")
        assert await connection.closing() == (1002, "")


@pytest.mark.parametrize("bound", [1, 3, 64])
@pytest.mark.parametrize("waits", [{0}, {7}, {150}, {3, 4, 90}, set(range(200))])
async def test_a_burst_in_which_some_suspend_keeps_its_order(bound: int, waits: set[int]) -> None:
    handle = Handle(max_queued_events=bound)
    Gate(handle)
    tasks: set[asyncio.Task[Any] | None] = set()

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        assert WebSocket.current == ws
        if int(message) in waits:
            await turns()
            assert WebSocket.current == ws
        tasks.add(asyncio.current_task())
        ws.send(message)

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(b"".join(frame(TEXT, b"%d" % number) for number in range(200)))
        answers = [await connection.frame() for _ in range(200)]
    assert answers == [(TEXT, b"%d" % number) for number in range(200)]
    assert None not in tasks


@BEGINS_AT_ONCE
async def test_nothing_is_delivered_behind_the_handler_of_a_burst_that_ends_the_socket() -> None:
    handle = Handle()
    Gate(handle)
    log: list[str] = []

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        log.append(message)
        if message == "2":
            ws.disconnect("enough")

    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(b"".join(frame(TEXT, name) for name in (b"1", b"2", b"3")))
        assert await connection.closing() == (1000, "enough")
    assert log == ["1", "2"]


async def test_a_handler_that_fails_in_a_burst_is_followed_by_the_error_handler_alone(
    error_log: list[logging.LogRecord],
) -> None:
    handle = Handle()
    Gate(handle)
    log: list[str] = []
    gone = asyncio.Event()

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        log.append(message)
        if message == "2":
            raise RuntimeError

    @handle.websocket_error("room")
    async def on_error(error: BaseException, ws: WebSocket) -> None:
        log.append("error")
        await turns()
        log.append("error handled")

    handle.websocket_disconnect("room")(lambda ws: gone.set())
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(b"".join(frame(TEXT, name) for name in (b"1", b"2", b"3")))
        await connection.read_all()
        await soon(gone.wait())
    assert log == ["1", "2", "error", "error handled"]
    assert len(error_log) == 1


@BEGINS_AT_ONCE
async def test_without_memory_for_what_waits_the_handler_that_suspended_is_cancelled(
    error_log: list[logging.LogRecord],
) -> None:
    handle = Handle()
    Gate(handle)
    log: list[str] = []
    gone = asyncio.Event()

    @handle.websocket("room")
    async def on_text(message: str, ws: WebSocket) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            log.append("ended")

    def no_memory(connection: object) -> Any:
        raise MemoryError

    handle.websocket_disconnect("room")(lambda ws: gone.set())
    handle.group("room").core.runner = no_memory
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await connection.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
        await connection.read_all()
        await soon(gone.wait())
        await until(lambda: log)
    assert log == ["ended"]
    assert error_log
