"""UTF-8 against `bytes.decode`: the same verdict, at the same byte."""

import itertools
import random

import pytest

from tests.codec.feeding import masked
from wsgroups.codec.frames import Decoder, utf8_error_offset

ONE_BYTE = [bytes([byte]) for byte in range(256)]

# The bytes at which the rules of RFC 3629 change.
EDGES = bytes.fromhex("00 41 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")


def expected_offset(data: bytes) -> int | None:
    """Where CPython's decoder finds the first byte that cannot stand where it is."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        # An invalid start byte is itself that byte; otherwise `end` is behind what could be right.
        return error.start if error.reason == "invalid start byte" else error.end
    return None


def test_every_sequence_of_one_and_two_bytes() -> None:
    assert utf8_error_offset(b"") is None
    for sequence in [*ONE_BYTE, *(a + b for a in ONE_BYTE for b in ONE_BYTE)]:
        assert utf8_error_offset(sequence) == expected_offset(sequence), sequence


@pytest.mark.parametrize("leads", [range(i, i + 32) for i in range(0, 256, 32)])
def test_every_sequence_of_three_bytes(leads: range) -> None:
    for lead, second in itertools.product(leads, ONE_BYTE):
        prefix = bytes([lead]) + second
        got = list(map(utf8_error_offset, map(prefix.__add__, ONE_BYTE)))
        offset = expected_offset(prefix)
        if offset is not None and offset < 2:
            assert got == [offset] * 256, prefix  # no third byte can mend it
        else:
            assert got == [expected_offset(prefix + third) for third in ONE_BYTE], prefix


def test_sequences_of_four_bytes_at_the_edges() -> None:
    for sequence in itertools.product(b"\xe0\xed\xef\xf0\xf1\xf3\xf4\xf5\xf8\xff", *3 * [EDGES]):
        data = bytes(sequence)
        assert utf8_error_offset(data) == expected_offset(data), data


def test_every_code_point() -> None:
    for plane in range(17):
        text = "".join(
            chr(point)
            for point in range(plane << 16, (plane + 1) << 16)
            if not 0xD800 <= point < 0xE000
        )
        assert utf8_error_offset(text.encode()) is None
        assert utf8_error_offset(text.encode()[:-1]) == len(text.encode()) - 1


def test_no_surrogate() -> None:
    for point in range(0xD800, 0xE000):
        data = chr(point).encode("utf-8", "surrogatepass")
        assert utf8_error_offset(b"abc" + data) == 4  # ED may be right, what follows cannot


@pytest.mark.parametrize("middle", [b"\xff", b"\xc3", b"\xc3\xa9", b"\xe2\x82(", b"\xf0\x9f\x98"])
def test_the_place_among_ascii_makes_no_difference(middle: bytes) -> None:
    # ASCII is skipped in words of eight bytes.
    for before in range(40):
        for after in range(20):
            data = b"a" * before + middle + b"z" * after
            assert utf8_error_offset(data) == expected_offset(data), data


def test_random_bytes() -> None:
    choice = random.Random(8)
    pieces = [*ONE_BYTE[0x80:], *(chr(i).encode() for i in (0x41, 0xE9, 0x20AC, 0x1F600))] + [
        b"plain text, more than eight"
    ] * 40
    for _ in range(30_000):
        data = b"".join(choice.choices(pieces, k=choice.randrange(12)))
        assert utf8_error_offset(data) == expected_offset(data), data


# --- through the decoder, in parts ----------------------------------------------------------


def failing_byte(data: bytes, sizes: list[int]) -> int | None:
    """Feed text as fragments of the given sizes, byte by byte; return where it fails."""
    decoder = Decoder()
    position, first = 0, 0x01
    for size in [*sizes, len(data) - sum(sizes)]:
        part = data[position : position + size]
        final = position + size == len(data)
        frame = masked(first | (0x80 if final else 0), part, b"\0\0\0\0")
        assert decoder.feed(frame[:6]) == [] or not part
        for i, byte in enumerate(part):
            events = decoder.feed(bytes([byte]))
            if events and events[0][0] == "fail":
                ends_early = final and i == size - 1 and utf8_error_offset(data) == len(data)
                return len(data) if ends_early else position + i
        position += size
        first = 0x00
    return None


def test_text_fails_at_the_same_byte_however_it_is_split() -> None:
    choice = random.Random(9)
    pieces = [b"abcdefghij", "é".encode(), "€".encode(), "😀".encode(), b"x"]
    for _ in range(1500):
        good = b"".join(choice.choices(pieces, k=choice.randrange(1, 5)))
        bad = choice.choice([b"", b"\xff", b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0", b"\xf4\x90"])
        data = good + bad + choice.choice([b"", b"tail", b"\xe2"])
        cut = sorted(choice.choices(range(len(data)), k=2))
        sizes = [cut[0], cut[1] - cut[0]]
        assert failing_byte(data, sizes) == expected_offset(data), (data, sizes)


def test_text_split_at_two_places_is_the_same_text() -> None:
    text = "aé€😀z"
    data = text.encode()
    for i, j in itertools.combinations_with_replacement(range(len(data) + 1), 2):
        stream = masked(0x01, data[:i]) + masked(0x00, data[i:j]) + masked(0x80, data[j:])
        assert Decoder().feed(stream) == [("text", text)]
