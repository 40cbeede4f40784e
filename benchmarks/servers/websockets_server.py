"""Peer: the asyncio server of websockets, with its own `broadcast()`."""

import asyncio
import ssl
import sys
from pathlib import Path

from websockets.asyncio.server import ServerConnection, broadcast, serve

group: set[ServerConnection] = set()


def tls() -> ssl.SSLContext | None:
    """The context to serve with, when asked for."""
    if "tls" not in sys.argv:
        return None
    build = Path(__file__).parent.parent / "build"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(build / "cert.pem", build / "key.pem")
    return context


async def echo(connection: ServerConnection) -> None:
    """Send every message back."""
    async for message in connection:
        await connection.send(message)


async def join(connection: ServerConnection) -> None:
    """Keep the connection in the group for as long as it lives."""
    group.add(connection)
    try:
        await connection.wait_closed()
    finally:
        group.discard(connection)


async def publish(connection: ServerConnection) -> None:
    """Send the payload of `[uint16 count][payload]` to the group, `count` times."""
    async for message in connection:
        payload = message[2:]
        for _ in range(int.from_bytes(message[:2], "big")):
            broadcast(group, payload)


ROUTES = {"/echo": echo, "/group": join, "/publish": publish}


async def handler(connection: ServerConnection) -> None:
    """Choose by path."""
    await ROUTES[connection.request.path](connection)


async def main(port: int) -> None:
    """Serve until the process is ended."""
    compression = "deflate" if "deflate" in sys.argv else None
    async with serve(
        handler, "127.0.0.1", port, compression=compression, max_size=16 << 20, ssl=tls()
    ):
        await asyncio.get_running_loop().create_future()


asyncio.run(main(int(sys.argv[1])))
