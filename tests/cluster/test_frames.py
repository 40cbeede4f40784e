"""The frames between worker and hub: whole or in pieces, ours or anybody's."""

import pytest
from hypothesis import given, strategies

from wsgroups.cluster import frames
from wsgroups.cluster.bus import LARGEST_MESSAGE
from wsgroups.cluster.frames import FrameError, FrameReader, Kind

SOME = [
    frames.peer(2**32 - 1, 2**47),
    frames.gone(7),
    frames.send(513, b""),
    frames.send(513, b"x" * 1000),
    frames.publish(b"", b""),
    frames.publish(b"channel", b"message"),
    frames.text(Kind.SUBSCRIBE, b"\0"),
    frames.number(Kind.SYNC, 2**64 - 1),
]


def test_the_bytes_of_a_frame() -> None:
    assert frames.send(0x80000102, b"ab") == b"\0\0\0\x06\x03\x80\0\x01\x02ab"
    assert frames.publish(b"c", b"ab") == b"\0\0\0\x07\x04\0\0\0\x01cab"
    assert frames.text(Kind.SUBSCRIBE, b"c") == b"\0\0\0\x01\x05c"


def test_fields_come_back() -> None:
    assert frames.peer_of(frames.peer(2**32 - 1, 2**47)) == (2**32 - 1, 2**47)
    assert frames.address_of(frames.send(513, b"data")) == 513
    assert frames.number_of(frames.number(Kind.GAP, 3)) == 3
    frame = frames.publish(b"channel", b"message")
    channel, begin = frames.channel_of(frame)
    assert (channel, frame[begin:]) == (b"channel", b"message")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 5000])
def test_pieces_of_any_size_give_the_same_frames(size: int) -> None:
    stream = b"".join(SOME) * 3
    reader = FrameReader()
    got = []
    for at in range(0, len(stream), size):
        got += reader.feed(stream[at : at + size])
    assert got == SOME * 3


def test_a_frame_that_says_it_is_too_large_is_refused() -> None:
    with pytest.raises(FrameError):
        FrameReader().feed((LARGEST_MESSAGE * 2).to_bytes(4, "big") + b"\x03")


@given(strategies.binary(max_size=40))
def test_any_bytes_are_frames_or_an_error(data: bytes) -> None:
    try:
        for frame in FrameReader().feed(data):
            for read in (frames.peer_of, frames.address_of, frames.number_of, frames.channel_of):
                try:
                    read(frame)
                except FrameError:
                    continue
    except FrameError:
        pass
