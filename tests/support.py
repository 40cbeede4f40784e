"""What the tests over real sockets share: an application in a line, and a client for raw bytes."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect

from wsgroups import Handle, HandlerStatus, Request, Server, WebSocket
from wsgroups.testing import App, Client

PATIENCE = 20.0  # seconds; nothing here takes so long unless it is broken

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

T = TypeVar("T")


async def soon(awaitable: Awaitable[T]) -> T:
    """Wait for something that is about to happen."""
    return await asyncio.wait_for(awaitable, PATIENCE)


async def turns(count: int = 3) -> None:
    """Give the loop, and with it the server inside it, so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Any) -> None:
    """Turn the loop until `condition()` holds: for what nothing can be awaited."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


def quiet_handle(**policy: Any) -> Handle:
    """Return a Handle whose group `room` is registered and does nothing."""
    handle = Handle(**policy)
    handle.websocket("room")(lambda message, ws: None)
    return handle


class Gate:
    """A route that upgrades into a group, and the sockets that came through it.

    Args:
        handle: where the route is registered.
        group: the group.
        path: the route.
        upgrade: keyword arguments of `send_upgrade`.
    """

    def __init__(
        self, handle: Handle, group: str = "room", path: str = "/ws", **upgrade: Any
    ) -> None:
        self.path = path
        self._sockets: asyncio.Queue[WebSocket] = asyncio.Queue()

        @handle.get(path)
        def enter(request: Request) -> HandlerStatus:
            request.require_upgrade()
            self._sockets.put_nowait(request.send_upgrade(group, **upgrade))
            return HandlerStatus.HANDLED

    async def next(self) -> WebSocket:
        """Return the socket that came next."""
        return await soon(self._sockets.get())

    async def admit(self, app: App, count: int) -> list[tuple[Client, WebSocket]]:
        """Connect so many clients and return both ends of each socket."""
        return [(await app.connect(self.path), await self.next()) for _ in range(count)]


def client(server: Server, path: str = "/ws", **options: Any) -> connect:
    """Return the `websockets` client's connection to a path, for `async with` or `await`."""
    return connect(server.ws_url + path, compression=None, **options)


async def texts(connection: ClientConnection, count: int) -> list[str | bytes]:
    """Return the next messages."""
    return [await soon(connection.recv()) for _ in range(count)]


# --- raw bytes ------------------------------------------------------------------------------


def request(
    target: str = "/", *lines: str, method: str = "GET", version: str = "1.1", body: bytes = b""
) -> bytes:
    """Return a request with a Host header and the given header lines."""
    head = [f"{method} {target} HTTP/{version}", "Host: test", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def handshake(target: str = "/ws", *lines: str, host: str = "test") -> bytes:
    """Return an opening handshake with further header lines."""
    head = [
        f"GET {target} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *lines,
        "",
        "",
    ]
    return "\r\n".join(head).encode("latin-1")


def frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """Return a client's frame, masked with zeros so that it can be read."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = b"\xfe" + struct.pack("!H", size)
    else:
        length = b"\xff" + struct.pack("!Q", size)
    return bytes([(0x80 if final else 0) | opcode]) + length + bytes(4) + payload


@dataclass(frozen=True)
class Answer:
    """One HTTP response."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the only value of a header, or None."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} stands there {len(values)} times"
        return values[0] if values else None


