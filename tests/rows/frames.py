"""The rows of frames, behind the 101, and of what else happens to an open socket."""

from __future__ import annotations

import random
import zlib
from typing import Any

from tests.codec.feeding import masked
from tests.rows.row import (
    WINDOW_BITS,
    Case,
    Frame,
    FrameCase,
    Row,
    close_frame,
    closed,
    failed,
)
from tests.support import BINARY, CLOSE, PONG, TEXT, handshake

NO_KEY = bytes(4)
GOODBYE = masked(0x88, b"\x03\xe8")
LARGEST = 1 << 20  # of messages, by default
MOST_FRAGMENTS = 4096


def fails(
    what: str, *pieces: bytes, code: int = 1002, before: tuple[Frame, ...] = (), **more: Any
) -> FrameCase:
    """Return a case that ends the connection with a code, behind `before`."""
    return FrameCase(
        what=what,
        data=b"".join(pieces),
        boundaries=_boundaries(pieces),
        frames=(*before, close_frame(code)),
        info=failed(code),
        **more,
    )


def passes(what: str, *pieces: bytes, answers: tuple[Frame, ...] = (), **more: Any) -> FrameCase:
    """Return a case that is answered and does no harm: the client closes when it likes."""
    return FrameCase(
        what=what,
        data=b"".join(pieces) + GOODBYE,
        boundaries=_boundaries((*pieces, GOODBYE)),
        frames=(*answers, close_frame(1000)),
        info=closed(1000),
        **more,
    )


def ends(
    what: str, *pieces: bytes, code: int, reason: str = "", outlasts: bool = False
) -> FrameCase:
    """Return a case in which the client closes with a code and gets it back."""
    answer = (CLOSE, b"") if code == 1005 else close_frame(code)
    return FrameCase(
        what=what,
        data=b"".join(pieces),
        boundaries=_boundaries(pieces),
        frames=(answer,),
        info=closed(code, reason),
        outlasts=outlasts,
    )


def _boundaries(pieces: tuple[bytes, ...]) -> tuple[int, ...]:
    """Where the first and last pieces begin, and how far their headers may reach."""
    starts = [0]
    for piece in pieces:
        starts.append(starts[-1] + len(piece))
    return tuple(sorted({*starts[:3], *starts[-3:]}))


def length(first: int, size: int, width: int) -> bytes:
    """Return a frame's header with the length in `width` bytes, whether it fits or not."""
    mark = {2: b"\xfe", 8: b"\xff"}[width]
    return bytes([first]) + mark + size.to_bytes(width, "big") + NO_KEY


