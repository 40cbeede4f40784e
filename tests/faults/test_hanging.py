"""Handlers that do not return, and peers that go on sending."""

import signal

import pytest

from tests.faults.service import Clients, Peer, Service
from tests.support import BINARY, PING, TEXT, frame

FLOOD = 24 << 20


def flood(clients: Clients, peer: Peer, size: int) -> int:
    """Send until nobody takes it any more; return the bytes that were taken."""
    message = frame(TEXT, bytes(b"x" * (16 << 10)))
    peer.send_bytes(message * (size // len(message)))
    last = -1
    while last != len(peer._out):
        last = len(peer._out)
        clients.during(0.1)
    peer._out = b""
    return size - last


def test_a_peer_that_sends_to_a_handler_without_end_is_held_back() -> None:
    policy = {"ping_interval": 0.3, "ping_timeout": 0.3, "close_timeout": 0.5, "handler_grace": 0.5}
    with Service({"policy": policy}) as service, Clients(service.port) as clients:
        canary = clients.open()
        stuck = clients.open("/ws/stuck")
        before = service.memory()
        taken = flood(clients, stuck, FLOOD)
        assert taken < FLOOD // 2, "the rest waits in the sender"
        assert service.memory() - before < 8 << 20, "64 messages, and what was received with them"
        clients.during(1.0)  # three times what a silent peer has
        assert stuck.is_open, "while it is not read, its silence says nothing"
        clients.ask(canary)
        service.send_signal(signal.SIGTERM)
        clients.until(lambda: stuck.code and canary.code)
        assert (stuck.code, canary.code) == (1001, 1001)
        assert service.wait(3) == 0


def test_a_peer_behind_a_handler_without_end_is_still_answered_and_may_go() -> None:
    with Service({"policy": {"handler_grace": 0.2}}) as service, Clients(service.port) as clients:
        stuck = clients.open("/ws/stuck")
        stuck.send("one")
        stuck.send("two")
        stuck.send_bytes(frame(PING, b"?"))
        stuck.send_bytes(frame(BINARY, b""))  # of the other kind: nobody handles it
        clients.until(lambda: stuck.code)
        assert stuck.code == 1003
        other = clients.open("/ws/stuck")
        other.send("one")
        clients.close(other)
        assert other.code == 1000
        clients.until(lambda: service.stats()["parted"].get("stuck") == 2)
        service.send_signal(signal.SIGTERM)
        assert service.wait(5) == 0


@pytest.mark.parametrize("group", ["stuck", "stubborn"])
def test_a_second_signal_does_not_wait_for_handlers(group: str) -> None:
    with Service({"server": {"drain_timeout": 20}}, is_checked=False) as service:
        with Clients(service.port) as clients:
            stuck = clients.open(f"/ws/{group}", answers_close=False)
            stuck.send("wait")
            clients.ask(clients.open())
            service.send_signal(signal.SIGTERM)
            clients.until(lambda: stuck.code)
            service.send_signal(signal.SIGTERM)
            clients.until(lambda: stuck.ended)
        assert service.wait(1) == 0
