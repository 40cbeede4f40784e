"""SIGTERM and SIGINT in all situations: nothing is lost that was acknowledged."""

import json
import signal
import time

import pytest

from tests.faults.service import Clients, Peer, Service
from tests.support import handshake

DRAIN = 5.0
WINDOW = 8  # messages of a client that are not acknowledged yet


class Talker:
    """A client that numbers its messages and has each acknowledged."""

    def __init__(self, peer: Peer, name: str) -> None:
        self.peer = peer
        self.name = name
        self.sent = 0

    def talk(self) -> None:
        """Say as much as the window allows."""
        while self.peer.is_open and self.sent < self.peer.count + WINDOW:
            self.peer.send(f"{self.name} {self.sent}")
            self.sent += 1


@pytest.mark.parametrize("group", ["ack", "ack-later"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_drain_under_load_loses_nothing_that_was_acknowledged(group: str, loop: str) -> None:
    options = {"loop": loop, "server": {"drain_timeout": DRAIN}}
    with Service(options) as service, Clients(service.port) as clients:
        peers = clients.open_many(200, f"/ws/{group}")
        talkers = [Talker(peer, str(number)) for number, peer in enumerate(peers)]
        until = began = time.monotonic()
        stopped = False
        while any(talker.peer.ended is None for talker in talkers):
            for talker in talkers:
                talker.talk()
            clients.turn(0.001)
            if not stopped and sum(peer.count for peer in peers) > 20_000:
                service.send_signal(signal.SIGTERM)
                stopped, began = True, time.monotonic()
                until = began + DRAIN + 1
            assert not stopped or time.monotonic() < until
        assert service.wait(max(0.1, until - time.monotonic())) == 0
        assert {peer.code for peer in peers} == {1001}
        assert {peer.ended for peer in peers} == {"fin"}
        recorded = json.loads(service.wait_for(r"recorded (\{.*\})"))
        for talker in talkers:
            acknowledged = talker.peer.messages
            assert acknowledged == [b"%d" % n for n in range(len(acknowledged))]
            if group == "ack":
                assert recorded[talker.name] == len(acknowledged)
            else:  # a handler that was suspended when the Close was sent cannot say so any more
                assert len(acknowledged) <= recorded[talker.name] <= talker.sent


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_drain_at_once(number: signal.Signals) -> None:
    options = {"policy": {"close_timeout": 60}, "server": {"drain_timeout": 60}}
    with Service(options) as service, Clients(service.port) as clients:
        deaf = clients.open_many(50, answers_close=False)
        service.send_signal(number)
        clients.until(lambda: all(peer.code for peer in deaf))
        assert {peer.code for peer in deaf} == {1001}
        service.send_signal(signal.SIGTERM)
        assert service.wait(1) == 0
        clients.until(lambda: all(peer.ended for peer in deaf))


def test_clients_that_ignore_the_close_are_dropped_in_time() -> None:
    options = {"policy": {"close_timeout": 0.5}}
    with Service(options) as service, Clients(service.port) as clients:
        deaf = clients.open_many(200, answers_close=False)
        polite = clients.open_many(50)
        began = time.monotonic()
        service.send_signal(signal.SIGTERM)
        clients.until(lambda: all(peer.ended for peer in [*deaf, *polite]))
        assert {peer.ended for peer in polite} == {"fin"}
        assert {peer.code for peer in [*deaf, *polite]} == {1001}
        assert service.wait(2) == 0
        assert 0.4 < time.monotonic() - began < 2.5


def test_clients_that_read_nothing_do_not_hold_a_drain_up() -> None:
    options = {"policy": {"close_timeout": 0.5}, "send_buffer": 1 << 14}
    with Service(options) as service, Clients(service.port) as clients:
        canary = clients.open()
        deaf = clients.open_many(20, "/ws/push", receive_buffer=4096)
        for peer in deaf:
            clients.deafen(peer)
        clients.ask(canary, "push 500000")  # their Close frames are behind this
        service.send_signal(signal.SIGTERM)
        clients.until(lambda: canary.code)
        assert service.wait(2) == 0


def test_a_handshake_that_is_going_on_gets_503() -> None:
    with Service() as service, Clients(service.port) as clients:
        canary = clients.open()
        halves = [clients.begin(ahead=handshake()[:cut]) for cut in (1, 20, 100, -2, -1)]
        silent = clients.begin(ahead=b"")
        service.stats()  # this connection is accepted and read behind all of those
        service.send_signal(signal.SIGTERM)
        clients.until(lambda: all(peer.ended for peer in [*halves, silent, canary]))
        assert [peer.status for peer in halves] == [503] * 5
        assert (silent.status, silent.ended) == (0, "fin")
        assert service.wait(2) == 0


def test_while_it_drains_nobody_new_comes_and_those_who_are_there_are_not_disturbed() -> None:
    options = {"policy": {"close_timeout": 60}, "server": {"drain_timeout": 60}}
    with Service(options) as service, Clients(service.port) as clients:
        deaf = clients.open(answers_close=False)
        late = clients.begin(ahead=b"GET /ws/room HT")
        clients.ask(clients.open())
        service.send_signal(signal.SIGTERM)
        clients.until(lambda: deaf.code)
        late.send_bytes(handshake()[3:])
        clients.until(lambda: late.ended)
        assert late.status in (0, 503)
        refused = clients.begin()
        assert refused.ended == "reset"
        deaf.send_bytes(b"\x88\x82\0\0\0\0\x03\xe9")
        clients.until(lambda: deaf.ended)
        assert deaf.ended == "fin"
        assert service.wait(2) == 0
