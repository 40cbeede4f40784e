"""Compression over real sockets: our two ends, and those of `websockets` and aiohttp."""

import os
from typing import Any

import aiohttp
import pytest
import websockets.asyncio.client
import websockets.asyncio.server
from aiohttp import web

from tests.support import soon, turns
from wsgroups import (
    CloseInfo,
    Compression,
    Handle,
    HandlerStatus,
    HandshakeFailedError,
    Request,
    Side,
    WebSocket,
    connect,
    serve,
    testing,
)
from wsgroups.client.opening import Address, Opening
from wsgroups.connection.handshake import accept_key

MESSAGES: list[str | bytes] = [
    "x",
    "",
    "æøå 😀" * 1000,
    b"",
    bytes(60_000),
    os.urandom(100_000),
    '{"a": 1}' * 5000,
]
WAYS = {
    "default": Compression(),
    "all": Compression(threshold=0, window_bits=15, memory_level=8),
    "kept": Compression(threshold=0, context_takeover=True),
    "small": Compression(threshold=0, window_bits=9, memory_level=1, level=1),
}


def echo_handle() -> Handle:
    handle = Handle()
    for name, how in WAYS.items():
        handle.group(name, compression=how)

        @handle.websocket(name)
        def echo(message: str | bytes, ws: WebSocket) -> None:
            ws.send(message)

    @handle.get("/{name}")
    def enter(request: Request, name: str) -> HandlerStatus:
        request.send_upgrade(name)
        return HandlerStatus.HANDLED

    return handle


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_the_client_of_websockets_talks_to_us(name: str, compression: str | None) -> None:
    async with (
        serve(echo_handle(), port=0) as server,
        websockets.asyncio.client.connect(
            f"{server.ws_url}/{name}", compression=compression, max_size=None
        ) as client,
    ):
        assert bool(client.protocol.extensions) == (compression is not None)
        for message in MESSAGES * 2:
            await client.send(message)
            assert await soon(client.recv()) == message


@pytest.mark.parametrize("name", WAYS)
async def test_the_client_of_aiohttp_talks_to_us(name: str) -> None:
    async with (
        serve(echo_handle(), port=0) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}/{name}", compress=15, max_msg_size=0) as client,
    ):
        assert client.compress
        for message in MESSAGES * 2:
            await (
                client.send_str(message) if isinstance(message, str) else client.send_bytes(message)
            )
            assert (await soon(client.receive())).data == message


@pytest.mark.parametrize("theirs", WAYS)
@pytest.mark.parametrize("ours", WAYS)
async def test_our_two_ends_agree_on_every_way(ours: str, theirs: str) -> None:
    async with (
        testing.start(echo_handle()) as app,
        app.connect(f"/{ours}", compression=WAYS[theirs]) as client,
    ):
        assert client.headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
        for message in MESSAGES * 2:
            await client.send(message)
            await client.expect(message)


@pytest.mark.parametrize("name", WAYS)
async def test_our_client_talks_to_a_server_of_websockets(name: str) -> None:
    async def echo(connection: websockets.asyncio.server.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.asyncio.server.serve(echo, "127.0.0.1", 0, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/", compression=WAYS[name]) as socket:
            assert "permessage-deflate" in socket.headers["Sec-WebSocket-Extensions"]
            for message in MESSAGES * 2:
                await socket.send(message)
                assert await soon(socket.recv()) == message


@pytest.mark.parametrize("name", WAYS)
async def test_our_client_talks_to_a_server_of_aiohttp(name: str) -> None:
    async def enter(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse(max_msg_size=0)
        await response.prepare(request)
        async for message in response:
            if message.type is aiohttp.WSMsgType.TEXT:
                await response.send_str(message.data)
            else:
                await response.send_bytes(message.data)
        return response

    app = web.Application()
    app.router.add_get("/", enter)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with connect(f"ws://127.0.0.1:{port}/", compression=WAYS[name]) as socket:
            assert "permessage-deflate" in socket.headers["Sec-WebSocket-Extensions"]
            for message in MESSAGES * 2:
                await socket.send(message)
                assert await soon(socket.recv()) == message
    finally:
        await runner.cleanup()


async def test_a_client_that_is_sent_too_much_closes_with_1009() -> None:
    handle = echo_handle()
    async with (
        serve(handle, port=0) as server,
        connect(f"{server.ws_url}/all", compression=True, max_message_size=1000) as socket,
    ):
        await soon(socket.ping())
        handle.group("all").send("x" * 1001)
        await soon(socket.wait_closed())
        assert socket.close_info == CloseInfo(1009, "", False, Side.LOCAL)


@pytest.mark.parametrize(
    "answer",
    [
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate; client_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate, permessage-deflate",
        "x-other",
    ],
)
def test_an_answer_that_fits_no_offer_is_refused(answer: str) -> None:
    address = Address.of("ws://127.0.0.1/")
    opening = Opening(address, (), (), None, Compression())
    key = next(line for line in opening.request.split(b"\r\n") if b"-Key" in line)[19:]
    response = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\nSec-WebSocket-Extensions: {answer}\r\n\r\n"
    )
    with pytest.raises(HandshakeFailedError):
        opening.feed(response.encode())


async def test_the_memory_of_sockets_that_compress_is_given_back(error_log: Any) -> None:
    """A socket that goes takes its windows with it, however it was left."""
    import gc
    import weakref

    from wsgroups.connection.deflate import Deflate

    made: list[weakref.ref[Deflate]] = []

    class Watched(Deflate):
        __slots__ = ("__weakref__",)

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("wsgroups.connection.deflate.Deflate", Watched)
    try:
        async with testing.start(echo_handle()) as app:
            for _ in range(20):
                client = await app.connect("/kept", compression=WAYS["kept"])
                await client.send("x" * 1000)
                await client.expect("x" * 1000)
                client.abort()
    finally:
        monkeypatch.undo()
    del client
    await turns()  # a transport that was aborted keeps its last event until the next
    gc.collect()
    assert len(made) == 40
    assert [ref for ref in made if ref() is not None] == []
