"""Who may connect: how many in all, from one address, and before their first request."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import Answer, Wire, ask, quiet_handle, request, soon, until, wire
from wsgroups import Handle, Server, serve

FULL = 503


def hello() -> Handle:
    handle = quiet_handle()
    handle.get("/")(lambda request: "hello")
    return handle


@contextlib.asynccontextmanager
async def wire_from(server: Server, address: str) -> AsyncIterator[Wire]:
    """A raw connection from an address of the machine's own network."""
    sock = socket.socket()
    sock.setblocking(False)
    try:
        sock.bind((address, 0))
        await soon(asyncio.get_running_loop().sock_connect(sock, (server.host, server.port)))
        yield Wire(sock)
    finally:
        sock.close()


async def refusal(connection: Wire) -> Answer:
    """Return the answer that comes without a request, and see the connection end."""
    answer = await connection.answer()
    assert answer.get("Retry-After") == "1"
    assert answer.get("Connection") == "close"
    assert await connection.read_all() == b""
    return answer


async def test_as_many_handshakes_as_allowed_may_be_in_progress() -> None:
    async with (
        serve(hello(), port=0, max_handshakes_in_progress=3) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        waiting = [await stack.enter_async_context(wire(server)) for _ in range(3)]
        await until(lambda: server.admission.handshakes == 3)
        async with wire(server) as late:
            assert (await refusal(late)).status == FULL
        assert (await waiting[0].ask(request("/"))).status == 200
        assert server.admission.handshakes == 2
        assert (await ask(server, request("/"))).status == 200, "there is room again"
        waiting[1].reset()
        await waiting[2].send(b"half a requ")
        await until(lambda: server.admission.handshakes == 1)
        await waiting[2].send(b"est\r\n\r\n")
        assert (await waiting[2].answer()).status == 400
        waiting[2].sock.close()
        await until(lambda: server.admission.handshakes == 0)
    assert server.admission.connections == 0


async def test_what_is_kept_alive_or_upgraded_is_no_handshake() -> None:
    handle = hello()
    handle.get("/ws")(lambda request: request.send_upgrade("room") and None)
    async with (
        serve(handle, port=0, max_handshakes_in_progress=1) as server,
        wire(server) as kept,
    ):
        assert (await kept.ask(request("/"))).status == 200
        async with wire(server) as other:
            await other.upgrade()
            assert server.admission.handshakes == 0
            assert server.admission.connections == 2


async def test_an_address_may_have_so_many_connections() -> None:
    async with (
        serve(hello(), port=0, max_connections_per_ip=2) as server,
        wire_from(server, "127.0.0.2") as first,
        wire_from(server, "127.0.0.2"),
    ):
        await until(lambda: server.admission.connections == 2)
        async with wire_from(server, "127.0.0.2") as third:
            assert (await refusal(third)).status == FULL
        async with wire_from(server, "127.0.0.3") as other:
            assert (await other.ask(request("/"))).status == 200
        first.reset()
        await until(lambda: server.admission.connections == 1)
        async with wire_from(server, "127.0.0.2") as again:
            assert (await again.ask(request("/"))).status == 200


async def test_a_unix_socket_has_no_address_to_count(tmp_path: Path) -> None:
    async with (
        serve(hello(), uds=str(tmp_path / "s"), max_connections_per_ip=1) as server,
        wire(server),
        wire(server) as second,
    ):
        assert (await second.ask(request("/"))).status == 200


async def test_connections_that_are_refused_take_no_place() -> None:
    async with (
        serve(hello(), port=0, max_connections=1) as server,
        wire(server) as first,
        contextlib.AsyncExitStack() as stack,
    ):
        await until(lambda: server.admission.connections == 1)
        refused = [await stack.enter_async_context(wire(server)) for _ in range(5)]
        for connection in refused:
            assert (await connection.answer()).status == FULL
        first.reset()  # the five are still there
        await until(lambda: server.admission.connections == 0)
        assert (await ask(server, request("/"))).status == 200


@pytest.mark.parametrize(
    "option",
    ["max_connections", "max_connections_per_ip", "max_handshakes_in_progress"],
)
def test_a_negative_limit_is_refused_by_name(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be 0 or more, not -1"):
        serve(hello(), **{option: -1})
