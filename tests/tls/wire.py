"""A connection over TLS that says just what a test wants said."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

from tests.support import Wire, soon, wire
from wsgroups import Server


class TlsWire(Wire):
    """A `Wire` whose bytes go through TLS.

    Args:
        sock: the client's end.
        context: the client's.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    async def shake(self) -> None:
        """Do the handshake."""
        while True:
            try:
                return self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await super().send(self._outgoing.read())
                assert await self._receive()
            finally:
                await super().send(self._outgoing.read())

    async def send(self, data: bytes) -> None:
        """Send it all, in as many records as it takes."""
        while data:
            data = data[self._tls.write(data) :]
        await super().send(self._outgoing.read())

    async def _receive(self) -> bool:
        try:
            data = await soon(asyncio.get_running_loop().sock_recv(self.sock, 65536))
        except ConnectionResetError:
            self.was_reset = True
            return False
        self._incoming.write(data)
        return bool(data)

    async def _more(self) -> bool:
        while True:
            try:
                part = self._tls.read(65536)
            except ssl.SSLWantReadError:
                if await self._receive():
                    continue
                return False
            except ssl.SSLZeroReturnError:
                part = b""
            if not part:
                await self._receive()  # FIN, or the end of a connection that broke
                return False
            self._buffer += part
            return True


@contextlib.asynccontextmanager
async def tls_wire(server: Server, context: ssl.SSLContext) -> AsyncIterator[TlsWire]:
    """A raw connection to a server over TLS, after its handshake."""
    async with wire(server) as plain:
        connection = TlsWire(plain.sock, context)
        await connection.shake()
        yield connection
