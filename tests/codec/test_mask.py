"""Masking against a loop over bytes, wherever payload and key begin."""

from itertools import cycle

import pytest

from tests.codec.feeding import masked
from wsgroups.codec.frames import Decoder, encode_frame

KEYS = [b"\x37\xfa\x21\x3d", b"\x00\x00\x00\x01", b"\xff\x00\xff\x00", b"\x80\x7f\x01\xfe"]
SOURCE = bytes((i * 7 + i // 256) & 0xFF for i in range(8192))
LENGTHS = [*range(301), 511, 512, 513, 1023, 1024, 1025, 2047, 4095, 4096]


def by_the_byte(payload: bytes, key: bytes) -> bytes:
    return bytes(octet ^ k for octet, k in zip(payload, cycle(key), strict=False))


@pytest.mark.parametrize("key", KEYS)
def test_encoding_masks_every_length(key: bytes) -> None:
    for size in LENGTHS:
        payload = SOURCE[:size]
        frame = encode_frame(2, payload, mask=key)
        header = 2 if size < 126 else 4
        assert frame[header : header + 4] == key
        assert frame[header + 4 :] == by_the_byte(payload, key), size


@pytest.mark.parametrize("alignment", range(64))
def test_decoding_unmasks_every_length_wherever_it_lies(alignment: int) -> None:
    # Payload is unmasked in the input, and a ping before the frame moves it there.
    before = masked(0x8A, bytes(alignment))
    for size in LENGTHS:
        key = KEYS[size & 3]
        frame = encode_frame(2, SOURCE[:size], mask=key)
        events = Decoder().feed(before + frame)
        assert events[1:] == [("binary", SOURCE[:size])], size


@pytest.mark.parametrize("key", KEYS)
def test_decoding_goes_on_with_the_key_where_the_last_part_ended(key: bytes) -> None:
    for size in LENGTHS:
        frame = encode_frame(2, SOURCE[:size], mask=key)
        start = len(frame) - size
        for first in range(min(size, 9)):
            for second in range(min(size - first, 5)):
                decoder = Decoder()
                one, two = start + first, start + first + second
                assert decoder.feed(frame[:one]) == ([] if size else [("binary", b"")])
                events = decoder.feed(frame[one:two]) + decoder.feed(frame[two:])
                assert events == ([("binary", SOURCE[:size])] if size else [])


@pytest.mark.parametrize("key", KEYS)
def test_a_fragment_begins_with_the_first_byte_of_its_own_key(key: bytes) -> None:
    for size in range(40):
        stream = masked(0x02, SOURCE[:size], b"abcd") + masked(0x80, SOURCE[size : 2 * size], key)
        assert Decoder().feed(stream) == [("binary", SOURCE[: 2 * size])]


def test_control_frames_are_unmasked_in_parts() -> None:
    for size in range(126):
        frame = masked(0x89, SOURCE[:size], b"\x12\x34\x56\x78")
        for cut in range(1, len(frame)):
            decoder = Decoder()
            assert decoder.feed(frame[:cut]) == []
            assert decoder.feed(frame[cut:]) == [("ping", SOURCE[:size])]


def test_decoding_leaves_the_given_bytes_alone() -> None:
    frame = masked(0x82, SOURCE[:100])
    copy = bytes(bytearray(frame))
    Decoder().feed(frame)
    Decoder().receive(frame)
    assert frame == copy
