"""Clients in a namespace of their own: `half_open_client.py HOST`.

Says `made`, waits for a line with the port, opens 20 sockets, says `open`, and answers pings until
its input ends.
"""

import selectors
import socket
import sys

from tests.support import PING, PONG, TEXT, frame, handshake

COUNT = 20


def main(host: str) -> None:
    print("made", flush=True)
    port = int(sys.stdin.readline())
    with selectors.DefaultSelector() as selector:
        for number in range(COUNT):
            sock = socket.create_connection((host, port), timeout=10)
            sock.sendall(handshake("/ws/push" if number % 2 else "/ws/room"))
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(1)
            if number == 0:
                sock.sendall(frame(TEXT, b"hello"))
                assert sock.recv(7, socket.MSG_WAITALL)[2:] == b"hello"
            selector.register(sock, selectors.EVENT_READ)
        print("open", flush=True)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj.recv(100)[0] & 0x0F == PING:
                    key.fileobj.sendall(frame(PONG))


if __name__ == "__main__":
    main(sys.argv[1])
