"""Compression of messages (RFC 7692): what is agreed on, what comes in, what goes out."""

import os
import random
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.connection.peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    REQUEST,
    TEXT,
    App,
    Peer,
    Serve,
    client_frame,
    close_body,
    echo,
)
from wsgroups import Compression, GroupPolicy, SendResult
from wsgroups.connection.deflate import Deflate, InflateError, negotiate

TAIL = b"\x00\x00\xff\xff"
OFFER = b"permessage-deflate; client_max_window_bits"
EVERY = Compression(threshold=0)
BIG = 1 << 20


def squeeze(data: bytes, bits: int = 15, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Return a message as a peer compresses it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -bits)
    return (packer.compress(data) + packer.flush(flush)).removesuffix(TAIL)


def expand(data: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(data + TAIL)


def deflated(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """Return a masked frame with RSV1."""
    frame = bytearray(client_frame(opcode, payload, final=final))
    frame[0] |= 0x40
    return bytes(frame)


def message(data: bytes | str) -> bytes:
    if isinstance(data, str):
        return deflated(TEXT, squeeze(data.encode()))
    return deflated(BINARY, squeeze(data))


def open_with(app: App, offer: bytes = OFFER) -> tuple[Peer, bytes]:
    """Return a peer that offered compression, and what it was answered."""
    peer = app.connect()
    peer.send(REQUEST[:-2] + b"Sec-WebSocket-Extensions: " + offer + b"\r\n\r\n")
    head, _, rest = peer.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert rest == b""
    peer.socket = app.upgraded[-1]
    lines = [line for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Ext")]
    return peer, lines[0].partition(b": ")[2] if lines else b""


def came(peer: Peer) -> list[tuple[int, bytes, bool]]:
    """Return opcode, payload as it was before, and whether it was compressed, of each frame."""
    data, found = peer.take(), []
    while data:
        first, size, start = data[0], data[1], 2
        if size == 126:
            (size,), start = struct.unpack("!H", data[2:4]), 4
        elif size == 127:
            (size,), start = struct.unpack("!Q", data[2:10]), 10
        payload, data = data[start : start + size], data[start + size :]
        is_deflated = bool(first & 0x40)
        found.append((first & 0x0F, expand(payload) if is_deflated else payload, is_deflated))
    return found


# --- what is agreed on ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "policy", "answer"),
    [
        ("permessage-deflate", {}, "; server_max_window_bits=12"),
        (
            "permessage-deflate; client_max_window_bits",
            {},
            "; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            "permessage-deflate; client_max_window_bits=10; server_max_window_bits=9",
            {},
            "; server_max_window_bits=9; client_max_window_bits=10",
        ),
        ("permessage-deflate", {"window_bits": 15}, ""),
        ("permessage-deflate; client_max_window_bits", {"window_bits": 15}, ""),
        ('permessage-deflate; server_max_window_bits="11"', {}, "; server_max_window_bits=11"),
        ("x-other, permessage-deflate", {"window_bits": 15}, ""),
        ("permessage-deflate; unknown, permessage-deflate", {"window_bits": 15}, ""),
    ],
)
def test_an_offer_that_can_be_met_is_taken(offer: str, policy: Any, answer: str) -> None:
    agreed = negotiate([offer.encode()], Compression(**policy))
    assert agreed is not None
    takeover = "; server_no_context_takeover; client_no_context_takeover"
    assert agreed[0] == f"permessage-deflate{takeover}{answer}"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", ""),
        ("permessage-deflate; server_no_context_takeover", "; server_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", "; client_no_context_takeover"),
    ],
)
def test_windows_are_kept_where_both_sides_want_it(offer: str, answer: str) -> None:
    agreed = negotiate([offer.encode()], Compression(context_takeover=True, window_bits=15))
    assert agreed is not None
    assert agreed[0] == f"permessage-deflate{answer}"


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=abc",
        "permessage-deflate; server_max_window_bits=09",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; unknown=1",
        "permessage-deflate;",
        "x-webkit-deflate-frame",
        ",;;=",
        '"permessage-deflate',
        "permessage-deflate; a=" + "x" * 7000,
        ", ".join(["permessage-deflate; x"] * 600),
        "",
    ],
)
def test_an_offer_that_cannot_be_met_is_declined(offer: str) -> None:  # HS-29, HS-30, HS-31
    assert negotiate([offer.encode()], Compression()) is None


