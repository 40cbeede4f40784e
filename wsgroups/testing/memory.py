"""A server without sockets, and the transports of its clients."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any

from wsgroups.connection.connection import Connection
from wsgroups.drivers.memory import MemoryDriver
from wsgroups.server.server import Server

_WINDOW = 64 << 10  # bytes on their way to a client that does not read
_STEP = 0.5  # seconds that time passes at once


class MemoryServer(Server):
    """Serves clients that `dial` connects, with a clock that `advance` moves."""

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._memory = self._driver = MemoryDriver(loop)
        self._memory.on_work = self.wake
        self._accept: Callable[[Connection], None] | None = self._acceptor(self.config.port or None)
        self._listeners.append(self._refuse)
        self._links: list[_Link] = []
        # Whatever task a client's bytes come from: handlers never run in its context.
        self._context = contextvars.copy_context()
        self._is_woken = False
        self._idle = asyncio.Event()

    def _refuse(self) -> None:
        self._accept = None

    def _release(self, loop: asyncio.AbstractEventLoop) -> None:
        self._memory.close()
        self._turn()

    def dial(self, protocol: asyncio.BufferedProtocol) -> asyncio.Transport:
        """Connect a client and return its transport.

        Raises:
            ConnectionRefusedError: when the server is closed or closing.
        """
        if self._accept is None:
            raise ConnectionRefusedError("the server does not listen")
        link = _Link(self, self._context.run(self._memory.connect, self._accept), protocol)
        self._links.append(link)
        protocol.connection_made(link)
        self.wake()
        return link

    async def advance(self, seconds: float) -> None:
        """Let time pass; in between clients see and answer what happens."""
        while seconds > 0:
            self._context.run(self._memory.advance, min(_STEP, seconds))
            seconds -= _STEP
            self.wake()
            await self._idle.wait()

    # --- turns ------------------------------------------------------------------------------

    def wake(self) -> None:
        """Have a turn soon; from any thread."""
        self._is_woken = True
        self._idle.clear()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there any more
            self._loop.call_soon_threadsafe(self._turn, context=self._context)

    def _turn(self) -> None:
        """Carry what has been sent, to both sides."""
        self._is_woken = False
        self._memory.run()
        for link in self._links:
            link.carry(self._memory)
        self._links = [link for link in self._links if not link.is_done]
        if not self._is_woken:
            self._idle.set()


class _Link(asyncio.Transport):
    """A client's end of a connection. What it is told is done in the server's next turn."""

    def __init__(
        self, server: MemoryServer, connection: Connection, protocol: asyncio.BufferedProtocol
    ) -> None:
        super().__init__()
        self._server = server
        self._connection = connection
        self._protocol = protocol
        self._sent = bytearray()  # by the client, not yet with the server
        self._received = bytearray()  # by the transport, not yet with the client
        self._is_paused = False
        self._is_closing = False
        self._is_aborted = False
        self.is_done = False

    # --- asyncio's side ---------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """Send; a connection that has ended swallows it."""
        if not self._is_closing:
            self._sent += data
            self._server.wake()

    def get_write_buffer_size(self) -> int:
        """Bytes that the server has not read."""
        return len(self._sent)

    def pause_reading(self) -> None:
        """Leave what comes where it is."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Take it again."""
        self._is_paused = False
        self._server.wake()

    def is_reading(self) -> bool:
        """False after `pause_reading`."""
        return not self._is_paused

    def close(self) -> None:
        """Say that nothing more comes, behind what has been sent."""
        self._is_closing = True
        self._server.wake()

    def abort(self) -> None:
        """Break off."""
        self._is_aborted = self._is_closing = True
        self._server.wake()

    def is_closing(self) -> bool:
        """True after `close` and `abort`."""
        return self._is_closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return nothing: there is no socket."""
        return default

    # --- the server's side ------------------------------------------------------------------

    def carry(self, driver: MemoryDriver) -> None:
        """Give each side what the other has sent, and tell it when the other has ended."""
        connection = self._connection
        if self._is_aborted and not driver.is_closed(connection):
            driver.reset(connection)
        while self._sent and not driver.is_closed(connection) and driver.is_reading(connection):
            data, self._sent = bytes(self._sent), bytearray()
            driver.feed(connection, data)
        self._deliver(driver)
        has_left = self._is_closing and not self._sent
        if has_left and not driver.is_closed(connection):
            driver.end_input(connection)
        if driver.is_closed(connection):
            has_left = self._is_closing or not self._received  # what it sent goes nowhere
        if has_left:
            self._end()

    def _deliver(self, driver: MemoryDriver) -> None:
        connection = self._connection
        self._received += driver.take(connection)
        while self._received and not self._is_paused and not self._is_closing:
            buffer = memoryview(self._protocol.get_buffer(len(self._received)))
            size = min(len(buffer), len(self._received))
            buffer[:size] = self._received[:size]
            del self._received[:size]
            self._protocol.buffer_updated(size)
        if not driver.is_closed(connection):
            driver.set_window(connection, _WINDOW - len(self._received))
            self._received += driver.take(connection)
            if self._received and not self._is_paused:
                self._server.wake()
        if driver.has_sent_fin(connection) and not self._received and not self._is_closing:
            self._is_closing = not self._protocol.eof_received()
            self._server.wake()

    def _end(self) -> None:
        self.is_done = self._is_closing = True
        self._protocol.connection_lost(None)
