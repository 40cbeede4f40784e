"""`python -m benchmarks.scale.pacer BROKER PORT RATE COUNT SIZE`: one message at a time, evenly."""

from __future__ import annotations

import socket
import sys
import time

from .measure_brokers import SUBJECT, make_letter
from .wires import NatsWire, RedisWire, Wire, settle

_SPIN = 0.0002  # seconds before a message in which sleeping would be late
WIRES: dict[str, Wire] = {"nats": NatsWire(), "redis": RedisWire()}


def speak(wire: Wire, port: int, rate: float, count: int, size: int) -> float:
    """Publish so many messages, so many a second at most; return the rate that it was."""
    message = wire.publish(SUBJECT, make_letter(size))
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(wire.greeting())
        settle(sock, wire)
        began = due = time.perf_counter()
        for _ in range(count):
            left = due - time.perf_counter()
            if left > _SPIN:
                time.sleep(left - _SPIN)
            while time.perf_counter() < due:
                pass
            sock.sendall(message)
            due = max(due + 1.0 / rate, time.perf_counter())  # late ones do not come together
        took = time.perf_counter() - began
        settle(sock, wire)  # closing early might lose something
    return count / took


if __name__ == "__main__":
    name, *numbers = sys.argv[1:]
    port, rate, count, size = map(int, numbers)
    print(speak(WIRES[name], port, rate, count, size))