def test_without_the_policy_or_the_offer_nothing_is_compressed(serve: Serve) -> None:
    peer, answer = open_with(serve(text=echo))
    assert answer == b""
    peer.send(message("x"))
    assert peer.received() == [(CLOSE, close_body(1002))]
    other = serve(text=echo, compression=EVERY).open()
    other.send(client_frame(TEXT, b"x" * 1000))
    assert other.received_texts() == ["x" * 1000]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("level", 0),
        ("level", 10),
        ("window_bits", 8),
        ("window_bits", 16),
        ("memory_level", 0),
        ("threshold", -1),
        ("max_ratio", 0),
    ],
)
def test_a_compression_that_cannot_work_is_refused_by_name(option: str, value: int) -> None:
    with pytest.raises(ValueError, match=option):
        Compression(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("slow", ["drop_oldest", "conflate"])
def test_what_may_be_dropped_later_keeps_no_window(slow: Any) -> None:
    with pytest.raises(ValueError, match="slow_consumer must be another with context_takeover"):
        GroupPolicy(compression=Compression(context_takeover=True), slow_consumer=slow)


# --- what comes in --------------------------------------------------------------------------


@pytest.mark.parametrize("takeover", [False, True])
@pytest.mark.parametrize("data", ["", "x", "Hello", "æøå 😀" * 100, b"", bytes(50_000)])
def test_messages_are_inflated(serve: Serve, data: str | bytes, takeover: bool) -> None:
    how = Compression(context_takeover=takeover, max_ratio=10_000)
    peer, _ = open_with(serve(text=echo, binary=echo, compression=how))
    for _ in range(3):
        peer.send(message(data))
        raw = data.encode() if isinstance(data, str) else data
        ((opcode, payload, _),) = came(peer) if not takeover else [(0, raw, True)]
        assert payload == raw
        assert opcode in (0, TEXT if isinstance(data, str) else BINARY)
    assert peer.info is None


def test_the_messages_of_the_rfc_are_understood(serve: Serve) -> None:  # DF-03
    peer, _ = open_with(serve(text=echo, compression=Compression(context_takeover=True)))
    hello = bytes.fromhex("f248cdc9c90700")  # section 7.2.3.1
    for stream in (
        deflated(TEXT, hello),
        deflated(TEXT, hello[:3], final=False) + client_frame(CONTINUATION, hello[3:]),
        deflated(TEXT, bytes.fromhex("f200110000")),  # 7.2.3.2: what is in the window
        deflated(TEXT, bytes.fromhex("000500faff48656c6c6f00")),  # 7.2.3.3: not compressed
        deflated(TEXT, bytes.fromhex("f348cdc9c9070000")),  # 7.2.3.4: a last block
        deflated(TEXT, bytes.fromhex("f248050000 00ffffcac9c90700".replace(" ", ""))),  # 7.2.3.5
        client_frame(TEXT, b"Hello"),  # DF-07
    ):
        peer.send(stream)
        assert [payload for _, payload, _ in came(peer)] == [b"Hello"], stream.hex()


@pytest.mark.parametrize("payload", [b"", b"\x00", squeeze(b"", flush=zlib.Z_FINISH)])
def test_what_is_nothing_is_an_empty_message(serve: Serve, payload: bytes) -> None:  # DF-03
    peer, _ = open_with(serve(text=echo, compression=EVERY))
    peer.send(deflated(TEXT, payload), message("next"))
    assert [payload for _, payload, _ in came(peer)] == [b"", b"next"]


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff" * 10,
        b"garbage, and no block",
        squeeze(b"Hello" * 100)[:-3],
        squeeze(b"Hello") + b"junk",
        squeeze(b"Hello", flush=zlib.Z_FINISH) + b"\x01junk",
        squeeze(b"Hello", flush=zlib.Z_FINISH) * 3,
    ],
)
def test_what_is_no_deflated_message_closes_with_1007(serve: Serve, payload: bytes) -> None:
    peer, _ = open_with(serve(text=echo, compression=EVERY))  # DF-04
    peer.send(deflated(TEXT, payload), message("next"))
    assert peer.received() == [(CLOSE, close_body(1007))]


def test_rsv1_belongs_to_the_first_frame_of_a_message(serve: Serve) -> None:  # DF-05
    packed = squeeze(b"Hello")
    for bad in (
        deflated(TEXT, packed[:2], final=False) + deflated(CONTINUATION, packed[2:]),
        client_frame(TEXT, b"a", final=False) + deflated(CONTINUATION, b"b"),
        deflated(PING, b""),
        bytes([0xA1]) + client_frame(TEXT, b"")[1:],
    ):
        peer, _ = open_with(serve(text=echo, compression=EVERY))
        peer.send(bad)
        assert peer.received() == [(CLOSE, close_body(1002))]


