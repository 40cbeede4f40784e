"""Attacks of those who have much sent to them: slow readers, rooms and rooms and rooms."""

import time

import pytest

from tests.attacks.peer import PATIENCE, Peer, eventually
from tests.attacks.target import MB, Target, attack
from tests.support import BINARY

KB = 1 << 10
TRY_AGAIN_LATER = b"\x88\x02\x03\xf5"  # 1013


@pytest.mark.parametrize("slow", [1, 100])
def test_readers_that_are_slow_while_much_is_sent_to_all(slow: int) -> None:
    """They take a byte now and then; five others take everything and lose nothing."""
    size = 64 * KB
    with (
        Target() as target,
        attack(target, "RX-10", slow, memory=MB + 64 * KB) as (by, figures),
    ):
        peers = by.open(slow, "/fan", receive_buffer=1024)
        others = [Peer(target.port, "/fan") for _ in range(5)]
        try:
            deadline = time.monotonic() + PATIENCE
            sent = 0
            while target.ask("group", "fan")["cut_off"] < slow:
                assert time.monotonic() < deadline, "slow readers are kept"
                target.ask("send", "fan", size)
                sent += 1
                for peer in peers[:5]:
                    peer.has_ended()
                for other in others:
                    assert other.frame() == (BINARY, bytes(size))
            assert sent * size > MB
            assert target.members("fan") == 5
            # Who goes on not reading for `close_timeout` is dropped without it.
            assert TRY_AGAIN_LATER in {peer.read_all()[-4:] for peer in peers}
        finally:
            for other in others:
                other.close()
        figures.got = "1013 at `write_limit`"


@pytest.mark.parametrize("connections", [1, 200])
def test_many_in_a_thousand_rooms(connections: int) -> None:
    """Each joins 1,000 rooms and leaves them; memory is counted for a membership."""
    rooms = 1000
    most = 120 * rooms + 4 * KB
    cost = 2e-6 * rooms * 8  # 1 M joins in 2 s, and as many leaves; and room for a slow machine
    with (
        Target() as target,
        attack(target, "RX-14", connections, memory=most, cpu=cost) as (by, figures),
    ):
        peers = by.open(connections, "/rooms")
        for verb in ("join", "leave"):
            for peer in peers:
                peer.say(f"{verb} 0 {rooms}")
                assert peer.text() == "done"
            by.look()
        figures.got = "what they asked for"


def test_a_join_costs_the_same_however_many_there_are() -> None:
    costs = []
    with Target() as target:
        for connections in (25, 400):
            with attack(target, "RX-14", connections) as (by, figures):
                for peer in by.open(connections, "/rooms"):
                    peer.say("join 0 1000")
                    assert peer.text() == "done"
                figures.got = "what they asked for"
            costs.append(figures.cpu)
    assert costs[1] < 4 * costs[0]


@pytest.mark.parametrize("connections", [1, 20])
def test_one_in_a_thousand_rooms_that_are_all_published_to(connections: int) -> None:
    with (
        Target() as target,
        attack(target, "RX-15", connections, memory=MB + 64 * KB) as (by, figures),
    ):
        peers = by.open(connections, "/rooms", receive_buffer=1024)
        for peer in peers:
            peer.say("join 0 1000")
            assert peer.text() == "done"
        deadline = time.monotonic() + PATIENCE
        while target.ask("group", "rooms")["cut_off"] < connections:
            assert time.monotonic() < deadline
            target.ask("publish", 1000, KB)
        assert TRY_AGAIN_LATER in {peer.read_all()[-4:] for peer in peers}
        eventually(lambda: not target.members("rooms"), "they are still there")
        figures.got = "1013 at `write_limit`"