class Wire:
    """A connection that says just what a test wants said.

    Attributes:
        sock: the client's end.
        was_reset: the server broke the connection off; without that, it ended it with FIN.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.was_reset = False
        self._buffer = b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.sock.close()

    # --- out --------------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Send it all; a server that has closed already is not the sender's business."""
        try:
            await soon(asyncio.get_running_loop().sock_sendall(self.sock, data))
        except ConnectionError:
            self.was_reset = True

    async def send_in_parts(self, parts: Iterator[bytes]) -> None:
        """Send each part by itself and let the server read it before the next."""
        for part in parts:
            await self.send(part)
            await turns()

    def send_fin(self) -> None:
        """Say that nothing more comes."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off: the server sees ECONNRESET."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # --- in ---------------------------------------------------------------------------------

    async def _more(self) -> bool:
        try:
            data = await soon(asyncio.get_running_loop().sock_recv(self.sock, 65536))
        except ConnectionResetError:
            self.was_reset = True
            return False
        self._buffer += data
        return bool(data)

    async def read(self, size: int) -> bytes:
        """Return so many bytes."""
        while len(self._buffer) < size:
            assert await self._more(), f"closed after {self._buffer[-100:]!r}"
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    async def read_to(self, mark: bytes) -> bytes:
        """Return what comes up to and with `mark`."""
        while mark not in self._buffer:
            assert await self._more(), f"closed after {self._buffer[-100:]!r}"
        return await self.read(self._buffer.index(mark) + len(mark))

    async def read_all(self) -> bytes:
        """Return what comes until the server closes."""
        while await self._more():
            pass
        return await self.read(len(self._buffer))

    async def answer(self, *, with_body: bool = True) -> Answer:
        """Return the next response."""
        status_line, *lines = (await self.read_to(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, status, reason = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = [line.split(":", 1) for line in lines if line]
        headers = [(name, value.strip()) for name, value in pairs]
        answer = Answer(int(status), reason, headers, b"")
        size = int(answer.get("Content-Length") or 0) if with_body else 0
        return Answer(int(status), reason, headers, await self.read(size))

    async def ask(self, data: bytes) -> Answer:
        """Send a request and return the response."""
        await self.send(data)
        return await self.answer()

    async def upgrade(self, *args: str, **options: str) -> Answer:
        """Do the opening handshake; arguments as of `handshake`."""
        answer = await self.ask(handshake(*args, **options))
        assert answer.status == 101, answer
        return answer

    async def frame(self) -> tuple[int, bytes]:
        """Return the opcode and payload of the next frame, which must be whole and unmasked."""
        first, second = await self.read(2)
        assert first & 0xF0 == 0x80
        size = second
        if second == 126:
            (size,) = struct.unpack("!H", await self.read(2))
        elif second == 127:
            (size,) = struct.unpack("!Q", await self.read(8))
        return first & 0x0F, await self.read(size)

    async def closing(self) -> tuple[int, str]:
        """Return code and reason of the Close frame that comes next."""
        opcode, payload = await self.frame()
        assert opcode == CLOSE, (opcode, payload)
        if not payload:
            return 1005, ""
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()


@contextlib.asynccontextmanager
async def wire(server: Server) -> AsyncIterator[Wire]:
    """A raw connection to a server."""
    loop = asyncio.get_running_loop()
    if server.is_unix:
        sock = socket.socket(socket.AF_UNIX)
        address: Any = server.sockets[0].getsockname()
    elif ":" in server.host:
        sock = socket.socket(socket.AF_INET6)
        address = (server.host, server.port)
    else:
        sock = socket.socket()
        address = (server.host, server.port)
    sock.setblocking(False)
    try:
        await soon(loop.sock_connect(sock, address))
        yield Wire(sock)
    finally:
        sock.close()


async def ask(server: Server, data: bytes) -> Answer:
    """Send one request over a connection of its own and return the response."""
    async with wire(server) as connection:
        return await connection.ask(data)


# --- the command line -----------------------------------------------------------------------


class Program:
    """A Python program in a process of its own, for `with`.

    Args:
        arguments: what follows `python`.
        cwd: where it runs.
        prefix: a program that starts it, with arguments.
        pass_fds: descriptors that it inherits.
        variables: of its environment, beside ours.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        prefix: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.output = ""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "200"}
        environment["PYTHONPATH"] = str(Path(__file__).parents[1])
        environment.update(variables or {})
        self._process = subprocess.Popen(
            [*prefix, sys.executable, *arguments],
            pass_fds=pass_fds,
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def wait_for(self, pattern: str) -> str:
        """Read the output up to the line that the pattern is found in; return its first group."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            self.output += line
            if found := re.search(pattern, line):
                return found[1] if found.re.groups else found[0]
        raise AssertionError(f"{pattern!r} never came:\n{self.output}")

    def port(self) -> int:
        """Return the port that it says it listens on."""
        return int(self.wait_for(r"listening on https?://[^ ]*:(\d+)"))

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code; the rest of the output is in `output`."""
        rest, _ = self._process.communicate(timeout=PATIENCE)
        self.output += rest
        return self._process.returncode