@pytest.mark.parametrize("text", [b"\xff", b"abc\xed\xa0\x80", "é".encode()[:1]])
def test_compressed_text_that_is_no_utf8_closes_with_1007(serve: Serve, text: bytes) -> None:
    peer, _ = open_with(serve(text=echo, compression=EVERY))  # DF-06
    peer.send(deflated(TEXT, squeeze(text)))
    assert peer.received() == [(CLOSE, close_body(1007))]


def test_control_frames_may_stand_between_compressed_fragments(serve: Serve) -> None:  # FR-12
    packed = squeeze(b"Hello" * 100)
    parts = [packed[i : i + 1] for i in range(len(packed))]
    stream = deflated(TEXT, parts[0], final=False)
    for part in parts[1:]:
        stream += client_frame(PING, b"p") + client_frame(CONTINUATION, part, final=False)
    peer, _ = open_with(serve(text=echo, compression=EVERY))
    peer.send(stream + client_frame(CONTINUATION, b""))
    frames = came(peer)
    assert frames[-1][:2] == (TEXT, b"Hello" * 100)
    assert frames[:-1] == [(PONG, b"p", False)] * (len(parts) - 1)


# --- bombs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 30])
def test_a_bomb_closes_with_1009(serve: Serve, parts: int) -> None:  # DF-01, DF-02
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(BIG)) for _ in range(200)) + packer.flush()
    size = len(bomb) // parts + 1
    pieces = [bomb[i : i + size] for i in range(0, len(bomb), size)]
    peer, _ = open_with(serve(binary=echo, compression=EVERY))
    stream = deflated(BINARY, pieces[0], final=len(pieces) == 1)
    for number, piece in enumerate(pieces[1:], 2):
        stream += client_frame(CONTINUATION, piece, final=number == len(pieces))
    peer.send(stream)
    assert peer.received() == [(CLOSE, close_body(1009))]


@pytest.mark.parametrize(("size", "code"), [(BIG, None), (BIG + 1, 1009)])
def test_the_largest_message_is_counted_when_it_is_inflated(
    serve: Serve, size: int, code: int | None
) -> None:
    peer, _ = open_with(serve(binary=echo, compression=Compression(threshold=0, max_ratio=10_000)))
    peer.send(message(bytes(size)))
    if code is None:
        assert [len(payload) for _, payload, _ in came(peer)] == [size]
    else:
        assert peer.received() == [(CLOSE, close_body(code))]


@pytest.mark.parametrize(("size", "fits"), [(65536, True), (65537, False)])
def test_above_64_kib_the_ratio_counts(size: int, fits: bool) -> None:
    policy = Compression(max_ratio=2)
    deflate = Deflate(policy, 15, 15, False, False)
    if fits:
        assert deflate.inflate(squeeze(bytes(size)), BIG) == bytes(size)
    else:
        with pytest.raises(InflateError) as caught:
            deflate.inflate(squeeze(bytes(size)), BIG)
        assert caught.value.close_code == 1009
    noise = os.urandom(200_000)
    assert deflate.inflate(squeeze(noise), BIG) == noise


def test_a_distance_above_the_window_closes_with_1007() -> None:  # DF-08
    noise = random.Random(1).randbytes(20_000)
    packed = squeeze(noise + noise, 15)
    assert len(packed) < 30_000, "the second half is told as a distance"
    with pytest.raises(InflateError) as caught:
        Deflate(Compression(), 12, 12, False, False).inflate(packed, BIG)
    assert caught.value.close_code == 1007


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_whatever_comes_is_a_message_or_an_error(data: bytes) -> None:
    found, code = b"", None
    try:
        found = Deflate(Compression(), 15, 15, False, False).inflate(data, 5000)
    except InflateError as error:
        code = error.close_code
    assert code in (None, 1007, 1009)
    assert len(found) <= 5000


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.binary(max_size=5000), max_size=5),
    st.integers(9, 15),
    st.booleans(),
    st.integers(1, 9),
)
def test_what_one_side_compresses_the_other_inflates(
    messages: list[bytes], bits: int, keeps: bool, level: int
) -> None:
    policy = Compression(level=level, window_bits=bits, max_ratio=1 << 20)
    one = Deflate(policy, bits, bits, keeps, keeps)
    other = Deflate(policy, bits, bits, keeps, keeps)
    oracle = zlib.decompressobj(-bits)
    for data in messages:
        packed = one.deflate(data)
        assert other.inflate(packed, BIG) == data
        if keeps:
            assert oracle.decompress(packed + TAIL) == data


