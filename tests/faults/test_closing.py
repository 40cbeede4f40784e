"""Ends and signs of life against a server process: what memory shows, with a real kernel."""

import signal

import pytest

from tests.faults.service import Clients, Service, wait_until
from tests.support import PONG, TEXT, frame


def test_a_million_pongs_that_nobody_asked_for_cost_nothing() -> None:
    with Service() as service, Clients(service.port) as clients:
        canary, peer = clients.open(), clients.open()
        clients.ask(peer)
        before = service.memory()
        pongs = frame(PONG, b"?") * 10_000
        for _ in range(100):
            peer.send_bytes(pongs)
            clients.until(lambda: not peer._out)
            clients.ask(canary)
        clients.ask(peer)
        assert service.memory() - before < 1 << 20


@pytest.mark.parametrize("half", [b"\x81", b"\x81\xfe\x10", frame(TEXT, b"half of this")[:9]])
def test_a_connection_that_ends_in_the_middle_of_a_frame_delivers_nothing(half: bytes) -> None:
    with Service() as service, Clients(service.port) as clients:
        canary = clients.open()
        for _ in range(20):
            clients.open().send_bytes(half)
            clients.leave(clients.peers[-1])
        wait_until(lambda: service.stats()["codes"].get("1006") == 20)
        clients.ask(canary)
        assert canary.count == 1
        assert service.stats()["parted"] == {"room": 20}


def test_data_behind_a_close_is_not_heard_and_a_full_kernel_does_not_keep_it_open() -> None:
    options = {"policy": {"close_timeout": 0.5}, "send_buffer": 1 << 14}
    with Service(options) as service, Clients(service.port) as clients:
        canary = clients.open()
        before = service.descriptors()
        deaf = clients.open_many(20, "/ws/push", receive_buffer=4096)
        for peer in deaf:
            clients.deafen(peer)
        clients.ask(canary, "push 500000")
        for peer in deaf:  # their Close, and an answer that would have to wait behind all this
            peer.send_bytes(frame(8, b"\x03\xe8") + frame(TEXT, b"all"))
        wait_until(lambda: service.descriptors() == before, patience=3)
        stats = service.stats()
        assert stats["codes"] == {"1000": 20}
        assert stats["parted"] == {"push": 20}
        clients.ask(canary)
        service.send_signal(signal.SIGTERM)
        clients.until(lambda: canary.ended)
        assert canary.code == 1001
        assert service.wait(2) == 0
