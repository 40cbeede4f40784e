"""The application that the specification opens with, each of its lines shown to work."""

import contextlib
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from tests.support import ask, client, request, soon, texts, until
from wsgroups import CloseInfo, Handle, Side, WebSocket, serve

APPLICATION = Path(__file__).parents[1] / "examples" / "echo" / "app.py"
GREETINGS = ["Hello WebSocket!", "Hello again WebSocket!"]
PUSH = "Here is the server push!"


@pytest.fixture
def app() -> dict[str, object]:
    """A fresh run of the module, so that no test sees what another one did."""
    return runpy.run_path(str(APPLICATION))


@pytest.fixture
def handle(app: dict[str, object]) -> Handle:
    found = app["handle"]
    assert isinstance(found, Handle)
    return found


async def test_the_101_carries_the_cookies_and_the_header(handle: Handle) -> None:
    async with serve(handle, port=0) as server, client(server, "/wstest") as connection:
        response = connection.response
        assert response is not None
        assert response.status_code == 101
        assert response.headers.get_all("Set-Cookie") == ["MyCookie1=123", "MyCookie2=456"]
        assert response.headers["MyHeader"] == "MyHeaderData"


async def test_both_greetings_follow_the_101_in_order(handle: Handle) -> None:
    async with serve(handle, port=0) as server, client(server, "/wstest") as connection:
        assert await texts(connection, 2) == GREETINGS


async def test_a_text_is_answered_through_current_and_through_the_socket(handle: Handle) -> None:
    async with serve(handle, port=0) as server, client(server, "/wstest") as connection:
        await texts(connection, 2)
        await connection.send("anything")
        assert await texts(connection, 2) == [PUSH, PUSH]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1 << 20])
async def test_a_binary_message_comes_back_as_it_was(handle: Handle, size: int) -> None:
    message = bytes(i & 0xFF for i in range(size))
    async with serve(handle, port=0) as server, client(server, "/wstest") as connection:
        await texts(connection, 2)
        await connection.send(message)
        assert await texts(connection, 1) == [message]


async def test_a_plain_get_is_answered_with_500_and_the_reason(handle: Handle) -> None:
    async with serve(handle, port=0) as server:
        answer = await ask(server, request("/wstest?a=b"))
        assert answer.status == 500
        assert answer.reason == "WebSocket upgrade on /wstest?a=b was not approved."


@contextlib.contextmanager
def calls_of(function: object) -> Iterator[list[WebSocket]]:
    """The sockets that a handler is called with, seen from outside: the application is left as is.

    The disconnect handler of the application has no effect that could be looked at.
    """
    code = getattr(function, "__code__")  # noqa: B009
    calls: list[WebSocket] = []

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is code:
            calls.append(frame.f_locals["ws"])

    sys.setprofile(watch)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def test_disconnect_fires_once_when_the_client_closes(
    app: dict[str, object], handle: Handle
) -> None:
    with calls_of(app["on_disconnect"]) as gone:
        async with serve(handle, port=0) as server:
            async with client(server, "/wstest") as connection:
                await texts(connection, 2)
                await connection.close(1000, "bye")
            await until(lambda: gone)
            assert [ws.close_info for ws in gone] == [CloseInfo(1000, "bye", True, Side.REMOTE)]
        assert len(gone) == 1


async def test_disconnect_fires_once_when_the_server_stops(
    app: dict[str, object], handle: Handle
) -> None:
    with calls_of(app["on_disconnect"]) as gone:
        async with serve(handle, port=0) as server:
            connection = await client(server, "/wstest")
            await texts(connection, 2)
        assert [ws.close_info for ws in gone] == [CloseInfo(1001, "", True, Side.LOCAL)]
        await soon(connection.wait_closed())
        assert connection.close_code == 1001


async def test_sixteen_clients_are_served_side_by_side(handle: Handle) -> None:
    async with serve(handle, port=0) as server:
        connections = [await client(server, "/wstest") for _ in range(16)]
        for connection in connections:
            await connection.send("x")
        for connection in connections:
            assert await texts(connection, 4) == [*GREETINGS, PUSH, PUSH]
            await connection.close()
