"""Who talks to us: clients x plain and TLS x compression, the same conversation each time."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import picows
import pytest
import websockets

import wsgroups
from tests.certificates import Certificates
from tests.support import soon
from tests.tls.test_serving import echo_handle
from wsgroups import Server

Message = str | bytes
MESSAGES: list[Message] = [
    "",
    "hello",
    "grüß Gott " * 30,
    b"",
    *(
        bytes(range(256)) * (size // 256) + bytes(size % 256)
        for size in (1, 125, 126, 65535, 65536)
    ),
    " ".join(map(str, range(60_000))),  # shrinks, but not so well that it would look like a bomb
    " ".join(map(str, range(140_000))).encode(),
]

Talk = Callable[[str, ssl.SSLContext | None, bool], Awaitable[list[Message]]]
"""Sends all messages to a URL, closes, and returns what came back."""


async def ours(url: str, context: ssl.SSLContext | None, compression: bool) -> list[Message]:
    async with wsgroups.connect(url, ssl=context, compression=compression) as client:
        got = []
        for message in MESSAGES:
            await client.send(message)
            got.append(await client.recv(10))
    assert client.close_info is not None
    assert client.close_info.code == 1000
    return got


async def of_websockets(
    url: str, context: ssl.SSLContext | None, compression: bool
) -> list[Message]:
    how = "deflate" if compression else None
    async with websockets.connect(url, ssl=context, compression=how) as client:
        assert ("deflate" in str(client.protocol.extensions).lower()) == compression
        got = []
        for message in MESSAGES:
            await client.send(message)
            got.append(await soon(client.recv()))
    assert client.close_code == 1000
    return got


async def of_aiohttp(url: str, context: ssl.SSLContext | None, compression: bool) -> list[Message]:
    secure: dict[str, Any] = {} if context is None else {"ssl": context}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, compress=15 if compression else 0, **secure) as client,
    ):
        assert bool(client.compress) == compression
        got: list[Message] = []
        for message in MESSAGES:
            if isinstance(message, str):
                await client.send_str(message)
            else:
                await client.send_bytes(message)
            got.append((await client.receive(10)).data)
        await client.close()
        assert client.close_code == 1000
    return got


async def of_picows(url: str, context: ssl.SSLContext | None, compression: bool) -> list[Message]:
    queue: asyncio.Queue[Message] = asyncio.Queue()

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                queue.put_nowait(frame.get_payload_as_utf8_text())
            elif frame.msg_type == picows.WSMsgType.BINARY:
                queue.put_nowait(frame.get_payload_as_bytes())
            elif frame.msg_type == picows.WSMsgType.CLOSE:
                transport.disconnect()

    transport, _ = await picows.ws_connect(Listener, url, ssl_context=context)
    got = []
    for message in MESSAGES:
        if isinstance(message, str):
            transport.send(picows.WSMsgType.TEXT, message.encode())
        else:
            transport.send(picows.WSMsgType.BINARY, message)
        got.append(await soon(queue.get()))
    transport.send_close(picows.WSCloseCode.OK)
    await soon(transport.wait_disconnected())
    return got


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("compression", [False, True], ids=["as-it-is", "deflate"])
@pytest.mark.parametrize("talk", [ours, of_websockets, of_aiohttp, of_picows])
async def test_every_client_gets_back_what_it_sent(
    certificates: Certificates, talk: Talk, compression: bool, secure: bool
) -> None:
    handle = echo_handle()
    group = handle.group("echo", compression=compression)
    context = certificates.client() if secure else None
    options = certificates.options if secure else {}
    server: Server
    async with wsgroups.serve(handle, port=0, **options) as server:
        url = server.ws_url.replace("127.0.0.1", "localhost") + "/ws"
        assert await talk(url, context, compression) == MESSAGES
        async with asyncio.timeout(10):
            while len(group):
                await asyncio.sleep(0.001)
