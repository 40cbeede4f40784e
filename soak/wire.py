"""The client's side of the wire, as little as is needed."""

from __future__ import annotations

import os
import socket

from wsgroups.codec.frames import Decoder, encode_frame

TEXT, CLOSE = 1, 8
NORMAL = (1000).to_bytes(2, "big")
PATIENCE = 30.0  # seconds


class LostError(Exception):
    """The connection is not what it should be; the message says why."""


def handshake(path: str) -> bytes:
    """Return an opening handshake."""
    return (
        f"GET {path} HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "\r\n"
    ).encode()


def text(message: str) -> bytes:
    """Return a text message, masked."""
    return encode_frame(TEXT, message.encode(), mask=os.urandom(4))


def close() -> bytes:
    """Return a Close frame, masked."""
    return encode_frame(CLOSE, NORMAL, mask=os.urandom(4))


class Socket:
    """A blocking WebSocket that asks and is answered."""

    def __init__(self, port: int, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = Decoder(expect_mask=False, max_message_size=1 << 20)
        self._socket.sendall(handshake(path))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._receive(1)
        if not head.startswith(b"HTTP/1.1 101 "):
            raise LostError(f"refused: {head[:100]!r}")

    def _receive(self, size: int) -> bytes:
        try:
            data = self._socket.recv(size)
        except OSError as error:
            raise LostError(str(error)) from error
        if not data:
            raise LostError("end of stream")
        return data

    def ask(self, message: str) -> str:
        """Send a message and return the next one that comes.

        Raises:
            LostError: when the connection ends, or nothing comes for half a minute.
        """
        try:
            self._socket.sendall(text(message))
        except OSError as error:
            raise LostError(str(error)) from error
        while True:
            for name, value in self._decoder.feed(self._receive(1 << 16)):
                if name == "text":
                    return str(value)
                if name in ("close", "fail"):
                    raise LostError(f"{name} {value!r}")

    def close(self) -> None:
        """Do the closing handshake."""
        try:
            self._socket.sendall(close())
            while self._socket.recv(1 << 16):
                pass
        except OSError:
            pass
        finally:
            self._socket.close()
