"""Exactly one disconnect for each upgrade, however a connection ends: 20,000 of them."""

import asyncio
import queue
import resource
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from logging import LogRecord

import pytest

from tests.support import CLOSE, TEXT, frame, handshake
from wsgroups import Handle, HandlerStatus, Request, WebSocket, serve

CONNECTIONS = 20_000
CLIENTS = 4  # threads
CLOSE_NORMAL = frame(CLOSE, struct.pack("!H", 1000))
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


class Endings:
    """The application: counts upgrades and disconnects, and ends sockets as it is told."""

    def __init__(self) -> None:
        self.upgraded: list[int] = []
        self.disconnected: Counter[int] = Counter()
        self.codes: Counter[int] = Counter()
        self.doomed: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        # No pings: the clients that stay expect nothing but the Close frame, however long it takes.
        self.handle = Handle(close_timeout=2.0, ping_interval=None)
        self.handle.get("/ws")(self.enter)
        self.handle.websocket("endings")(self.obey)
        self.handle.websocket_disconnect("endings")(self.part)

    def enter(self, request: Request) -> HandlerStatus:
        """Upgrade."""
        self.upgraded.append(request.send_upgrade("endings").id)
        return HandlerStatus.HANDLED

    def obey(self, message: str, ws: WebSocket) -> None:
        """End the socket in the way the message names."""
        if message == "close":
            ws.disconnect("as you wish")
        elif message == "raise":
            raise RuntimeError("as you wish")
        elif message == "thread":
            self.doomed.put(ws.id)

    def part(self, ws: WebSocket) -> None:
        """Count."""
        assert ws.close_info is not None
        self.disconnected[ws.id] += 1
        self.codes[ws.close_info.code] += 1

    def close_from_thread(self) -> None:
        """End what is doomed, from another thread, by id alone."""
        while (id := self.doomed.get()) is not None:
            WebSocket(id).disconnect(code=4000)


def closes_itself(sock: socket.socket) -> None:
    """Close handshake from this side."""
    sock.sendall(CLOSE_NORMAL)
    read_to_end(sock)
    sock.close()


def is_closed_by(message: bytes) -> Callable[[socket.socket], None]:
    """Close handshake from the other side, after `message`."""

    def end(sock: socket.socket) -> None:
        sock.sendall(frame(TEXT, message))
        sock.recv(1)
        sock.sendall(CLOSE_NORMAL)
        read_to_end(sock)
        sock.close()

    return end


def resets(sock: socket.socket) -> None:
    """RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def leaves_half_a_frame(sock: socket.socket) -> None:
    """Gone in the middle of a frame."""
    sock.sendall(frame(TEXT, b"half of this")[:9])
    sock.close()


ENDINGS = [
    closes_itself,
    is_closed_by(b"close"),
    resets,
    leaves_half_a_frame,
    is_closed_by(b"raise"),
    is_closed_by(b"thread"),
]


def read_to_end(sock: socket.socket) -> None:
    """Read until FIN or RST."""
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass


def connect(port: int) -> socket.socket:
    """Open a socket through the handshake."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(handshake())
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(4096)
    assert head.startswith(b"HTTP/1.1 101 ")
    return sock


def run_clients(port: int, share: range, stay: list[socket.socket]) -> None:
    """Make a share of the connections; every seventh stays until the server stops."""
    for number in share:
        sock = connect(port)
        way = number % (len(ENDINGS) + 1)
        if way < len(ENDINGS):
            ENDINGS[way](sock)
        else:
            stay.append(sock)


@pytest.fixture
def many_descriptors() -> None:
    """Both ends of what stays until the shutdown are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 16_384)), hard))


async def test_each_upgrade_has_exactly_one_disconnect(
    many_descriptors: None, error_log: list[LogRecord]
) -> None:
    endings = Endings()
    stay: list[socket.socket] = []
    closer = threading.Thread(target=endings.close_from_thread)
    closer.start()
    async with serve(endings.handle, port=0, backlog=4096, drain_timeout=5.0) as server:
        share = CONNECTIONS // CLIENTS
        await asyncio.gather(
            *(
                asyncio.to_thread(run_clients, server.port, range(i * share, (i + 1) * share), stay)
                for i in range(CLIENTS)
            )
        )
        endings.doomed.put(None)
        await asyncio.to_thread(closer.join)
        answered = [sock for i, sock in enumerate(stay) if i % 2]
        readers = asyncio.to_thread(answer_closes, answered)
        _, codes = await asyncio.gather(server.close(), readers)
    for sock in stay:
        sock.close()
    assert set(codes) == {1001}
    assert len(endings.upgraded) == len(set(endings.upgraded)) == CONNECTIONS
    assert set(endings.disconnected) == set(endings.upgraded)
    assert set(endings.disconnected.values()) == {1}
    assert {1000, 1001, 1006, 1011, 4000} <= set(endings.codes)


def answer_closes(socks: list[socket.socket]) -> list[int]:
    """Answer the server's Close on each; return the codes."""
    codes = []
    for sock in socks:
        head = sock.recv(4, socket.MSG_WAITALL)
        codes.append(int.from_bytes(head[2:4], "big"))
        sock.sendall(frame(CLOSE, head[2:4]))
    return codes
