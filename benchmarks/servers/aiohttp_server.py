"""Peer: aiohttp on uvloop."""

import ssl
import sys
from pathlib import Path

import uvloop
from aiohttp import WSMsgType, web

deflate = "deflate" in sys.argv
group: set[web.WebSocketResponse] = set()


def tls() -> ssl.SSLContext | None:
    """The context to serve with, when asked for."""
    if "tls" not in sys.argv:
        return None
    build = Path(__file__).parent.parent / "build"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(build / "cert.pem", build / "key.pem")
    return context


async def upgraded(request: web.Request) -> web.WebSocketResponse:
    """Return the open socket of `request`."""
    socket = web.WebSocketResponse(compress=deflate, max_msg_size=16 << 20)
    await socket.prepare(request)
    return socket


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Send every message back."""
    socket = await upgraded(request)
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


async def join(request: web.Request) -> web.WebSocketResponse:
    """Keep the socket in the group for as long as it lives."""
    socket = await upgraded(request)
    group.add(socket)
    try:
        async for _ in socket:
            pass
    finally:
        group.discard(socket)
    return socket


async def publish(request: web.Request) -> web.WebSocketResponse:
    """Send the payload of `[uint16 count][payload]` to the group, `count` times."""
    socket = await upgraded(request)
    async for message in socket:
        payload = message.data[2:]
        for _ in range(int.from_bytes(message.data[:2], "big")):
            for member in tuple(group):
                await member.send_bytes(payload)
    return socket


async def application() -> web.Application:
    """Build the routes."""
    app = web.Application()
    app.router.add_get("/echo", echo)
    app.router.add_get("/group", join)
    app.router.add_get("/publish", publish)
    return app


web.run_app(
    application(),
    host="127.0.0.1",
    port=int(sys.argv[1]),
    ssl_context=tls(),
    access_log=None,
    print=None,
    loop=uvloop.new_event_loop(),
)
