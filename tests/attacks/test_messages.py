"""Attacks with frames: more of them, and slower, than any client needs."""

import os
import signal
import zlib

import pytest

from tests.attacks.peer import PATIENCE, eventually
from tests.attacks.target import MB, Canary, Target, attack
from tests.support import BINARY, CLOSE, PING, PONG, TEXT, frame

MOST_FRAGMENTS = 4096  # the default
KB = 1 << 10
ANNOUNCED = frame(BINARY, bytes(900_000))[:14]  # a header, and nothing behind it


def fragment(payload: bytes, *, first: bool = False) -> bytes:
    """A part of a text message that does not end."""
    return frame(TEXT if first else 0, payload, final=False)


@pytest.mark.parametrize(
    ("id", "payload", "count"), [("RX-01", b"x", 131_072), ("RX-02", b"", 200_000)]
)
@pytest.mark.parametrize("connections", [1, 1000])
def test_a_message_in_fragments_without_end(
    id: str, payload: bytes, count: int, connections: int
) -> None:
    most = 2 * MOST_FRAGMENTS * len(payload) + 4 * KB
    with Target() as target, attack(target, id, connections, memory=most) as (by, figures):
        peers = by.open(connections, "/sink")
        begin = fragment(payload, first=True) + fragment(payload) * (MOST_FRAGMENTS - 1)
        for peer in peers:
            peer.send(begin + frame(PING, b"still there?"))
        for peer in peers:
            assert peer.frame() == (PONG, b"still there?")
        by.look()
        rest = fragment(payload) * (count if connections == 1 else 2 * MOST_FRAGMENTS)
        for peer in peers:
            peer.send(rest)
        for peer in peers:
            assert peer.frame() == (CLOSE, b"\x03\xf0")
        figures.got = "1008"


@pytest.mark.parametrize("payload", [b"x", b""])
def test_fragments_cost_the_same_however_many_there_are(payload: bytes) -> None:
    """RX-01, RX-02: what is linear costs one time as much for each, what is quadratic eight."""
    costs = []
    with Target(policy={"max_fragments": 1 << 20}) as target:
        for count in (16_384, 131_072):
            before = target.ask("handled")
            with attack(target, "RX-01" if payload else "RX-02", 8) as (by, figures):
                for peer in by.open(8, "/sink"):
                    peer.send(fragment(payload, first=True) + fragment(payload) * (count - 2))
                    peer.send(frame(0, payload))
                while target.ask("handled") < before + 8:
                    pass  # each question is answered in a turn of its own
                figures.got = f"nothing: {count:,} fragments were allowed"
            costs.append(figures.cpu / count)
    assert costs[1] < 4 * costs[0]


def test_a_frame_that_comes_byte_by_byte() -> None:
    count = 20_000
    with (
        Target(policy={"message_timeout": 2.0, "ping_interval": 0.5}) as target,
        attack(target, "RX-03", 1, memory=2 * count + 8 * KB, cpu=2.5e-6 * count) as (by, figures),
    ):
        (peer,) = by.open(1, "/sink")
        peer.send(ANNOUNCED)
        for _ in range(count):
            peer.send(b"x")
        assert peer.code() == 1008
        figures.got = "1008 at the deadline of the message"


def test_many_frames_that_are_announced_and_come_byte_by_byte() -> None:
    with (
        Target(policy={"message_timeout": 2.0, "ping_interval": 0.5}) as target,
        attack(target, "RX-03", 1000, memory=16 * KB) as (by, figures),
    ):
        peers = by.open(1000, "/sink")
        for peer in peers:
            peer.send(ANNOUNCED)
        for _ in range(20):
            for peer in peers:
                peer.send(b"x")
        for peer in peers:
            assert peer.code() == 1008
        figures.got = "1008 at the deadline of the message"


def test_half_of_a_frame_takes_no_more_than_twice_its_bytes() -> None:
    half = 450_000
    with (
        Target(policy={"message_timeout": 2.0, "ping_interval": 0.5}) as target,
        attack(target, "RX-03", 50, memory=2 * half) as (by, figures),
    ):
        peers = by.open(50, "/sink")
        for peer in peers:
            peer.send(ANNOUNCED + bytes(half))
        for peer in peers:
            assert peer.code() == 1008
        figures.got = "1008 at the deadline of the message"


