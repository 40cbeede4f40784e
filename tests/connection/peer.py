"""An application served from memory, and the peers that talk to it byte by byte."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from logging import LogRecord
from typing import Any, TypeAlias

from wsgroups import CloseInfo, ConnectionFlags, Handle, HandlerStatus, Request, Side, WebSocket
from wsgroups.codec.frames import encode_frame
from wsgroups.connection.connection import Connection
from wsgroups.connection.http import HttpLimits, HttpPhase
from wsgroups.drivers.memory import MemoryDriver
from wsgroups.policy import ServerConfig

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NOW = ConnectionFlags.DISCONNECT_IMMEDIATELY
MASK = b"\x37\xfa\x21\x3d"

Errors: TypeAlias = list[LogRecord]
Frame: TypeAlias = tuple[int, bytes]
OnMessage: TypeAlias = Callable[[Any, WebSocket], object]
OnEvent: TypeAlias = Callable[[WebSocket], object]
OnError: TypeAlias = Callable[[BaseException, WebSocket], object]

REQUEST = (
    b"GET /ws HTTP/1.1\r\n"
    b"Host: test\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"\r\n"
)


def client_frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """Return a masked frame."""
    return encode_frame(opcode, payload, final=final, mask=MASK)


def text(message: str) -> bytes:
    """Return a client's text message."""
    return client_frame(TEXT, message.encode())


def texts(messages: Iterable[object]) -> bytes:
    """Return client's text messages, one behind the other."""
    return b"".join(text(str(message)) for message in messages)


def binary(message: bytes) -> bytes:
    """Return a client's binary message."""
    return client_frame(BINARY, message)


def close_body(code: int, reason: str = "") -> bytes:
    """Return the payload of a Close frame."""
    return code.to_bytes(2, "big") + reason.encode()


def close(code: int, reason: str = "") -> bytes:
    """Return a client's Close frame."""
    return client_frame(CLOSE, close_body(code, reason))


def frames_of(data: bytes) -> tuple[list[Frame], bytes]:
    """Return the complete frames of a server's stream and what follows them."""
    frames: list[Frame] = []
    position = 0
    while len(data) - position >= 2:
        first, size = data[position], data[position + 1]
        assert first & 0x70 == 0, "no reserved bit is ever set"
        assert first & 0x80, "a server of ours never fragments"
        assert size < 128, "a server does not mask"
        start = position + {126: 4, 127: 10}.get(size, 2)
        if size > 125:
            size = int.from_bytes(data[position + 2 : start], "big")
        if len(data) < start + size:
            break
        frames.append((first & 0x0F, data[start : start + size]))
        position = start + size
    return frames, data[position:]


class Peer:
    """The client's end of one connection.

    What is sent while the server does not read waits, as it would in the kernel.

    Attributes:
        connection: the server's end.
        socket: what its handlers get, once it is upgraded.
    """

    socket: WebSocket

    def __init__(self, app: App) -> None:
        self._app = app
        self._driver = app.driver
        self._inbox: list[bytes] = []
        self._unread = b""
        self.connection = app.driver.connect(app.accepted)

    # --- to the server ----------------------------------------------------------------------

    def send(self, *segments: bytes) -> None:
        """Let each segment arrive by itself, in a turn of its own."""
        self._inbox += segments
        self.deliver()

    def deliver(self) -> bool:
        """Let what waits arrive, while it is read; True when something did."""
        moved = False
        while self._inbox and self.is_read:
            self._driver.feed(self.connection, self._inbox.pop(0))
            moved = True
        return moved

    def say_goodbye(self) -> None:
        """Send a Close frame."""
        self.send(close(1000))

    def end_input(self) -> None:
        """Send FIN."""
        assert not self._inbox
        self._driver.end_input(self.connection)

    def reset(self) -> None:
        """Send RST."""
        self._driver.reset(self.connection)

    def set_window(self, size: int | None) -> None:
        """Take so many bytes more; None for any number."""
        self._driver.set_window(self.connection, size)

    # --- from the server --------------------------------------------------------------------

    def take(self) -> bytes:
        """Return the bytes that came."""
        return self._driver.take(self.connection)

    def pending(self) -> bytes:
        """Return the bytes that came and leave them there."""
        self._unread += self.take()
        return self._unread

    def received(self) -> list[Frame]:
        """Return the frames that came and are complete."""
        frames, self._unread = frames_of(self._unread + self.take())
        return frames

    def received_texts(self) -> list[str]:
        """Return the messages that came, all of them text."""
        frames = self.received()
        assert all(opcode == TEXT for opcode, _ in frames), frames
        return [payload.decode() for _, payload in frames]

    # --- what can be seen -------------------------------------------------------------------

    @property
    def is_read(self) -> bool:
        """True while the server takes what is sent."""
        return self._driver.is_reading(self.connection)

    @property
    def waiting(self) -> int:
        """How many bytes the server has not taken yet."""
        return sum(map(len, self._inbox))

    @property
    def got_fin(self) -> bool:
        return self._driver.has_sent_fin(self.connection)

    @property
    def is_closed(self) -> bool:
        return self._driver.is_closed(self.connection)

    @property
    def info(self) -> CloseInfo | None:
        return self.connection.close_info

    @property
    def ends(self) -> int:
        """How often the disconnect handler was called."""
        return self._app.ended.count(self.socket)


