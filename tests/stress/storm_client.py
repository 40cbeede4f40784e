"""The clients of the thread storm, in a process of their own: `storm_client.py PORT STABLE`.

Opens STABLE sockets that stay, and opens and closes others all the time. Reads `THREAD NUMBER`
messages on the stable ones, each thread's numbers counting up from 0, until one says `end`; then
prints, as JSON, how many came for each socket and thread, and what was out of order.
"""

import contextlib
import json
import selectors
import socket
import struct
import sys
import threading
from collections import Counter

from tests.support import CLOSE, frame, handshake


class Reader:
    """One stable socket: counts what each thread sent to it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.ended = False
        self._buffer = b""

    def read(self) -> None:
        """Take what has come; the frames are short and whole in the end."""
        data = self.sock.recv(1 << 18)
        if not data:
            self.wrong.append("closed early")
            self.ended = True
            return
        data = self._buffer + data
        position = 0
        while len(data) - position >= 2 and len(data) - position >= 2 + data[position + 1]:
            end = position + 2 + data[position + 1]
            self._take(data[position + 2 : end].decode())
            position = end
        self._buffer = data[position:]

    def _take(self, message: str) -> None:
        if message == "end":
            self.ended = True
            return
        thread, number = message.split()
        if int(number) != self.counts[thread]:
            self.wrong.append(f"thread {thread}: {number} after {self.counts[thread]}")
        self.counts[thread] += 1


def connect(port: int, path: str) -> socket.socket:
    """Open a socket through the handshake, reading nothing behind it."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(handshake(path))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    return sock


def come_and_go(port: int, stop: threading.Event) -> None:
    """Open and close sockets that messages are sent to as well."""
    ends = [frame(CLOSE, struct.pack("!H", 1000)), b"", b"\x81"]
    number = 0
    while not stop.is_set():
        with contextlib.suppress(ConnectionError), connect(port, "/passing") as sock:
            sock.recv(100)
            sock.sendall(ends[number % 3])
        number += 1


def main(port: int, stable: int) -> None:
    """Read until every stable socket has seen `end`."""
    stop = threading.Event()
    passing = threading.Thread(target=come_and_go, args=(port, stop))
    readers = [Reader(connect(port, f"/stable/{i}")) for i in range(stable)]
    print("ready", flush=True)
    passing.start()
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader.sock, selectors.EVENT_READ, reader)
        while not all(reader.ended for reader in readers):
            for key, _ in selector.select():
                key.data.read()
                if key.data.ended:
                    selector.unregister(key.data.sock)
    stop.set()
    passing.join()
    print(json.dumps([{"counts": r.counts, "wrong": r.wrong[:5]} for r in readers]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