def test_large_messages_do_not_come_all_in_one_turn(serve: Serve) -> None:  # RX-11
    got: list[int] = []
    how = Compression(max_ratio=10_000)
    app = serve(binary=lambda data, ws: got.append(len(data)), compression=how)
    peer, _ = open_with(app)
    peer.send(message(bytes(BIG)) * 30 + message(b"small") * 30)
    assert len(got) == 1
    turns = 0
    while len(got) < 60:
        app.turn()
        turns += 1
    assert got == [BIG] * 30 + [5] * 30
    assert turns == 30, "one large one each, and the small ones together"


# --- what goes out --------------------------------------------------------------------------


def test_from_the_threshold_on_messages_are_compressed(serve: Serve) -> None:
    app = serve(text=echo, binary=echo, compression=True)
    peer, _ = open_with(app)
    peer.socket.send("x" * 255)
    peer.socket.send("x" * 256)
    peer.socket.send(b"y" * 20_000)
    app.run()
    assert came(peer) == [
        (TEXT, b"x" * 255, False),
        (TEXT, b"x" * 256, True),
        (BINARY, b"y" * 20_000, True),
    ]


def test_a_group_send_is_compressed_once_for_all_who_agreed_on_the_same(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    compress = Deflate.deflate

    def counted(self: Deflate, data: bytes) -> bytes:
        calls.append(1)
        return compress(self, data)

    monkeypatch.setattr(Deflate, "deflate", counted)
    app = serve(compression=True)
    peers = [open_with(app)[0] for _ in range(20)]
    other, _ = open_with(app, b"permessage-deflate; server_max_window_bits=9")
    plain = app.open()
    for size in (300, 20_000):
        app.group.send("x" * size)
        app.run()
        for peer in (*peers, other):
            assert came(peer) == [(TEXT, b"x" * size, True)]
        assert plain.received() == [(TEXT, b"x" * size)]
    assert 4 <= len(calls) <= 6, "once for each way, and again when the ways take turns"


def test_a_window_that_is_kept_makes_the_second_message_smaller(serve: Serve) -> None:
    how = Compression(context_takeover=True, window_bits=15, threshold=0)
    app = serve(compression=how)
    peer, _ = open_with(app)
    noise = random.Random(2).randbytes(1000)
    oracle = zlib.decompressobj(-15)
    sizes: list[int] = []
    for _ in range(3):
        app.group.send(noise) if len(sizes) == 1 else peer.socket.send(noise)
        app.run()
        data = peer.take()
        assert data[0] == 0xC2
        payload = data[4:] if data[1] == 126 else data[2:]
        assert oracle.decompress(payload + TAIL) == noise
        sizes.append(len(payload))
    assert sizes[0] > 1000
    assert max(sizes[1:]) < 50


def test_a_message_that_is_dropped_leaves_the_kept_window_alone(serve: Serve) -> None:
    how = Compression(context_takeover=True, window_bits=15, threshold=0)
    app = serve(
        compression=how, slow_consumer="drop_newest", write_limit=5000, write_high_water=1000
    )
    peer, _ = open_with(app)
    peer.set_window(0)
    sent = []
    for number in range(50):
        noise = random.Random(number).randbytes(500)
        if peer.socket.send(noise) < SendResult.DROPPED:
            sent.append(noise)
    assert 0 < len(sent) < 50
    peer.set_window(None)
    data, oracle, got = peer.take(), zlib.decompressobj(-15), []
    while data:
        (size,) = struct.unpack("!H", data[2:4])
        got.append(oracle.decompress(data[4 : 4 + size] + TAIL))
        data = data[4 + size :]
    assert got == sent


def test_compressed_messages_are_conflated_by_their_keys(serve: Serve) -> None:
    app = serve(compression=EVERY, slow_consumer="conflate")
    peer, _ = open_with(app)
    peer.set_window(0)
    peer.socket.send("first")
    app.run()
    for price in range(10):
        peer.socket.send(f"A {price}", key="A")
    peer.set_window(None)
    assert [payload for _, payload, _ in came(peer)] == [b"first", b"A 9"]
