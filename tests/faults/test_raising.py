"""Handlers that raise whatever can be raised, in each place, again and again."""

import pytest

from tests.faults.application import KINDS, PLACES
from tests.faults.service import Clients, Service

ROUNDS = 20
GROUPS = [place + mode for place in PLACES for mode in ("", "-later")]


def round_of(clients: Clients, group: str, kinds: list[str]) -> None:
    """One socket for each kind; each must be closed as its group says."""
    expected = 1000 if group.startswith("disconnect") else 1011
    peers = [clients.begin(f"/ws/{group}?data={kind}", answers_close=False) for kind in kinds]
    clients.until(lambda: all(peer.status == 101 for peer in peers))
    if expected == 1000:
        for peer in peers:
            peer.send_bytes(b"\x88\x82\0\0\0\0\x03\xe8")
    else:
        for peer in peers:
            peer.send("do it")
    clients.until(lambda: all(peer.ended for peer in peers))
    assert {kind: peer.code for kind, peer in zip(kinds, peers, strict=True)} == dict.fromkeys(
        kinds, expected
    )
    assert {peer.reason for peer in peers} == {b""}, "no internals"
    assert all(peer.count == 0 for peer in peers)
    del clients.peers[-len(peers) :]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_whatever_a_handler_raises_costs_its_own_socket_and_nothing_else(loop: str) -> None:
    kinds = list(KINDS)
    with Service({"loop": loop}) as service, Clients(service.port) as clients:
        canary = clients.open()
        for group in GROUPS:
            round_of(clients, group, kinds)
        for group in GROUPS:
            round_of(clients, group, kinds * 2)
        settled = service.memory()
        for _ in range(ROUNDS):
            for group in GROUPS:
                round_of(clients, group, kinds)
            clients.ask(canary)
        stats = service.stats()
        for group in GROUPS:
            assert stats["parted"][group] == stats["entered"][group] == (ROUNDS + 3) * len(kinds)
        assert service.memory() - settled < 1 << 20


def test_the_log_of_handlers_that_raise_is_bounded() -> None:
    with Service() as service, Clients(service.port) as clients:
        for _ in range(30):
            round_of(clients, "message", ["exception"] * 20)
        assert service.output.count("handler failed") <= 20
