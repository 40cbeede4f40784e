"""What brokers are told and say, as bytes: for a load that costs next to nothing itself."""

from __future__ import annotations

import selectors
import socket
from typing import Protocol

from .brokers import Broker

ANSWER = b"pong\r\n"  # in capitals or not


class Wire(Protocol):
    """One broker's protocol."""

    def greeting(self) -> bytes:
        """What a client says first."""

    def subscribe(self, subject: str, number: int) -> bytes:
        """Ask for a subject, as a client's subscription of that number."""

    def unsubscribe(self, subject: str, number: int) -> bytes:
        """Ask for no more of it."""

    def publish(self, subject: str, payload: bytes) -> bytes:
        """Publish a message."""

    def delivered(self, subject: str, number: int, payload: bytes) -> bytes:
        """What a subscriber gets of that."""

    @property
    def question(self) -> bytes:
        """What anybody may ask at any time, and is answered with `pong`."""


class NatsWire:
    """The text protocol of NATS."""

    def greeting(self) -> bytes:
        """As of `Wire`; the sender gets no copy of its own messages."""
        return b'CONNECT {"verbose":false,"echo":false}\r\n'

    def subscribe(self, subject: str, number: int) -> bytes:
        """As of `Wire`."""
        return f"SUB {subject} {number}\r\n".encode()

    def unsubscribe(self, subject: str, number: int) -> bytes:
        """As of `Wire`."""
        return f"UNSUB {number}\r\n".encode()

    def publish(self, subject: str, payload: bytes) -> bytes:
        """As of `Wire`."""
        return f"PUB {subject} {len(payload)}\r\n".encode() + payload + b"\r\n"

    def delivered(self, subject: str, number: int, payload: bytes) -> bytes:
        """As of `Wire`."""
        return f"MSG {subject} {number} {len(payload)}\r\n".encode() + payload + b"\r\n"

    @property
    def question(self) -> bytes:
        """As of `Wire`."""
        return b"PING\r\n"


class RedisWire:
    """RESP, version 2."""

    def greeting(self) -> bytes:
        """As of `Wire`."""
        return b""

    def subscribe(self, subject: str, number: int) -> bytes:
        """As of `Wire`."""
        return _array(b"SUBSCRIBE", subject.encode())

    def unsubscribe(self, subject: str, number: int) -> bytes:
        """As of `Wire`."""
        return _array(b"UNSUBSCRIBE", subject.encode())

    def publish(self, subject: str, payload: bytes) -> bytes:
        """As of `Wire`."""
        return _array(b"PUBLISH", subject.encode(), payload)

    def delivered(self, subject: str, number: int, payload: bytes) -> bytes:
        """As of `Wire`."""
        return _array(b"message", subject.encode(), payload)

    @property
    def question(self) -> bytes:
        """As of `Wire`."""
        return _array(b"PING")


def _array(*parts: bytes) -> bytes:
    counted = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%b" % (len(parts), counted)


class Crowd:
    """Connections to a broker, read together by the one thread that uses this.

    Args:
        broker: where to.
        wire: its protocol.
        count: how many.
    """

    def __init__(self, broker: Broker, wire: Wire, count: int) -> None:
        self.wire = wire
        self.sockets: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._scratch = bytearray(1 << 18)
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", broker.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(wire.greeting())
            self._selector.register(sock, selectors.EVENT_READ)
            self.sockets.append(sock)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for sock in self.sockets:
            sock.close()

    def read(self, size: int) -> None:
        """Read until so many bytes have come on all connections together."""
        while size > 0:
            ready = self._selector.select(10.0)
            if not ready:
                raise TimeoutError(f"{size} bytes of a broker do not come")
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                got = key.fileobj.recv_into(self._scratch)
                if not got:
                    raise ConnectionError("the broker has closed a connection")
                size -= got

    def settle(self) -> None:
        """Wait until the broker has done all that every connection has asked for."""
        for sock in self.sockets:
            settle(sock, self.wire)


def settle(sock: socket.socket, wire: Wire, words: bytes = b"") -> None:
    """Say something and wait until the broker has done all that this connection has asked for."""
    sock.sendall(words + wire.question)
    tail = b""
    while ANSWER not in tail.lower():
        got = sock.recv(1 << 18)
        if not got:
            raise ConnectionError("the broker has closed a connection")
        tail = tail[-len(ANSWER) :] + got
