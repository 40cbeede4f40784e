"""Peer: the asyncio server of websockets, with its own `broadcast()`."""

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

group: set[ServerConnection] = set()


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
    compression = "deflate" if sys.argv[-1] == "deflate" else None
    async with serve(handler, "127.0.0.1", port, compression=compression, max_size=16 << 20):
        await asyncio.get_running_loop().create_future()


asyncio.run(main(int(sys.argv[1])))
