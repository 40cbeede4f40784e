"""Attacks before there is a WebSocket: connections, heads and requests."""

import re
import time

import pytest

from tests.attacks.peer import PATIENCE, Peer
from tests.attacks.target import Target, attack
from tests.certificates import Certificates
from tests.support import handshake, request

KB = 1 << 10
LONGEST = 64 * KB  # of what a refused client may send


@pytest.mark.parametrize("connections", [1, 1000, 3000])
def test_connections_that_say_nothing(connections: int) -> None:
    """The limit of handshakes in progress is off: 3,000 could not come otherwise."""
    timeout = 3.0 if connections > 1000 else 1.5
    options = {"handshake_timeout": timeout, "max_handshakes_in_progress": 0}
    with (
        Target(server=options) as target,
        attack(target, "RX-04", connections, memory=4 * KB) as (by, figures),
    ):
        peers = by.open(connections)
        by.look()
        assert not peers[-1].has_ended()
        for peer in peers:
            assert peer.read_all() == b""
        figures.got = "closed at `handshake_timeout`, without a word"


@pytest.mark.parametrize("connections", [1, 1000, 3000])
def test_heads_that_come_byte_by_byte(connections: int) -> None:
    options = {"handshake_timeout": 2.0, "max_handshakes_in_progress": 0}
    with (
        Target(server=options) as target,
        attack(target, "RX-05", connections) as (by, figures),
    ):
        peers = by.open(connections)
        head = handshake("/echo", "X: " + "x" * 10_000)
        dripping = list(peers)
        deadline = time.monotonic() + PATIENCE
        for at in range(len(head)):
            for peer in dripping:
                peer.send(head[at : at + 1])
            dripping = [peer for peer in dripping if not peer.has_ended()]
            if not dripping:
                break
            assert time.monotonic() < deadline, "a byte puts the deadline off"
            time.sleep(0.1)
        assert {peer.status() for peer in peers} == {408}
        figures.got = "408 at `handshake_timeout`"


HELLO = bytes.fromhex("16030101fc010001f80303") + bytes(500)  # as it begins; it never ends


@pytest.mark.parametrize("connections", [1, 1000])
def test_tls_handshakes_that_stop(certificates: Certificates, connections: int) -> None:
    options = {"handshake_timeout": 2.0, "max_handshakes_in_progress": 0}
    with (
        Target(server=options | certificates.options, tls=certificates.client()) as target,
        attack(target, "RX-06", connections) as (by, figures),
    ):
        peers = by.open(connections)
        for peer in peers[1::3]:
            peer.send(HELLO[:200])
        dripping = peers[::3]
        deadline = time.monotonic() + PATIENCE
        for at in range(len(HELLO)):
            for peer in dripping:
                peer.send(HELLO[at : at + 1])
            dripping = [peer for peer in dripping if not peer.has_ended()]
            if not dripping:
                break
            assert time.monotonic() < deadline, "a byte puts the deadline off"
            time.sleep(0.1)
        by.look()
        for peer in peers:
            assert peer.read_all() == b""
        figures.got = "closed at `handshake_timeout`, without a word"


ENDLESS = {
    "header": (431, b"GET / HTTP/1.1\r\nX: ", b"x" * KB),
    "headers": (431, b"GET / HTTP/1.1\r\n", (b"X: " + b"x" * 507 + b"\r\n") * 2),
    "empty headers": (431, b"GET / HTTP/1.1\r\n", b"X:\r\n" * 256),
    "target": (414, b"GET /", b"x" * KB),
}


@pytest.mark.parametrize("endless", ENDLESS)
def test_a_head_without_end_is_refused_before_64_kib_are_read(endless: str) -> None:
    status, begin, more = ENDLESS[endless]
    with Target() as target, attack(target, "RX-07", 1) as (by, figures):
        (peer,) = by.open(1)
        peer.send(begin)
        sent = 0
        while not peer.has_ended():
            assert sent <= LONGEST
            peer.send(more)
            sent += len(more)
            time.sleep(0.005)  # so that the server reads piece by piece
        assert peer.status() == status
        figures.got = f"{status}"


