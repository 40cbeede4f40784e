"""TLS for an engine that speaks none: `python -m conformance.tunnel PORT CA`.

Listens on a free port, whose address it writes, and carries each connection over TLS to PORT. What
one end has sent arrives at the other as it was cut, as far as TCP lets that be seen.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

import click

CHUNK = 1 << 16  # bytes carried at once


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry what comes from one end to the other, until there is no more."""
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()


class Tunnel:
    """Carries connections.

    Args:
        port: of the server.
        context: what TLS is spoken with.
    """

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port = port
        self._context = context

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection; TLS has no half of an end, so either end is that of both."""
        there, back = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context)
        ways = {
            asyncio.ensure_future(carry(reader, back)),
            asyncio.ensure_future(carry(there, writer)),
        }
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for each in (writer, back):
            each.close()
            with suppress(OSError):
                await each.wait_closed()


async def serve(port: int, ca: str) -> None:
    """Carry connections until the process is ended."""
    tunnel = Tunnel(port, ssl.create_default_context(cafile=ca))
    server = await asyncio.start_server(tunnel.connected, "127.0.0.1", 0)
    print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


@click.command()
@click.argument("port", type=int)
@click.argument("ca")
def main(port: int, ca: str) -> None:
    """Carry connections over TLS to PORT, whose certificate the authority CA has signed."""
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(port, ca))


if __name__ == "__main__":
    main()
