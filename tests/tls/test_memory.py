"""What TLS costs: an idle socket, a busy one, handshakes that fail. In a process of their own."""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.support import BINARY, TEXT, frame, handshake

ROOT = Path(__file__).parents[2]
KB = 1024
IDLE = 45 * KB  # HARDENING: TLS-03


class Target:
    """`python -m tests.tls.target`: a server that says how much memory it has."""

    def __init__(self, certificates: Certificates, **options: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.tls.target", json.dumps(certificates.options | options)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.certificates = certificates
        self.context = certificates.client()
        self.port = self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def memory(self) -> int:
        """Return the bytes that are this process's own, after it has collected its garbage."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        assert self._process.wait(20) == 0
        self._process.stdout.close()

    def dial(self) -> socket.socket:
        """Return a connection that has said nothing yet."""
        return socket.create_connection(("127.0.0.1", self.port), 20)

    def connect(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
        """Return a connection that is upgraded."""
        context = self.certificates.client()
        context.minimum_version = context.maximum_version = version
        client = context.wrap_socket(self.dial(), server_hostname="localhost")
        client.sendall(handshake("/ws"))
        assert client.recv(1000).startswith(b"HTTP/1.1 101 ")
        return client


@pytest.fixture
def target(certificates: Certificates) -> Iterator[Target]:
    target = Target(certificates)
    yield target
    target.close()


def echo(client: ssl.SSLSocket, message: bytes) -> None:
    """Send a message and read it back."""
    client.sendall(frame(BINARY if message else TEXT, message))
    left = len(message) + (2 if len(message) < 126 else 4 if len(message) < 1 << 16 else 10)
    while left:
        left -= len(client.recv(left))


@pytest.mark.parametrize("size", [0, 100_000], ids=["idle", "once-busy"])
def test_a_socket_that_says_nothing(target: Target, version: ssl.TLSVersion, size: int) -> None:
    """TLS-03. A BIO keeps the memory that it has once used."""
    count = 400
    with contextlib.ExitStack() as stack:
        for _ in range(50):  # what the process needs once
            client = stack.enter_context(target.connect(version))
            echo(client, bytes(size))
        before = target.memory()
        for _ in range(count):
            client = stack.enter_context(target.connect(version))
            echo(client, bytes(size))
        each = (target.memory() - before) / count
    print(f"{version.name}: {each / KB:.1f} KiB a socket")
    assert each <= IDLE


def test_a_connection_that_has_not_begun_costs_no_tls(target: Target) -> None:
    """RX-04 over TLS: nothing is made before the first byte."""
    count = 400
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(target.dial())
        stack.enter_context(target.connect())
        before = target.memory()
        for _ in range(count):
            stack.enter_context(target.dial())
        stack.enter_context(target.connect())  # those before have been accepted
        each = (target.memory() - before) / count
    print(f"{each / KB:.1f} KiB a connection")
    assert each <= 4 * KB


# --- handshakes that fail ----------------------------------------------------------------------


def _garbage(target: Target) -> None:
    with target.dial() as sock:
        sock.sendall(b"\x80garbage" * 20)
        while sock.recv(1000):
            pass


def _plain_http(target: Target) -> None:
    with target.dial() as sock:
        sock.sendall(handshake("/ws"))
        while sock.recv(1000):
            pass


def _hello(target: Target) -> tuple[ssl.SSLObject, ssl.MemoryBIO, bytes]:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = target.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return client, incoming, outgoing.read()


def _half_a_hello(target: Target) -> None:
    with target.dial() as sock:
        sock.sendall(_hello(target)[2][:200])


def _left_after_the_hello(target: Target) -> None:
    with target.dial() as sock:
        sock.sendall(_hello(target)[2])
        assert sock.recv(1000)


def _broken_finish(target: Target) -> None:
    with target.dial() as sock:
        sock.sendall(_hello(target)[2])
        assert sock.recv(10_000)
        sock.sendall(b"\x17\x03\x03\x00\x35" + bytes(0x35))
        while sock.recv(1000):
            pass


def _does_not_trust_us(target: Target) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), target.dial() as sock:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(sock, server_hostname="localhost")


def _no_common_cipher(target: Target) -> None:
    context = target.certificates.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")
    with pytest.raises(ssl.SSLError), target.dial() as sock:
        context.wrap_socket(sock, server_hostname="localhost")


FAILURES = [
    _garbage,
    _plain_http,
    _half_a_hello,
    _left_after_the_hello,
    _broken_finish,
    _does_not_trust_us,
    _no_common_cipher,
]


def fail(target: Target, count: int) -> None:
    """Fail so many handshakes, of all kinds in turn."""
    for number in range(count):
        FAILURES[number % len(FAILURES)](target)


def test_handshakes_that_fail_leave_nothing(target: Target) -> None:
    """TLS-05. `python -m tests.tls 10000` does it with more of them and shows the figures."""
    fail(target, 700)
    before = target.memory()
    fail(target, 4900)
    assert target.memory() - before <= 128 * KB