class App:
    """A group `room` behind `/ws`, served from memory.

    Args:
        text, binary: handlers of messages.
        connect, disconnect, error: handlers of events.
        enter: called with the new socket in the GET handler, after the upgrade.
        decode_json: the text handler gets JSON values.
        tls: what connections speak TLS with; None for plain text.
        policy: GroupPolicy options.

    Attributes:
        upgraded: the sockets of all upgrades, in order.
        ended: the sockets whose disconnect handler was called, in order.
    """

    def __init__(
        self,
        *,
        text: OnMessage | None = None,
        binary: OnMessage | None = None,
        connect: OnEvent | None = None,
        disconnect: OnEvent | None = None,
        error: OnError | None = None,
        enter: OnEvent | None = None,
        decode_json: bool = False,
        tls: ssl.SSLContext | None = None,
        **policy: Any,
    ) -> None:
        self.driver = MemoryDriver()
        self.handle = Handle()
        self.group = self.handle.group("room", **policy)
        self.peers: list[Peer] = []
        self.upgraded: list[WebSocket] = []
        self.ended: list[WebSocket] = []
        self._on_disconnect = disconnect
        self._enter = enter
        if text is not None:
            self.handle.websocket("room", kind="json" if decode_json else "text")(text)
        if binary is not None:
            self.handle.websocket("room", kind="binary")(binary)
        if connect is not None:
            self.handle.websocket_connect("room")(connect)
        if error is not None:
            self.handle.websocket_error("room")(error)
        self.handle.websocket_disconnect("room")(self._disconnected)
        self.handle.get("/ws")(self._upgrade)
        self._tls = tls
        self._endpoint = self.handle.endpoint("https" if tls else "http", 80)
        config = ServerConfig()
        self._limits = HttpLimits(
            max_header_line=config.max_header_line,
            max_head_size=config.max_head_size,
            max_body_size=config.max_body_size,
            max_headers=config.max_headers,
            handshake_timeout=config.handshake_timeout,
            keep_alive_timeout=config.keep_alive_timeout,
        )

    def accepted(self, connection: Connection) -> None:
        """Give a new connection its first phase."""
        HttpPhase(connection, self._endpoint, self._limits, None, self._tls)

    def _upgrade(self, request: Request) -> HandlerStatus:
        socket = request.send_upgrade("room")
        self.upgraded.append(socket)
        if self._enter is not None:
            self._enter(socket)
        return HandlerStatus.HANDLED

    def _disconnected(self, socket: WebSocket) -> None:
        self.ended.append(socket)
        if self._on_disconnect is not None:
            self._on_disconnect(socket)

    # --- peers ------------------------------------------------------------------------------

    def connect(self) -> Peer:
        """Return a peer that has sent nothing yet."""
        peer = Peer(self)
        self.peers.append(peer)
        return peer

    def open(self, behind: bytes = b"") -> Peer:
        """Return a peer that has its 101 and has taken it; `behind` came with its request."""
        peer = self.connect()
        peer.send(REQUEST + behind)
        head, rest, peer._unread = peer.take().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert rest
        peer.socket = self.upgraded[-1]
        return peer

    def run(self) -> None:
        """Turn until nothing is left to do for anyone."""
        while True:
            self.driver.run()
            if not [peer for peer in self.peers if peer.deliver()]:
                return

    def turn(self) -> None:
        """Do one turn of what is left."""
        self.driver.run_once()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.driver.advance(seconds)

    # --- the end ----------------------------------------------------------------------------

    def finish(self) -> None:
        """Break off what is open, and hold the application to what is true of every end."""
        for peer in self.peers:
            if not peer.is_closed:
                peer.reset()
        self.run()
        assert len(self.group) == 0
        assert sorted(map(int, self.ended)) == sorted(map(int, self.upgraded)), "one end each"
        for socket in self.upgraded:
            assert socket.is_dead()
            assert socket.close_info is not None
            assert socket.buffered_amount == 0
            assert WebSocket(socket.id).close_info is None, "no longer in the registry"


def echo(message: str | bytes, socket: WebSocket) -> None:
    """Send a message back."""
    socket.send(message)


def never(*_: object) -> None:
    """Fail: this handler was not to be called. The log shows it, which fails the test."""
    raise AssertionError("a handler was called")


def numbers(start: int, stop: int) -> list[str]:
    """Return numbers as the messages that they are."""
    return [str(i) for i in range(start, stop)]


def assert_failed(peer: Peer, code: int) -> None:
    """The peer was told the code, then FIN; the connection goes when the peer has ended too."""
    assert peer.received()[-1] == (CLOSE, close_body(code))
    assert peer.got_fin
    assert not peer.is_closed
    assert peer.info == CloseInfo(code, "", False, Side.LOCAL)
    assert peer.ends == 1
    peer.end_input()
    assert peer.is_closed
    assert peer.ends == 1


Serve: TypeAlias = Callable[..., App]
