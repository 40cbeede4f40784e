"""A server in a process of its own, and clients that one thread serves."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import resource
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

from tests.support import CLOSE, PATIENCE, PING, PONG, TEXT, frame, handshake

ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

# What no process of ours says, whatever is done to it.
_NEVER = re.compile("never retrieved|never awaited|Exception ignored|internal error|Fatal Python")


def wait_until(condition: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Wait for what nothing tells of, and fail when it does not come."""
    until = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.005)


class Service:
    """The application of these tests in a process of its own, for `with`.

    Args:
        options: of `application`; see there.
        arguments: what to run instead of it.
        prefix: a program that runs it.
        environment: variables of its own.
        output: where it writes to; by default a file, which `output` reads.
        is_checked: False when it may complain of what a test does.
    """

    def __init__(
        self,
        options: dict[str, Any] | None = None,
        *,
        arguments: Sequence[str] | None = None,
        prefix: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        output: int | None = None,
        is_checked: bool = True,
    ) -> None:
        self._is_checked = is_checked
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        if arguments is None:
            arguments = ("-m", "tests.faults.application", json.dumps(options or {}))
        self._process = subprocess.Popen(
            [*prefix, sys.executable, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYTHONUNBUFFERED": "1",
                "NO_COLOR": "1",
                "COLUMNS": "200",
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=self._file if output is None else output,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._process.pid
        self._port = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        output = self.output
        self._file.close()
        if kind is None and self._is_checked:
            assert not _NEVER.search(output), output

    @property
    def output(self) -> str:
        """What it has said up to now."""
        size = os.fstat(self._file.fileno()).st_size
        return os.pread(self._file.fileno(), size, 0).decode()

    def wait_for(self, pattern: str) -> str:
        """Wait until it has said something; return the first group."""
        found: re.Match[str] | None = None

        def is_said() -> bool:
            nonlocal found
            found = re.search(pattern, self.output)
            assert found or self.is_running, self.output
            return found is not None

        try:
            wait_until(is_said)
        except AssertionError as error:
            raise AssertionError(f"it never said {pattern!r}, but: {self.output}") from error
        assert found is not None
        return found[1]

    @property
    def port(self) -> int:
        """The port it listens on."""
        if not self._port:
            self._port = int(self.wait_for(r"listening on http://[^ ]*:(\d+) "))
        return self._port

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it stand still for a while."""
        self.send_signal(signal.SIGSTOP)
        wait_until(lambda: self._stat()[0] == "T")
        try:
            yield
        finally:
            self.send_signal(signal.SIGCONT)

    def stop_for(self, seconds: float) -> None:
        """Let it stand still so long."""
        with self.stopped():
            time.sleep(seconds)

    def wait(self, patience: float = PATIENCE) -> int:
        """Return its exit code."""
        return self._process.wait(patience)

    def limit(self, kind: int, most: int) -> None:
        """Set a limit of its resources."""
        _, hard = resource.prlimit(self.pid, kind)
        resource.prlimit(self.pid, kind, (most, hard))

    # --- what it takes ----------------------------------------------------------------------

    def _stat(self) -> list[str]:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()

    def cpu(self) -> float:
        """The seconds of CPU that it has used."""
        user, system = self._stat()[11:13]
        return (int(user) + int(system)) / _TICKS

    def memory(self) -> int:
        """The bytes of memory that it has."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE

    def address_space(self) -> int:
        """The bytes of addresses that it has."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[0]) * _PAGE

    def descriptors(self) -> int:
        """How many descriptors it has."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stats(self) -> dict[str, Any]:
        """What the application says of itself."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/stats")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer


class Peer:
    """One client.

    Attributes:
        status: of the response to its handshake; 0 when it was dropped instead.
        messages: what came, when it is kept.
        count: how many messages came.
        code: of the Close frame that came; 1005 when it had none.
        reason: the text beside it.
        answers_pings, answers_close: what it does by itself.
        ended: "fin" or "reset" once the server has ended the connection, "left" when it went first.
    """

    def __init__(
        self, sock: socket.socket, *, answers_pings: bool, answers_close: bool, keeps: bool
    ) -> None:
        self.sock = sock
        self.status = 0
        self.messages: list[bytes] = []
        self.count = 0
        self.pings = 0
        self.code: int | None = None
        self.reason = b""
        self.ended: str | None = None
        self.answers_pings = answers_pings
        self.answers_close = answers_close
        self._keeps = keeps
        self._in = b""
        self._out = b""

    @property
    def is_open(self) -> bool:
        """True while it has heard of no end."""
        return self.status == 101 and self.code is None and self.ended is None

    def send(self, message: str) -> None:
        """Send a text message."""
        self.send_bytes(frame(TEXT, message.encode()))

    def send_bytes(self, data: bytes) -> None:
        """Send these bytes, now or when there is room."""
        self._out += data
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the kernel takes it."""
        while self._out and self.ended is None:
            try:
                self._out = self._out[self.sock.send(self._out) :]
            except BlockingIOError:
                return
            except ConnectionError:
                self._out = b""  # the reason is still to be read

    def pump(self) -> None:
        """Take what has come."""
        for _ in range(16):
            if self.ended is not None:
                return
            try:
                data = self.sock.recv(1 << 16)
            except BlockingIOError:
                return
            except ConnectionError:
                self.ended = "reset"
                return
            if not data:
                self.ended = "fin"
                return
            self._in += data
            self._parse()

    def _parse(self) -> None:
        data, position = self._in, 0
        if not self.status:
            head, found, rest = data.partition(b"\r\n\r\n")
            if not found:
                return
            self.status = int(head.split(b" ", 2)[1])
            data = rest
        if self.status != 101:
            self._in = b""
            return
        while len(data) - position >= 2:
            size, start = data[position + 1], position + 2
            if size > 125:
                start += 2 if size == 126 else 8
                size = int.from_bytes(data[position + 2 : start], "big")
            if len(data) < start + size:
                break
            self._take(data[position] & 0x0F, data[start : start + size])
            position = start + size
        self._in = data[position:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.pings += 1
            if self.answers_pings:
                self.send_bytes(frame(PONG, payload))
        elif opcode == CLOSE:
            self.code = int.from_bytes(payload[:2], "big") if payload else 1005
            self.reason = payload[2:]
            if self.answers_close:
                self.send_bytes(frame(CLOSE, payload[:2]))
        elif opcode < CLOSE:
            self.count += 1
            if self._keeps:
                self.messages.append(payload)


class Clients:
    """Clients of one server or several, served by the thread that waits for something; for `with`.

    Args:
        ports: the servers', on this machine; one after the other gets the next client.
    """

    def __init__(self, *ports: int) -> None:
        self._ports = itertools.cycle(ports)
        self._selector = selectors.DefaultSelector()
        self.peers: list[Peer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for peer in self.peers:
            peer.sock.close()

    def begin(
        self,
        path: str = "/ws/room",
        *,
        ahead: bytes | None = None,
        receive_buffer: int | None = None,
        answers_pings: bool = True,
        answers_close: bool = True,
        keeps: bool = True,
    ) -> Peer:
        """Connect and ask; the answer comes later."""
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        peer = Peer(sock, answers_pings=answers_pings, answers_close=answers_close, keeps=keeps)
        self.peers.append(peer)
        sock.settimeout(PATIENCE)
        try:
            sock.connect(("127.0.0.1", next(self._ports)))
            sock.sendall(handshake(path) if ahead is None else ahead)
        except ConnectionError:
            peer.ended = "reset"
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, peer)
        return peer

    def open(self, path: str = "/ws/room", **options: Any) -> Peer:
        """Return a client that is upgraded."""
        peer = self.begin(path, **options)
        self.until(lambda: peer.status or peer.ended)
        assert peer.status == 101, (peer.status, peer.ended)
        return peer

    def open_many(self, count: int, path: str = "/ws/room", **options: Any) -> list[Peer]:
        """Return so many."""
        peers = [self.begin(path, **options) for _ in range(count)]
        self.until(lambda: all(peer.status == 101 for peer in peers))
        return peers

    def deafen(self, peer: Peer) -> None:
        """Read nothing more for this one."""
        self._selector.unregister(peer.sock)

    def leave(self, peer: Peer) -> None:
        """Close the socket, without a word."""
        if peer.sock.fileno() >= 0:
            self._selector.unregister(peer.sock)
            peer.sock.close()
        peer.ended = peer.ended or "left"

    def heal(self, peer: Peer) -> None:
        """Read again."""
        self._selector.register(peer.sock, selectors.EVENT_READ, peer)

    def turn(self, timeout: float = 0.005) -> None:
        """Serve whom there is something for."""
        for key, _ in self._selector.select(timeout):
            key.data.pump()
            if key.data.ended is not None:
                self.leave(key.data)
        for peer in self.peers:
            if peer._out:
                peer.flush()

    def until(self, condition: Callable[[], Any], patience: float = PATIENCE) -> None:
        """Serve them until something holds."""
        until = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < until, "it never came"
            self.turn()

    def during(self, seconds: float) -> None:
        """Serve them for a time, in which something is not to happen."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.turn(min(left, 0.02))

    def ask(self, peer: Peer, message: str = "hello") -> float:
        """Have a message sent back; return the seconds it took."""
        began = time.monotonic()
        before = peer.count
        peer.send(message)
        self.until(lambda: peer.count > before or not peer.is_open)
        assert peer.is_open, (peer.code, peer.ended)
        return time.monotonic() - began

    def ask_each(self, peers: Sequence[Peer], message: str = "hello") -> list[Peer]:
        """Have a message of each sent back; return those that closed instead."""
        wanted = [(peer, peer.count + 1) for peer in peers]
        for peer in peers:
            peer.send(message)
        self.until(lambda: all(p.count >= count or not p.is_open for p, count in wanted))
        return [peer for peer in peers if not peer.is_open]

    def ask_all(self, peers: Sequence[Peer], message: str = "hello") -> None:
        """Have a message of each sent back."""
        lost = self.ask_each(peers, message)
        assert not lost, [(peer.code, peer.ended) for peer in lost]

    def close(self, peer: Peer, code: int = 1000) -> None:
        """Close by handshake, and wait for the end."""
        peer.answers_close = False
        peer.send_bytes(frame(CLOSE, code.to_bytes(2, "big")))
        self.until(lambda: peer.ended)
