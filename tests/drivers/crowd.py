"""What the driver's tests share: many sockets at once, and bytes that wait before the loop runs.

A client's `send` on this machine puts the bytes into the server's socket before it returns, so
whatever clients do without giving the loop a turn is one batch for the driver.
"""

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from tests.support import TEXT, Gate, Wire, frame, handshake, until
from wsgroups import Handle, Server, WebSocket, serve

Message = str | bytes
Ends = list[tuple[Wire, WebSocket]]


class App:
    """An application that writes down what it hears and does what a test says.

    Attributes:
        heard: what came, in the order of the calls, as the socket's id and the message.
        parted: the ids of the sockets that the disconnect handler was called for.
        on_message: called with each message; echoes unless a test puts another in its place.
        on_part: called when a socket has closed; does nothing, likewise.
    """

    def __init__(self, **policy: Any) -> None:
        self.handle = Handle(**policy)
        self.group = self.handle.group("room")
        self.gate = Gate(self.handle)
        self.heard: list[tuple[int, Message]] = []
        self.parted: list[int] = []
        self.on_message: Callable[[Message, WebSocket], object] = echo
        self.on_part: Callable[[WebSocket], object] = lambda ws: None
        self.handle.websocket("room")(self._hear)
        self.handle.websocket_disconnect("room")(self._part)

    def _hear(self, message: Message, ws: WebSocket) -> object:
        self.heard.append((ws.id, message))
        return self.on_message(message, ws)

    def _part(self, ws: WebSocket) -> None:
        self.parted.append(ws.id)
        self.on_part(ws)

    def messages_of(self, ws: WebSocket) -> list[Message]:
        """Return what one socket has said."""
        return [message for id, message in self.heard if id == ws.id]


def echo(message: Message, ws: WebSocket) -> None:
    """Send a message back."""
    ws.send(message)


def ignore(message: Message, ws: WebSocket) -> None:
    """Do nothing."""


def text(message: object) -> bytes:
    """Return a client's text message."""
    return frame(TEXT, str(message).encode())


def texts(messages: range) -> bytes:
    """Return client's text messages, one behind the other."""
    return b"".join(text(message) for message in messages)


def connected(server: Server) -> socket.socket:
    """Connect a client without giving the loop a turn: it waits to be accepted."""
    if server.config.uds:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(server.config.uds)
    else:
        sock = socket.create_connection((server.host, server.port))
    sock.setblocking(False)
    return sock


@contextlib.asynccontextmanager
async def crowd(server: Server, app: App, count: int) -> AsyncIterator[Ends]:
    """Both ends of so many sockets, in the order in which they were accepted."""
    ends: Ends = []
    with contextlib.ExitStack() as stack:
        while len(ends) < count:
            part = [
                Wire(stack.enter_context(connected(server)))
                for _ in range(min(500, count - len(ends)))
            ]
            for number, wire in enumerate(part):
                wire.sock.send(handshake(f"/ws?{number}"))
            for wire in part:
                assert (await wire.answer()).status == 101
            came = [await app.gate.next() for _ in part]
            came.sort(key=lambda ws: int(ws.request.uri.partition("?")[2]))
            ends += zip(part, came, strict=True)
        yield ends


@contextlib.contextmanager
def standing(
    new_loop: Callable[[], asyncio.AbstractEventLoop], app: App, count: int
) -> Iterator[tuple[asyncio.AbstractEventLoop, Server, Ends]]:
    """A loop that only runs when it is told to, with a server and a crowd in it."""
    loop = new_loop()
    run = loop.run_until_complete
    stack = contextlib.AsyncExitStack()
    try:
        server = run(stack.enter_async_context(serve(app.handle, port=0)))
        yield loop, server, run(stack.enter_async_context(crowd(server, app, count)))
    finally:
        run(stack.aclose())
        loop.close()


def waiting(wire: Wire) -> bytes:
    """Return what has come to a client already, without giving the loop a turn."""
    data = b""
    with contextlib.suppress(BlockingIOError):
        while part := wire.sock.recv(1 << 20):
            data += part
    return data


async def fill(wire: Wire, data: bytes) -> int:
    """Send until the server has stopped reading; returns how many bytes went out."""
    done = idle = 0
    while done < len(data) and idle < 50:
        try:
            done += wire.sock.send(data[done : done + (1 << 20)])
            idle = 0
        except BlockingIOError:
            idle += 1
        await asyncio.sleep(0)
    return done


async def gone(app: App, ws: WebSocket) -> None:
    """Wait until the disconnect handler of a socket has been called."""
    await until(lambda: ws.id in app.parted)


# --- what the process has ---------------------------------------------------------------------


def epolls() -> list[int]:
    """Return the descriptors of this process that are epoll instances."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:[eventpoll]":
                found.append(int(name))
    return found


def watched(epoll: int) -> set[int]:
    """Return the descriptors that an epoll instance watches."""
    with open(f"/proc/self/fdinfo/{epoll}") as info:
        return {int(line.split()[1]) for line in info if line.startswith("tfd:")}


async def rest(instances: list[int] | None = None) -> None:
    """Wait until no epoll instance has events: a loop that went round for nothing never rests.

    Args:
        instances: which to look at; all of this process by default.
    """
    poll = select.poll()
    for epoll in epolls() if instances is None else instances:
        poll.register(epoll, select.POLLIN)
    await until(lambda: not poll.poll(0))


def server_side(client: socket.socket) -> int | None:
    """Return the descriptor of the server's end of a connection within this process, if any."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                with socket.socket(fileno=os.dup(int(name))) as twin:
                    if twin.getpeername() == client.getsockname():
                        return int(name)
    return None
