"""The client's end of TLS, for a peer whose bytes a test delivers by hand."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator

from tests.connection.peer import REQUEST, App, Frame, Peer, frames_of


class TlsEnd:
    """TLS between a test and a peer.

    Args:
        app: the application to connect to.
        context: the client's.

    Attributes:
        peer: what carries the ciphertext.
    """

    def __init__(self, app: App, context: ssl.SSLContext) -> None:
        self.app = app
        self.peer: Peer = app.connect()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=False, server_hostname="localhost"
        )
        self._unread = b""

    # --- the handshake ----------------------------------------------------------------------

    def flights(self) -> Iterator[bytes]:
        """Yield what the handshake has to send, each when what came before has been answered."""
        while True:
            self._incoming.write(self.peer.take())
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
            flight = self._outgoing.read()
            if not flight:
                return
            yield flight

    def hello(self) -> bytes:
        """Return the ClientHello."""
        return next(self.flights())

    def shake(self) -> None:
        """Do the whole handshake."""
        for flight in self.flights():
            self.peer.send(flight)

    def open(self) -> None:
        """Do the handshakes of TLS and of WebSocket."""
        self.shake()
        self.send(REQUEST)
        self.expect_upgrade()

    def expect_upgrade(self) -> None:
        """Read the 101."""
        head, mark, self._unread = self.read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert mark
        self.peer.socket = self.app.upgraded[-1]

    # --- out --------------------------------------------------------------------------------

    def seal(self, *parts: bytes) -> bytes:
        """Return the records of these parts, one or more for each."""
        for part in parts:
            while part:
                part = part[self.tls.write(part) :]
        return self._outgoing.read()

    def send(self, *parts: bytes) -> None:
        """Send these parts in one segment."""
        self.peer.send(self.seal(*parts))

    def close_notify(self) -> bytes:
        """Return the alert that says that nothing follows."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._outgoing.read()

    # --- in ---------------------------------------------------------------------------------

    def read(self) -> bytes:
        """Return what came, in plain.

        Raises:
            ssl.SSLError: the server has sent an alert.
        """
        self._incoming.write(self.peer.take())
        parts = [self._unread]
        self._unread = b""
        while True:
            try:
                part = self.tls.read(65536)
            except ssl.SSLWantReadError:
                return b"".join(parts)
            except ssl.SSLZeroReturnError:
                part = b""
            if not part:
                self.is_over = True
                return b"".join(parts)
            parts.append(part)

    is_over = False
    """The server has said that nothing follows."""

    def frames(self) -> list[Frame]:
        """Return the frames that came and are complete."""
        frames, self._unread = frames_of(self.read())
        return frames
