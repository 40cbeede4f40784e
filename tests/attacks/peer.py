"""A client that blocks and says just what an attack wants said."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.support import CLOSE, TEXT, frame, handshake

PATIENCE = 10.0  # seconds; nothing here takes so long unless it is broken


class Peer:
    """One connection to a server of this machine.

    Args:
        port: of the server.
        path: upgraded there at once; None to say nothing yet.
        headers: further lines of that request.
        receive_buffer: bytes that the kernel keeps for us; as it likes by default.
        tls: what to speak TLS with; None for plain text.

    Attributes:
        was_reset: the server broke the connection off; without that, it ended it with FIN.
    """

    def __init__(
        self,
        port: int,
        path: str | None = None,
        *,
        headers: tuple[str, ...] = (),
        receive_buffer: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.was_reset = False
        self._buffer = b""
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE)
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        if path is not None:
            self.send(handshake(path, *headers))
            answer = self.read_to(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101 "), answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self.sock.close()

    # --- out --------------------------------------------------------------------------------

    def send(self, data: bytes) -> bool:
        """Send it all; False when the server has broken the connection off."""
        try:
            self.sock.sendall(data)
        except ConnectionError:
            self.was_reset = True
            return False
        return True

    def say(self, message: str) -> None:
        """Send a text message."""
        self.send(frame(TEXT, message.encode()))

    def send_unread(self, data: bytes, times: int, idle: float) -> int:
        """Send so often and read nothing.

        Returns:
            how many bytes the kernel took until all was sent, until it took nothing for `idle`
            seconds, or until the connection broke.
        """
        self.sock.settimeout(idle)
        rest = memoryview(data)
        done = 0
        try:
            while times:
                sent = self.sock.send(rest)
                done += sent
                rest = rest[sent:]
                if not rest:
                    times -= 1
                    rest = memoryview(data)
        except TimeoutError:
            pass
        except ConnectionError:
            self.was_reset = True
        self.sock.settimeout(PATIENCE)
        return done

    # --- in ---------------------------------------------------------------------------------

    def _more(self) -> bool:
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            self.was_reset = True
            return False
        self._buffer += data
        return bool(data)

    def read(self, size: int) -> bytes:
        """Return so many bytes."""
        while len(self._buffer) < size:
            assert self._more(), f"closed after {self._buffer[-100:]!r}"
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def read_to(self, mark: bytes) -> bytes:
        """Return what comes up to and with `mark`."""
        while mark not in self._buffer:
            assert self._more(), f"closed after {self._buffer[-100:]!r}"
        return self.read(self._buffer.index(mark) + len(mark))

    def read_all(self) -> bytes:
        """Return what comes until the server closes."""
        parts = [self._buffer]
        self._buffer = b""
        while self._more():
            parts.append(self._buffer)
            self._buffer = b""
        return b"".join(parts)

    def has_ended(self) -> bool:
        """True when the server has closed; what has come so far stays to be read."""
        self.sock.setblocking(False)
        try:
            return not self._more()
        except BlockingIOError:
            return False
        finally:
            self.sock.settimeout(PATIENCE)

    def status(self) -> int:
        """Return the status of the response that comes before the server closes; 0 for none."""
        data = self.read_all()
        return int(data.split(b" ", 2)[1]) if data.startswith(b"HTTP/1.1 ") else 0

    def frame(self) -> tuple[int, bytes]:
        """Return the opcode and payload of the next frame."""
        first, second = self.read(2)
        size = second
        if second == 126:
            size = int.from_bytes(self.read(2), "big")
        elif second == 127:
            size = int.from_bytes(self.read(8), "big")
        return first & 0x0F, self.read(size)

    def text(self) -> str:
        """Return the text message that comes next."""
        opcode, payload = self.frame()
        assert opcode == TEXT, (opcode, payload)
        return payload.decode()

    def code(self) -> int:
        """Return the code of the Close frame that comes, after whatever other frames."""
        while True:
            opcode, payload = self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else 1005


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition()` holds; `what` says what is wrong when it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
