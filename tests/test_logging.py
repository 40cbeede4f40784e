"""What is logged of sockets and messages, at the three levels that say so."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from tests.support import BINARY, TEXT, Gate, frame, turns, until, wire
from wsgroups import Handle, WebSocket, serve, set_log_level


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What is logged, from here on; the level is as before afterwards."""
    logger = logging.getLogger("wsgroups")
    before = logger.level
    caplog.set_level(logging.DEBUG)
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(f"{record.levelname} {record.getMessage()}")

    keep = Keep()
    logger.addHandler(keep)
    yield messages
    set_log_level("nothing")
    logger.removeHandler(keep)
    logger.setLevel(before)


def echo_handle(group: str = "room") -> tuple[Handle, Gate]:
    handle = Handle()

    @handle.websocket(group)
    def echo(message: str | bytes, ws: WebSocket) -> None:
        if message == "fail":
            raise ValueError("as you wish")
        ws.send(message)

    return handle, Gate(handle, group)


async def converse(group: str = "room") -> WebSocket:
    """Let a client send two messages, hear three and go."""
    handle, gate = echo_handle(group)
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        ws = await gate.next()
        await connection.send(frame(TEXT, b"hello") + frame(BINARY, b"\x00\x1b" * 100))
        assert await connection.frame() == (TEXT, b"hello")
        assert await connection.frame() == (BINARY, b"\x00\x1b" * 100)
        handle.group(group).send("to all")
        assert await connection.frame() == (TEXT, b"to all")
        await connection.send(frame(8, b"\x03\xe8bye\x1b[2J"))
        await until(ws.is_dead)
        await turns()
    return ws


async def test_verbose_logs_every_message(lines: list[str]) -> None:
    set_log_level("verbose")
    ws = await converse()
    name = f"socket {ws.id} of group 'room'"
    payload = ascii(b"\x00\x1b" * 50) + "... and 100 more"
    assert lines[0].startswith(f"INFO {name}: opened by 127.0.0.1 port ")
    assert lines[1:-1] == [
        f"DEBUG {name}: got 5 bytes: 'hello'",
        f"DEBUG {name}: is sent 5 bytes: 'hello'",
        f"DEBUG {name}: got 200 bytes: {payload}",
        f"DEBUG {name}: is sent 200 bytes: {payload}",
        "DEBUG <Group 'room' of 1 sockets>: 1 are sent 6 bytes: 'to all'",
    ]
    assert lines[-1] == (
        f"INFO {name}: closed with 1000: cleanly; begun by the remote side; "
        "reason 'bye\\x1b[2J'; 2 messages (205 bytes) in, 3 (213 bytes) out"
    )


async def test_subtle_logs_sockets_and_what_went_over_them(lines: list[str]) -> None:
    set_log_level("subtle")
    await converse()
    assert [line.partition(": ")[2].partition(" ")[0] for line in lines] == ["opened", "closed"]
    assert "2 messages (205 bytes) in" in lines[1]


async def test_nothing_logs_nothing_not_even_errors(lines: list[str]) -> None:
    set_log_level("nothing")
    handle, gate = echo_handle()
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        await gate.next()
        await connection.send(frame(TEXT, b"fail"))
        assert await connection.closing() == (1011, "")
    assert lines == []


async def test_a_name_of_a_group_cannot_write_lines_of_its_own(lines: list[str]) -> None:
    set_log_level("subtle")
    await converse("a\nINFO b\x1b[2J")
    assert all("\n" not in line and "\x1b" not in line for line in lines)
    assert len(lines) == 2


async def test_by_default_messages_are_not_logged(lines: list[str]) -> None:
    await converse()
    assert lines == []


async def test_a_level_may_change_while_sockets_live(lines: list[str]) -> None:
    handle, gate = echo_handle()
    async with serve(handle, port=0) as server, wire(server) as connection:
        await connection.upgrade()
        ws = await gate.next()
        await turns()
        set_log_level("verbose")
        await asyncio.to_thread(ws.send, memoryview(b"from a thread"))
        assert await connection.frame() == (BINARY, b"from a thread")
        assert lines == [
            f"DEBUG socket {ws.id} of group 'room': is sent 13 bytes: b'from a thread'"
        ]
        set_log_level("nothing")
        ws.send("silent")
        assert len(lines) == 1


def test_a_level_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="verbose, subtle, nothing, not 'loud'"):
        set_log_level("loud")