@pytest.mark.parametrize("connections", [1, 50])
def test_small_messages_that_inflate_to_large_ones(connections: int) -> None:
    """400 KB that would be 400 MB: refused when it is larger than a message may be."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(MB)) for _ in range(400)) + packer.flush()
    message = bytearray(frame(BINARY, bomb))
    message[0] |= 0x40  # RSV1: it is compressed
    offer = ("Sec-WebSocket-Extensions: permessage-deflate",)
    with (
        Target(policy={"compression": True}) as target,
        attack(target, "RX-11", connections, memory=2 * MB, cpu=0.010) as (by, figures),
    ):
        for peer in by.open(connections, "/sink", headers=offer):
            peer.send(bytes(message))
        for peer in by.peers:
            assert peer.code() == 1009
        figures.got = "1009"
        assert target.ask("handled") == 0


@pytest.mark.parametrize("connections", [1, 20])
def test_a_burst_of_tiny_messages_in_one_turn(connections: int) -> None:
    """How many are handled when the canary, who comes behind all of them, is answered."""
    count = 65_535
    with (
        Target() as target,
        attack(target, "RX-12", connections, sings=False) as (by, figures),
    ):
        peers = by.open(connections, "/sink")
        canary = Canary(target)
        wanted = canary.sing() + count * connections
        try:
            os.kill(target.pid, signal.SIGSTOP)
            burst = memoryview(frame(TEXT, b"x") * count)
            taken = []
            for peer in peers:
                peer.sock.setblocking(False)
                taken.append(peer.sock.send(burst))
            canary.say("tweet")
            os.kill(target.pid, signal.SIGCONT)
            before_the_canary = int(canary.text()) - (wanted - count * connections)
            for peer, size in zip(peers, taken, strict=True):
                peer.sock.settimeout(PATIENCE)
                peer.sock.sendall(burst[size:])
            eventually(lambda: target.ask("handled") == wanted, "some got lost")
        finally:
            canary.close()
        assert before_the_canary <= 4 * 64 * connections
        figures.got = f"{before_the_canary // connections} messages each before the canary's"


IMPATIENT = {"ping_interval": 1, "ping_timeout": 1, "close_timeout": 1}
PINGS = frame(PING, bytes(125)) * 1000


@pytest.mark.parametrize("connections", [1, 50])
def test_a_flood_of_pings_whose_pongs_nobody_reads(connections: int) -> None:
    flood = 10_000_000 if connections == 1 else 2_000_000
    with (
        Target(policy=IMPATIENT) as target,
        attack(target, "RX-08", connections) as (by, figures),
    ):
        for _ in range(connections):
            (peer,) = by.open(1, "/sink", receive_buffer=4096)
            peer.send_unread(PINGS, flood // len(PINGS), 0.5)
        eventually(lambda: not target.members("sink"), "they are still there")
        figures.got = "one pong in the queue, the newest; then dropped by the keepalive"


def test_pings_take_no_more_than_64_kib() -> None:
    """RX-08. They come to a server that was not there for a moment: all of them at once."""
    with (
        Target() as target,
        attack(target, "RX-08", 50, memory=64 * KB, sings=False) as (by, _),
    ):
        peers = by.open(50, "/sink", receive_buffer=4096)
        os.kill(target.pid, signal.SIGSTOP)
        for peer in peers:
            peer.send_unread(PINGS, 2_000_000 // len(PINGS), 0.01)
        os.kill(target.pid, signal.SIGCONT)
        for _ in range(100):
            by.look()


def test_pings_are_not_read_while_no_pong_can_be_written() -> None:
    """RX-08. Up to the limit of control frames, which closes with 1008 after ten seconds."""
    with Target() as target, attack(target, "RX-08", 1, cpu=10.0) as (by, _):
        (peer,) = by.open(1, "/sink", receive_buffer=4096)
        sent = peer.send_unread(PINGS, 67_000_000 // len(PINGS), 0.5)
        assert sent < 32_000_000, "the server reads on"


@pytest.mark.parametrize("size", [16, 100_000])
@pytest.mark.parametrize("connections", [1, 50])
def test_a_flood_of_messages_whose_echoes_nobody_reads(connections: int, size: int) -> None:
    flood = 128_000_000
    messages = frame(BINARY, bytes(size)) * (100_000 // size)
    # The kernel takes some megabytes before the server reads: a microsecond for each message.
    cpu = max(0.050, 8e6 / (size + 6) * 1e-6)
    with (
        Target(policy=IMPATIENT) as target,
        attack(target, "RX-09", connections, memory=MB + 64 * KB, cpu=cpu) as (by, figures),
    ):
        for _ in range(connections):
            (peer,) = by.open(1, "/echo", receive_buffer=4096)
            sent = peer.send_unread(messages, flood // len(messages), 0.05)
            assert sent < flood // 4, "the server reads on"
        eventually(lambda: not target.members("echo"), "they are still there")
        figures.got = "no room to send; then dropped by the keepalive"