@pytest.mark.parametrize("endless", ENDLESS)
def test_many_heads_without_end(endless: str) -> None:
    status, begin, more = ENDLESS[endless]
    with Target() as target, attack(target, "RX-07", 500, memory=64 * KB) as (by, figures):
        peers = by.open(500)
        for peer in peers:
            peer.send(begin + more * 60)
        assert {peer.status() for peer in peers} == {status}
        figures.got = f"{status}"


def test_connections_that_come_and_go() -> None:
    """Hundreds at once again and again, with others between them that want to be served."""
    rounds, at_once, wanted = 25, 200, 10
    with Target() as target, attack(target, "RX-13", rounds * at_once) as (_, figures):
        served = 0
        for _ in range(rounds):
            peers = [Peer(target.port) for _ in range(at_once)]
            for number, peer in enumerate(peers):
                if number % 3:
                    peer.send(handshake("/echo")[: 20 if number % 3 == 1 else None])
            for _ in range(wanted):
                with Peer(target.port, "/echo") as client:
                    client.say("hello")
                    served += client.text() == "hello"
            for peer in peers:
                peer.close()
        assert served == rounds * wanted
        figures.got = "what they asked for; all others were served"


@pytest.mark.only_on_epoll(
    reason="without descriptors loops drop clients or wait, and a thousand transports leave memory"
)
@pytest.mark.parametrize("by_descriptors", [False, True])
def test_more_connections_than_there_is_room_for(by_descriptors: bool) -> None:
    server = {} if by_descriptors else {"max_connections": 60}
    with (
        Target(server=server, descriptors=188 if by_descriptors else 0) as target,
        attack(target, "RX-16", 1000, crowd=20) as (by, figures),
    ):
        first = by.open(30, "/echo")
        kept = by.open(28)  # with the canary and the control, that is all
        for peer in by.open(1000):
            assert peer.status() == 503
        for peer in first:
            peer.say("still there?")
            assert peer.text() == "still there?"
        assert not any(peer.has_ended() for peer in kept)
        figures.got = "503 with `Retry-After`"


LOUD = {
    "refused": (b"GET /\x00 HTTP/1.1\r\n\r\n", 400),
    "failing": (request("/fail"), 500),
}


def flood_the_log(target: Target, what: str, count: int, id: str = "RX-17") -> float:
    """Send so many requests that are logged, and return how many lines a second came of it."""
    data, status = LOUD[what]
    with attack(target, id, count, crowd=100) as (_, figures):
        began, before = time.monotonic(), target.log().count("wsgroups:")
        for _ in range(count // 100):
            peers = [Peer(target.port) for _ in range(100)]
            for peer in peers:
                peer.send(data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            for peer in peers:
                assert peer.status() == status
                peer.close()
        lines = target.log().count("wsgroups:") - before
        figures.got = f"{status}"
    return lines / max(1.0, time.monotonic() - began)


@pytest.mark.parametrize("what", LOUD)
def test_requests_that_are_logged_at_warning(what: str) -> None:
    with Target(log_level="WARNING") as target:
        assert flood_the_log(target, what, 3000) <= 10


def test_refusals_that_are_logged_at_info() -> None:
    """RX-17. INFO is what the command line logs unless it is told otherwise."""
    with Target() as target:
        assert flood_the_log(target, "refused", 3000) <= 10


def test_no_control_character_comes_into_the_log() -> None:
    hostile = [
        b"GET /\x1b[31m HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /%1b%0aERROR HTTP/1.1\r\nHost: test\r\n\r\n",
        request("/fail", "User-Agent: \x9b31m\x85\xff"),
        request("/fail?\x7f"),
        handshake("/echo", "Sec-WebSocket-Protocol: \x01"),
        handshake("/%1b%0d%0a%e2%80%ae"),
    ]
    with Target(log_level="DEBUG") as target, attack(target, "RX-17", 1) as (by, figures):
        for data in hostile:
            (peer,) = by.open(1)
            peer.send(data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            with peer:
                if b"%e2" not in data:
                    assert peer.status() >= 400
        log = target.log()
        assert log.count("wsgroups:") > 0
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", log)
        figures.got = "400, 404 or 500"