def echoes(*sizes: int) -> tuple[Case, ...]:
    """Return cases of messages of these sizes, in text and in binary."""
    cases: list[Case] = []
    for size in sizes:
        payload = (b"0123456789abcde" * (size // 15 + 1))[:size]
        for opcode in (TEXT, BINARY):
            cases.append(
                passes(
                    f"{size} bytes of {'text' if opcode == TEXT else 'binary'}",
                    masked(0x80 | opcode, payload),
                    answers=((opcode, payload),),
                )
            )
    return tuple(cases)


def joined(what: str, *parts: bytes) -> tuple[Case, ...]:
    """Return cases of a message in these fragments, in text and in binary."""
    first, *middle, last = parts
    return tuple(
        passes(
            f"{what} in {'text' if opcode == TEXT else 'binary'}",
            masked(opcode, first),
            *[masked(0x00, part) for part in middle],
            masked(0x80, last),
            answers=((opcode, b"".join(parts)),),
        )
        for opcode in (TEXT, BINARY)
    )


def packed(data: bytes, bits: int = WINDOW_BITS, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Return a message as a client compresses it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -bits)
    return (packer.compress(data) + packer.flush(flush)).removesuffix(b"\x00\x00\xff\xff")


def deflated(opcode: int, payload: bytes, parts: int = 1) -> tuple[bytes, ...]:
    """Return a compressed message in so many frames: RSV1 is set in the first (RFC 7692, 6)."""
    size = len(payload) // parts + 1
    pieces = [payload[at : at + size] for at in range(0, size * parts, size)]
    last = len(pieces) - 1
    return tuple(
        masked((0x80 if at == last else 0) | (0x40 | opcode if at == 0 else 0), piece)
        for at, piece in enumerate(pieces)
    )


NOISE = random.Random(1).randbytes(20_000)
# Of more than the largest message, in a fiftieth of it.
BOMB = packed(b"".join(NOISE[at : at + 16] + bytes(1000) for at in range(0, 17_000, 16)))
HELLO = packed(b"Hello")
NEXT = deflated(TEXT, packed(b"next"))
NEXT_ANSWER = (TEXT, b"next")

BAD_TEXT = {
    "a byte that never occurs": b"ok \xff",
    "a continuation byte alone": b"\x80",
    "a start without its rest": b"\xc3(",
    "the first surrogate": b"\xed\xa0\x80",
    "the last surrogate": b"\xed\xbf\xbf",
    "overlong NUL": b"\xc0\x80",
    "overlong in three bytes": b"\xe0\x80\x80",
    "overlong in four bytes": b"\xf0\x80\x80\x80",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "far above U+10FFFF": b"\xf5\x80\x80\x80",
    "two of three bytes": b"\xe2\x82",
    "three of four bytes": b"\xf0\x9f\x98",
}
PINGS = [bytes([i]) * (i * 12) for i in range(10)]

FRAME_ROWS = [
    Row(
        id="FR-01",
        what="Text and binary, empty and around each step of the length field; a mask of zeros",
        cases=(
            *echoes(0, 1, 125, 126, 127, 65535, 65536),
            *(
                passes(
                    f"a mask of zeros over {name}",
                    masked(0x80 | opcode, b"abc", NO_KEY),
                    answers=((opcode, b"abc"),),
                )
                for opcode, name in ((TEXT, "text"), (BINARY, "binary"))
            ),
        ),
    ),
    Row(
        id="FR-02",
        what="A frame without a mask, of any opcode, Close as well",
        cases=tuple(
            fails(f"{first:02x} with {len(payload)} bytes", bytes([first, len(payload)]) + payload)
            for first in (0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A)
            for payload in (b"", b"\x03\xe8")
        ),
    ),
    Row(
        id="FR-03",
        what="Reserved bits of a data frame, one or more of the three, with no extension agreed on",
        cases=tuple(
            fails(f"{first | bits:02x}", masked(first | bits, b"x"))
            for bits in (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70)
            for first in (0x81, 0x82, 0x01, 0x02)
        ),
    ),
    Row(
        id="FR-04",
        what="Opcodes 3 to 7 and 0xB to 0xF, with FIN or without",
        cases=tuple(
            fails(f"{fin | opcode:02x}", masked(fin | opcode, b"x"))
            for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
            for fin in (0x00, 0x80)
        ),
    ),
    Row(
        id="FR-05",
        what="Pings of up to 125 bytes, and longer ones",
        cases=(
            passes("no byte", masked(0x89), answers=((PONG, b""),)),
            passes("125 bytes", masked(0x89, bytes(125)), answers=((PONG, bytes(125)),)),
            fails("126 bytes", masked(0x89, bytes(126))),
            fails("65536 bytes", length(0x89, 65536, 8)),
        ),
    ),
    Row(
        id="FR-06",
        what="A control frame in fragments, inside a message or not",
        cases=tuple(
            fails(
                f"{first:02x}{' in a message' if start else ''}", start, masked(first, b"\x03\xe8")
            )
            for first in (0x08, 0x09, 0x0A)
            for start in (b"", masked(0x01, b"a"))
        ),
    ),
    Row(
        id="FR-07",
        what="A pong that nobody asked for",
        cases=(
            passes("with a payload", masked(0x8A, b"x")),
            passes("empty", masked(0x8A)),
        ),
        outcome="Ignored",
        in_short=True,
    ),
    Row(
        id="FR-08",
        what="A continuation of nothing, with FIN or without, at first or behind a message",
        cases=(
            fails("without FIN", masked(0x00, b"x")),
            fails("with FIN", masked(0x80, b"x")),
            *(
                fails(
                    f"{first:02x} behind a message",
                    masked(0x01, b"a") + masked(0x80, b"b"),
                    masked(first),
                    before=((TEXT, b"ab"),),
                )
                for first in (0x00, 0x80)
            ),
        ),
    ),
    Row(
        id="FR-09",
        what="A new message inside one that has not ended",
        cases=tuple(
            fails(f"{first:02x} behind {start:02x}", masked(start, b"a"), masked(first, b"b"))
            for start in (0x01, 0x02)
            for first in (0x01, 0x02, 0x81, 0x82)
        ),
    ),
    Row(
        id="FR-10",
        what="Empty fragments: the first, the middle, the last, all",
        cases=(
            *joined("first", b"", b"a", b"b"),
            *joined("middle", b"a", b"", b"b"),
            *joined("last", b"a", b"b", b""),
            *joined("all", b"", b"", b""),
        ),
        outcome="They count as fragments",
        shown_by=("tests/connection/test_failing.py::test_too_many_fragments_close_with_1008",),
    ),
    Row(
        id="FR-11",
        what="4,096 fragments, and one more, empty or not",
        cases=(
            passes(
                "4,096",
                masked(0x01, b"x"),
                *[masked(0x00, b"x")] * (MOST_FRAGMENTS - 2),
                masked(0x80, b"x"),
                answers=((TEXT, b"x" * MOST_FRAGMENTS),),
            ),
            *(
                fails(
                    f"4,097 {'empty ones' if not payload else 'with a byte'}",
                    masked(0x01, payload),
                    *[masked(0x00, payload)] * MOST_FRAGMENTS,
                    code=1008,
                )
                for payload in (b"", b"x")
            ),
        ),
    ),
    Row(
        id="FR-12",
        what="Pings and pongs between fragments",
        cases=(
            passes(
                "both",
                masked(0x01, b"Hel"),
                masked(0x89, b"are you there?"),
                masked(0x00, b"l"),
                masked(0x8A, b"yes"),
                masked(0x89),
                masked(0x80, b"o"),
                answers=((PONG, b"are you there?"), (PONG, b""), (TEXT, b"Hello")),
            ),
            passes(
                "both, compressed",
                deflated(TEXT, HELLO, 2)[0],
                masked(0x89, b"are you there?"),
                masked(0x8A, b"yes"),
                masked(0x89),
                deflated(TEXT, HELLO, 2)[1],
                answers=((PONG, b"are you there?"), (PONG, b""), (TEXT, b"Hello")),
                is_packed=True,
            ),
        ),
    ),
    Row(
        id="FR-13",
        what="Ten pings in the middle of a message, and of a character",
        cases=(
            passes(
                "ten pings",
                masked(0x01, "ä".encode()[:1]),
                *[masked(0x89, ping) for ping in PINGS],
                masked(0x80, "ä".encode()[1:]),
                answers=(*((PONG, ping) for ping in PINGS), (TEXT, "ä".encode())),
            ),
            passes(
                "ten pings, compressed",
                deflated(TEXT, HELLO, 2)[0],
                *[masked(0x89, ping) for ping in PINGS],
                deflated(TEXT, HELLO, 2)[1],
                *NEXT,
                answers=(*((PONG, ping) for ping in PINGS), (TEXT, b"Hello"), NEXT_ANSWER),
                is_packed=True,
            ),
        ),
    ),
    Row(
        id="FR-14",
        what="A length that is not in its shortest form, of data and of control frames",
        cases=tuple(
            fails(f"{size} in {width} bytes behind {first:02x}", length(first, size, width))
            for first in (0x81, 0x82, 0x01, 0x88, 0x89, 0x8A)
            for size, width in ((0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65535, 8))
        ),
    ),
    Row(
        id="FR-15",
        what="Reserved bits of a control frame, with FIN or without",
        cases=tuple(
            fails(f"{first | bits:02x}", masked(first | bits, b"\x03\xe8"))
            for bits in (0x10, 0x20, 0x40, 0x70)
            for first in (0x88, 0x89, 0x8A, 0x08, 0x09, 0x0A)
        ),
    ),
    Row(
        id="FR-20",
        what="A length of 64 bits with the highest set",
        cases=tuple(
            fails(f"{size:x}", length(0x82, size, 8))
            for size in (1 << 63, (1 << 63) + 1, (1 << 64) - 1)
        ),
    ),
    Row(
        id="FR-21",
        what="An enormous length: 2^31 - 1, 2^32, 2^63 - 1, and one whose sum wraps around",
        cases=(
            *(
                fails(f"{size:x}", length(0x82, size, 8), code=1009)
                for size in ((1 << 31) - 1, 1 << 32, (1 << 63) - 1)
            ),
            fails(
                "in the second fragment",
                masked(0x02, b"ab"),
                length(0x80, (1 << 63) - 1, 8),
                code=1009,
            ),
        ),
        outcome="At the header; the payload is not waited for",
    ),
    Row(
        id="FR-22",
        what="A message of 1 MiB, and one byte more, in one frame or in fragments",
        cases=(
            passes("1 MiB", masked(0x82, bytes(LARGEST)), answers=((BINARY, bytes(LARGEST)),)),
            fails("a byte more", length(0x82, LARGEST + 1, 8), code=1009),
            fails(
                "a byte more in fragments",
                masked(0x02, bytes(LARGEST)),
                b"\x80\x81" + NO_KEY,
                code=1009,
            ),
        ),
        outcome="At the header; the payload is not waited for",
    ),
    Row(
        id="FR-23",
        what="Text that is no UTF-8: a bad byte, a surrogate, overlong, above U+10FFFF, cut off",
        cases=tuple(
            fails(f"{what}{how}", *pieces, code=1007)
            for what, text in BAD_TEXT.items()
            for how, pieces in (
                ("", [masked(0x81, text)]),
                (" in fragments", [masked(0x01, text), masked(0x80)]),
            )
        ),
    ),
    Row(
        id="FR-24",
        what="The same in a fragment that is not the last, or in the middle of a frame",
        cases=(
            fails("in a fragment", masked(0x01, b"ok \xed\xa0"), code=1007),
            fails("between fragments", masked(0x01, b"ok \xe2"), masked(0x00, b"("), code=1007),
            fails("in a frame", length(0x81, 1000, 2), b"fine so far \xc0", code=1007),
            fails("in a fragment that goes on", length(0x01, 1000, 2), b"fine \xff", code=1007),
            fails(
                "in a frame of 64 KiB",
                length(0x81, 65536, 8),
                b"a" * 20_000,
                b"\xff",
                code=1007,
            ),
        ),
        outcome="At the bad byte; the rest is not waited for",
    ),
    Row(
        id="FR-25",
        what="A character split between fragments",
        cases=tuple(
            passes(
                f"{character} after {at} bytes",
                masked(0x01, character.encode()[:at]),
                masked(0x89, b"\xff"),
                masked(0x80, character.encode()[at:]),
                answers=((PONG, b"\xff"), (TEXT, character.encode())),
            )
            for character in ("é", "€", "😀")
            for at in range(1, len(character.encode()))
        ),
    ),
    Row(
        id="FR-26",
        what="NUL, a byte order mark, noncharacters, the last code point",
        cases=tuple(
            passes(ascii(text), masked(0x81, text.encode()), answers=((TEXT, text.encode()),))
            for text in ("\0", "\ufeffafter a mark", "\ufdd0\uffff", "\U0010ffff")
        ),
    ),
    Row(
        id="FR-27",
        what="Valid messages and a ping, then a bad frame in the same segment",
        cases=(
            fails(
                "several",
                masked(0x81, b"one"),
                masked(0x82, b"two"),
                masked(0x89, b"p"),
                b"\x83\x80" + NO_KEY,
                before=((TEXT, b"one"), (BINARY, b"two"), (PONG, b"p")),
            ),
            fails("one", masked(0x81, b"one"), b"\xff\xff", before=((TEXT, b"one"),)),
        ),
    ),
    Row(
        id="FR-28",
        what="A bad frame, then valid ones in the same segment",
        cases=(
            fails("opcode", masked(0x83), masked(0x81, b"x"), GOODBYE),
            fails("text", masked(0x81, b"\xff"), masked(0x81, b"x"), GOODBYE, code=1007),
            fails("length", length(0x82, LARGEST + 1, 8), masked(0x81, b"x"), GOODBYE, code=1009),
        ),
    ),
    Row(
        id="FR-29",
        what="A Close: empty, of one byte, of 126 bytes, without FIN, with a reserved bit",
        cases=(
            ends("no byte", masked(0x88), code=1005),
            fails("one byte", masked(0x88, b"\x03")),
            fails("126 bytes", masked(0x88, b"\x03\xe8" + b"x" * 124)),
            fails("no FIN", masked(0x08, b"\x03\xe8")),
            fails("reserved bit", masked(0xC8, b"\x03\xe8")),
        ),
    ),
    Row(
        id="FR-30",
        what="A Close with a code that may not be sent: 0-999, 1004-1006, 1015-2999, 5000 up",
        cases=tuple(
            fails(str(code), masked(0x88, code.to_bytes(2, "big")))
            for code in (
                0,
                1,
                999,
                1004,
                1005,
                1006,
                1015,
                1016,
                1100,
                2000,
                2999,
                5000,
                5001,
                65535,
            )
        ),
        shown_by=("tests/codec/test_frames.py::test_exactly_the_codes_that_may_be_sent_are_taken",),
    ),
    Row(
        id="FR-31",
        what="A Close with a code that may be sent: 1000-1003, 1007-1014, 3000-4999",
        cases=(
            *(
                ends(str(code), masked(0x88, code.to_bytes(2, "big")), code=code)
                for code in (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999)
            ),
            ends("with a reason", masked(0x88, b"\x0f\xa0bye"), code=4000, reason="bye"),
            ends(
                "with the longest reason",
                masked(0x88, b"\x0f\xa0" + b"x" * 123),
                code=4000,
                reason="x" * 123,
            ),
        ),
        outcome="The same code comes back, without a reason",
        in_short=True,
    ),
    Row(
        id="FR-32",
        what="A Close whose reason is no UTF-8",
        cases=tuple(
            fails(ascii(reason), masked(0x88, b"\x03\xe8" + reason), code=1007)
            for reason in (
                b"\xff",
                b"\x80",
                b"ok\xc3",
                b"\xed\xa0\x80",
                b"\xc0\xaf",
                b"\xf4\x90\x80\x80",
            )
        ),
    ),
    Row(
        id="FR-33",
        what="A Close in the middle of a message",
        cases=(ends("in text", masked(0x01, b"Hel"), masked(0x88, b"\x03\xe9"), code=1001),),
    ),
    Row(
        id="FR-34",
        what="Anything behind a Close: messages, a second Close, pings, bad frames, HTTP",
        cases=tuple(
            ends(what, GOODBYE, behind, code=1000, outlasts=True)
            for what, behind in {
                "a message": masked(0x81, b"x"),
                "a second Close": masked(0x88, b"\x03\xe9"),
                "a ping": masked(0x89, b"x"),
                "a bad frame": b"\xff\xff",
                "HTTP": handshake(),
            }.items()
        ),
        outcome="Ignored. A server closes TCP as soon as it has answered (RFC 6455 section 7.1.1): "
        "who sends more after that is reset",
        shown_by=(
            "tests/connection/test_closing.py"
            "::test_what_comes_behind_a_close_destroys_nothing_that_is_queued",
        ),
    ),
    Row(
        id="FR-35",
        what="HTTP in the place of frames",
        cases=(
            fails("a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            fails("a handshake", handshake()),
            fails("an empty line", b"\r\n"),
        ),
    ),
]

OTHER_ROWS = [
    Row(
        id="DF-01",
        what="A bomb: more than 1 MiB when inflated, or more than 64 KiB and 100 times its size",
        cases=(
            fails("1 MiB", *deflated(BINARY, BOMB), code=1009, is_packed=True),
            fails(
                "100 times", *deflated(BINARY, packed(bytes(1 << 17))), code=1009, is_packed=True
            ),
        ),
        shown_by=("tests/connection/test_compression.py::test_a_bomb_closes_with_1009",),
    ),
    Row(
        id="DF-02",
        what="A bomb over 30 fragments",
        cases=(fails("30", *deflated(BINARY, BOMB, 30), code=1009, is_packed=True),),
        shown_by=("tests/connection/test_compression.py::test_a_bomb_closes_with_1009",),
    ),
    Row(
        id="DF-03",
        what="A compressed message of `00`, of no byte, or with a final block",
        cases=tuple(
            passes(
                what,
                *deflated(TEXT, payload),
                *NEXT,
                answers=((TEXT, text), NEXT_ANSWER),
                is_packed=True,
            )
            for what, payload, text in (
                ("`00`", b"\x00", b""),
                ("no byte", b"", b""),
                ("nothing in a final block", packed(b"", flush=zlib.Z_FINISH), b""),
                ("a final block", packed(b"Hello", flush=zlib.Z_FINISH), b"Hello"),
            )
        ),
        outcome="The message, and the next one",
        in_short=True,
    ),
    Row(
        id="DF-04",
        what="Garbage, cut off, or more behind the end",
        cases=tuple(
            fails(what, *deflated(TEXT, payload), code=1007, is_packed=True)
            for what, payload in {
                "no block": b"\xff" * 10,
                "words": b"garbage, and no block",
                "cut off": packed(b"Hello" * 100)[:-3],
                "more behind the end": HELLO + b"junk",
                "more behind a final block": packed(b"Hello", flush=zlib.Z_FINISH) + b"\x01junk",
                "two final blocks": packed(b"Hello", flush=zlib.Z_FINISH) * 2,
            }.items()
        ),
    ),
    Row(
        id="DF-05",
        what="RSV1 on a continuation",
        cases=(
            fails("in text", masked(0x01, b"a"), masked(0xC0, b"b")),
            fails("in binary", masked(0x02, b"a"), masked(0x40, b"b")),
            fails(
                "of a compressed message", masked(0x41, b"a"), masked(0xC0, b"b"), is_packed=True
            ),
            fails(
                "of one that is not, where others are",
                masked(0x01, b"a"),
                masked(0xC0, b"b"),
                is_packed=True,
            ),
            fails("on a ping", masked(0xC9), is_packed=True),
        ),
    ),
    Row(
        id="DF-06",
        what="Compressed text that is no UTF-8",
        cases=tuple(
            fails(f"{what}{how}", *deflated(TEXT, packed(text), parts), code=1007, is_packed=True)
            for what, text in BAD_TEXT.items()
            for how, parts in (("", 1), (" in fragments", 3))
        ),
    ),
    Row(
        id="DF-07",
        what="Frames that are not compressed where compression is agreed on",
        cases=(
            passes(
                "before compressed ones and behind",
                masked(0x81, b"plain"),
                *NEXT,
                masked(0x02, b"pl"),
                masked(0x80, b"ain"),
                *NEXT,
                masked(0x82),
                answers=(
                    (TEXT, b"plain"),
                    NEXT_ANSWER,
                    (BINARY, b"plain"),
                    NEXT_ANSWER,
                    (BINARY, b""),
                ),
                is_packed=True,
            ),
        ),
        outcome="The messages",
        in_short=True,
    ),
    Row(
        id="DF-08",
        what="A distance above the window agreed on",
        cases=(
            fails(
                "20,000 bytes back",
                *deflated(BINARY, packed(NOISE + NOISE, bits=15)),
                code=1007,
                is_packed=True,
            ),
        ),
    ),
    Row(
        id="KA-01",
        what="No pong, nor any other byte, 20 s after a ping",
        outcome="1011, within 40 s of the last byte",
        shown_by=(
            "tests/connection/test_pings.py::test_a_peer_that_does_not_answer_is_closed_with_1011",
        ),
    ),
    Row(
        id="SC-01",
        what="A peer that does not read what is sent to it, up to `write_limit`",
        outcome="1013, and dropped after 5 s",
        shown_by=(
            "tests/connection/test_slow_peers.py::test_the_write_limit_closes_with_1013",
            "tests/connection/test_slow_peers.py"
            "::test_a_peer_over_the_limit_is_dropped_when_it_goes_on_not_reading",
            "tests/test_websocket.py::test_a_slow_consumer_is_disconnected_at_the_write_limit",
        ),
    ),
    Row(
        id="DR-01",
        what="The server stops",
        outcome="1001, with the option `restart` 1012, or the code given to `close`",
        shown_by=(
            "tests/test_cli.py::test_a_signal_drains_with_1001",
            "tests/test_cli.py::test_a_server_that_comes_back_says_so_with_1012",
            "tests/test_server.py::test_stopping_closes_every_socket_and_waits_for_the_answers",
        ),
    ),
    Row(
        id="EX-01",
        what="A handler raises",
        outcome="1011, without a reason",
        shown_by=(
            "tests/connection/test_failing.py"
            "::test_a_handler_that_raises_closes_with_1011_and_tells_nothing",
            "tests/test_handlers.py::test_an_exception_closes_with_1011_and_no_internals",
        ),
    ),
    Row(
        id="RL-01",
        what="Above a rate, against a policy, no longer allowed",
        outcome="1008",
        shown_by=(
            "tests/connection/test_rates.py::test_as_many_messages_as_the_burst_may_come_at_once",
            "tests/connection/test_rates.py::test_bytes_are_counted_as_well",
            "tests/connection/test_rates.py"
            "::test_more_than_100_control_frames_a_second_for_10_seconds_close",
        ),
    ),
]
