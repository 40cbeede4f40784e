"""Frames in, events out, and frames out. The FR numbers are rows of the list of bad input."""

import pytest

from tests.codec.feeding import Event, decode, masked
from wsgroups.codec.frames import Decoder, encode_frame

FAIL_PROTOCOL: list[Event] = [("fail", 1002)]
NO_KEY = b"\0\0\0\0"

# --- what the RFC shows (section 5.7) -------------------------------------------------------


def test_masked_text_of_the_rfc() -> None:
    assert decode(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") == [("text", "Hello")]


def test_unmasked_text_of_the_rfc_on_the_clients_side() -> None:
    assert decode(b"\x81\x05\x48\x65\x6c\x6c\x6f", expect_mask=False) == [("text", "Hello")]


def test_fragmented_text_of_the_rfc_on_the_clients_side() -> None:
    stream = b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f"
    assert decode(stream, expect_mask=False) == [("text", "Hello")]


def test_ping_and_pong_of_the_rfc() -> None:
    assert decode(b"\x89\x05\x48\x65\x6c\x6c\x6f", expect_mask=False) == [("ping", b"Hello")]
    stream = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
    assert decode(stream) == [("pong", b"Hello")]


# --- messages (FR-01) -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 7, 8, 9, 124, 125, 126, 127, 128, 255, 256])
def test_a_message_of_any_length_is_one_event(size: int) -> None:
    payload = bytes(i % 128 for i in range(size))
    assert decode(masked(0x82, payload)) == [("binary", payload)]
    assert decode(masked(0x81, payload)) == [("text", payload.decode())]


@pytest.mark.parametrize("size", [65535, 65536, 65537])
def test_a_message_around_the_step_of_the_length_field_is_one_event(size: int) -> None:
    payload = (b"0123456789abcde" * 5000)[:size]
    assert len(payload) == size
    assert decode(masked(0x82, payload)) == [("binary", payload)]
    assert decode(masked(0x81, payload)) == [("text", payload.decode())]


def test_an_empty_message_is_a_message() -> None:
    assert decode(b"\x81\x80" + NO_KEY) == [("text", "")]
    assert decode(b"\x82\x80" + NO_KEY) == [("binary", b"")]


def test_a_mask_of_zeros_leaves_the_payload() -> None:
    assert decode(b"\x82\x83\0\0\0\0abc") == [("binary", b"abc")]


def test_messages_come_in_order() -> None:
    stream = b"".join(masked(0x81, b"%d" % i, bytes([i, i + 1, i + 2, i + 3])) for i in range(20))
    assert decode(stream) == [("text", str(i)) for i in range(20)]


@pytest.mark.parametrize("text", ["\0", "\ufeffafter a mark", "\ufdd0\uffff", "\U0010ffff", "ä€😀"])
def test_nul_byte_order_mark_and_noncharacters_are_text(text: str) -> None:  # FR-26
    assert decode(masked(0x81, text.encode())) == [("text", text)]


def test_an_unfinished_message_is_no_event() -> None:
    stream = masked(0x81, b"Hello")
    for size in range(len(stream)):
        assert decode(stream[:size]) == []


# --- fragments ------------------------------------------------------------------------------


def test_fragments_are_one_message() -> None:
    stream = masked(0x01, b"Hel") + masked(0x00, b"lo, ", b"abcd") + masked(0x80, b"you")
    assert decode(stream) == [("text", "Hello, you")]
    stream = masked(0x02, b"\xff") + masked(0x00, b"\xfe") + masked(0x80, b"\xfd")
    assert decode(stream) == [("binary", b"\xff\xfe\xfd")]


@pytest.mark.parametrize(
    "parts",
    [
        [b"", b"a", b"b"],
        [b"a", b"", b"b"],
        [b"a", b"b", b""],
        [b"", b"", b""],
        [b"", b"ab"],
        [b"ab", b""],
    ],
)
def test_a_fragment_may_be_empty(parts: list[bytes]) -> None:  # FR-10
    first, *middle, last = parts
    for opcode, name in ((1, "text"), (2, "binary")):
        stream = masked(opcode, first) + b"".join(masked(0, part) for part in middle)
        whole = b"".join(parts)
        value = whole.decode() if name == "text" else whole
        assert decode(stream + masked(0x80, last)) == [(name, value)]


def test_fragments_of_growing_size_are_put_together() -> None:
    parts = [bytes([i % 251]) * (i * 37) for i in range(1, 40)]
    stream = masked(0x02, parts[0]) + b"".join(masked(0x00, part) for part in parts[1:])
    assert decode(stream + masked(0x80, b"end")) == [("binary", b"".join(parts) + b"end")]


def test_two_fragmented_messages_follow_each_other() -> None:
    one = masked(0x01, b"on") + masked(0x80, b"e")
    two = masked(0x02, b"tw") + masked(0x80, b"o")
    assert decode(one + two + one) == [("text", "one"), ("binary", b"two"), ("text", "one")]


def test_control_frames_may_stand_between_fragments() -> None:  # FR-12
    stream = (
        masked(0x01, b"Hel")
        + masked(0x89, b"are you there?")
        + masked(0x00, b"l")
        + masked(0x8A, b"yes")
        + masked(0x89)
        + masked(0x80, b"o")
    )
    assert decode(stream) == [
        ("ping", b"are you there?"),
        ("pong", b"yes"),
        ("ping", b""),
        ("text", "Hello"),
    ]


def test_ten_pings_between_fragments_leave_the_message_alone() -> None:  # FR-13
    pings = [bytes([i]) * (i * 12) for i in range(10)]
    stream = masked(0x01, "ä".encode()[:1]) + b"".join(masked(0x89, ping) for ping in pings)
    events = decode(stream + masked(0x80, "ä".encode()[1:]))
    assert events == [("ping", ping) for ping in pings] + [("text", "ä")]


@pytest.mark.parametrize("first", [0x00, 0x80])
def test_a_continuation_needs_a_beginning(first: int) -> None:  # FR-08
    assert decode(masked(first, b"x")) == FAIL_PROTOCOL
    complete = masked(0x01, b"a") + masked(0x80, b"b")
    assert decode(complete + masked(first, b"x")) == [("text", "ab"), ("fail", 1002)]
    assert decode(masked(0x82, b"a") + masked(first)) == [("binary", b"a"), ("fail", 1002)]


@pytest.mark.parametrize("first", [0x01, 0x02, 0x81, 0x82])
@pytest.mark.parametrize("start", [0x01, 0x02])
def test_a_message_must_end_before_the_next(start: int, first: int) -> None:  # FR-09
    assert decode(masked(start, b"a") + masked(first, b"b")) == FAIL_PROTOCOL
    assert decode(masked(start) + masked(first)) == FAIL_PROTOCOL


# --- headers --------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0x81, 0x82, 0x01, 0x02, 0x88, 0x89, 0x8A])
@pytest.mark.parametrize("payload", [b"", b"\x03\xe8"])
def test_a_client_must_mask(first: int, payload: bytes) -> None:  # FR-02
    assert decode(bytes([first, len(payload)]) + payload) == FAIL_PROTOCOL


def test_a_server_must_not_mask() -> None:
    assert decode(masked(0x81, b"Hello"), expect_mask=False) == FAIL_PROTOCOL


@pytest.mark.parametrize("bits", [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70])
@pytest.mark.parametrize("first", [0x01, 0x81, 0x82, 0x88, 0x89, 0x8A, 0x08, 0x09])
def test_reserved_bits_need_an_extension(first: int, bits: int) -> None:  # FR-03, FR-15
    assert decode(masked(first | bits)) == FAIL_PROTOCOL


def test_reserved_bits_on_a_continuation_fail() -> None:  # DF-05
    assert decode(masked(0x01, b"a") + masked(0xC0, b"b")) == FAIL_PROTOCOL


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("fin", [0x00, 0x80])
def test_reserved_opcodes_fail(opcode: int, fin: int) -> None:  # FR-04
    assert decode(masked(fin | opcode, b"x")) == FAIL_PROTOCOL


@pytest.mark.parametrize(
    "length",
    [
        b"\xfe\x00\x00",
        b"\xfe\x00\x7d",
        b"\xff" + bytes(8),
        b"\xff" + (125).to_bytes(8, "big"),
        b"\xff" + (126).to_bytes(8, "big"),
        b"\xff" + (65535).to_bytes(8, "big"),
    ],
)
def test_a_length_must_be_in_its_shortest_form(length: bytes) -> None:  # FR-14
    for first in (0x81, 0x82, 0x01):
        assert decode(bytes([first]) + length + NO_KEY) == FAIL_PROTOCOL


@pytest.mark.parametrize("length", [1 << 63, (1 << 63) + 1, (1 << 64) - 1])
def test_the_top_bit_of_a_length_must_be_zero(length: int) -> None:  # FR-20
    assert decode(b"\x82\xff" + length.to_bytes(8, "big") + NO_KEY) == FAIL_PROTOCOL


def test_http_in_the_place_of_frames_fails() -> None:  # FR-35
    assert decode(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == FAIL_PROTOCOL
    assert decode(b"\r\n") == FAIL_PROTOCOL


def test_a_bad_header_fails_at_its_second_byte() -> None:
    for start in (b"\xf1\x80", b"\x83\x80", b"\x81\x00", b"\x09\x80", b"\x89\xfe", b"\x80\x80"):
        decoder = Decoder()
        assert decoder.feed(start[:1]) == []
        ((name, value),) = decoder.feed(start[1:])
        assert (name, value[0]) == ("fail", 1002)


# --- limits ---------------------------------------------------------------------------------


def test_a_message_may_be_as_large_as_the_limit() -> None:
    assert decode(masked(0x82, bytes(100)), max_message_size=100) == [("binary", bytes(100))]
    fragments = masked(0x02, bytes(60)) + masked(0x00) + masked(0x80, bytes(40))
    assert decode(fragments, max_message_size=100) == [("binary", bytes(100))]
    exact = bytes(1 << 16)
    assert decode(masked(0x82, exact), max_message_size=1 << 16) == [("binary", exact)]


def test_one_byte_more_than_the_limit_fails_before_the_payload_comes() -> None:  # FR-22
    assert decode(b"\x82\xe5" + NO_KEY, max_message_size=100) == [("fail", 1009)]
    assert decode(b"\x81\xff\0\0\0\0\0\x10\0\x01" + NO_KEY) == [("fail", 1009)]
    for header in (b"\x00\xaa", b"\x80\xaa"):
        stream = masked(0x02, bytes(59)) + header + NO_KEY
        assert decode(stream, max_message_size=100) == [("fail", 1009)]


def test_the_limit_counts_each_message_for_itself() -> None:
    stream = masked(0x82, bytes(100)) + masked(0x02, bytes(50)) + masked(0x80, bytes(50))
    events: list[Event] = [("binary", bytes(100))] * 4
    assert decode(stream * 2, max_message_size=100) == events


@pytest.mark.parametrize("length", [1 << 32, (1 << 63) - 1, (1 << 31) - 1, (1 << 20) + 1])
def test_an_enormous_length_fails_at_its_header(length: int) -> None:  # FR-21
    header = b"\xff" + length.to_bytes(8, "big") + NO_KEY
    assert decode(b"\x82" + header) == [("fail", 1009)]


def test_a_length_that_would_wrap_around_fails() -> None:  # FR-21
    most = (1 << 63) - 1
    header = b"\x80\xff" + most.to_bytes(8, "big") + NO_KEY
    assert decode(masked(0x02, b"ab") + header) == [("fail", 1009)]
    assert decode(masked(0x02, b"ab") + header, max_message_size=most) == [("fail", 1009)]


def test_control_frames_do_not_count_for_the_limit() -> None:
    stream = masked(0x02, bytes(5)) + masked(0x89, bytes(125)) + masked(0x80, bytes(5))
    events: list[Event] = [("ping", bytes(125)), ("binary", bytes(10))]
    assert decode(stream, max_message_size=10) == events


def test_a_message_may_have_as_many_fragments_as_the_limit() -> None:
    stream = masked(0x01, b"a") + masked(0x00, b"b") + masked(0x80, b"c")
    assert decode(stream, max_fragments=3) == [("text", "abc")]
    assert decode(stream * 2, max_fragments=3) == [("text", "abc")] * 2


@pytest.mark.parametrize("last", [0x00, 0x80])
@pytest.mark.parametrize("payload", [b"", b"x"])
def test_one_fragment_more_than_the_limit_fails(payload: bytes, last: int) -> None:  # FR-11
    stream = masked(0x01, payload) + 2 * masked(0x00, payload) + masked(last, payload)
    assert decode(stream, max_fragments=3) == [("fail", 1008)]


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_the_4097th_fragment_fails_by_default(payload: bytes) -> None:  # FR-11
    start, more, end = masked(0x01, payload), masked(0x00, payload), masked(0x80, payload)
    decoder = Decoder()
    assert decoder.feed(start + 4094 * more) == []
    assert decoder.feed(end) == [("text", payload.decode() * 4096)]
    assert decoder.feed(start + 4095 * more) == []
    ((name, value),) = decoder.feed(end)
    assert (name, value[0]) == ("fail", 1008)


def test_control_frames_are_no_fragments() -> None:
    stream = masked(0x01, b"a") + 5 * masked(0x89) + masked(0x80, b"b")
    events: list[Event] = [("ping", b"")] * 5
    assert decode(stream, max_fragments=2) == [*events, ("text", "ab")]


# --- control frames -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 124, 125])
def test_a_ping_carries_up_to_125_bytes(size: int) -> None:  # FR-05
    payload = bytes(range(255, 255 - size, -1))
    assert decode(masked(0x89, payload)) == [("ping", payload)]
    assert decode(masked(0x8A, payload)) == [("pong", payload)]  # FR-07


@pytest.mark.parametrize("first", [0x88, 0x89, 0x8A])
@pytest.mark.parametrize("length", [b"\xfe\x00\x7e", b"\xfe\x00\x05", b"\xff" + bytes(8)])
def test_a_control_frame_has_a_short_length(first: int, length: bytes) -> None:  # FR-05, FR-14
    assert decode(bytes([first]) + length + NO_KEY) == FAIL_PROTOCOL


@pytest.mark.parametrize("first", [0x08, 0x09, 0x0A])
def test_a_control_frame_must_not_be_fragmented(first: int) -> None:  # FR-06, FR-29
    assert decode(masked(first, b"\x03\xe8")) == FAIL_PROTOCOL
    assert decode(masked(0x01, b"a") + masked(first, b"\x03\xe8")) == FAIL_PROTOCOL


# --- the Close frame ------------------------------------------------------------------------


def test_a_close_may_be_empty() -> None:  # FR-29
    assert decode(masked(0x88)) == [("close", (1005, ""))]


def test_a_close_with_half_a_code_fails() -> None:  # FR-29
    assert decode(masked(0x88, b"\x03")) == FAIL_PROTOCOL


def test_a_close_has_a_code_and_a_reason() -> None:
    assert decode(masked(0x88, b"\x03\xe8")) == [("close", (1000, ""))]
    assert decode(masked(0x88, b"\x03\xe9going")) == [("close", (1001, "going"))]
    longest = "ä" * 61 + "!"
    assert decode(masked(0x88, b"\x0f\xa0" + longest.encode())) == [("close", (4000, longest))]


def test_exactly_the_codes_that_may_be_sent_are_taken() -> None:  # FR-30, FR-31
    valid = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    for code in range(65536):
        ((name, value),) = Decoder().feed(masked(0x88, code.to_bytes(2, "big"), NO_KEY))
        if code in valid:
            assert (name, value) == ("close", (code, ""))
        else:
            assert (name, value[0]) == ("fail", 1002), code


@pytest.mark.parametrize(
    "reason", [b"\xff", b"\x80", b"ok\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"]
)
def test_a_close_reason_must_be_utf8(reason: bytes) -> None:  # FR-32
    assert decode(masked(0x88, b"\x03\xe8" + reason)) == [("fail", 1007)]


def test_a_bad_code_is_told_before_a_bad_reason() -> None:
    assert decode(masked(0x88, b"\x00\x00\xff")) == FAIL_PROTOCOL


def test_a_close_may_cut_a_message_short() -> None:  # FR-33
    stream = masked(0x01, b"Hel") + masked(0x88, b"\x03\xe9") + masked(0x80, b"lo")
    assert decode(stream) == [("close", (1001, ""))]


@pytest.mark.parametrize(
    "after",
    [masked(0x81, b"x"), masked(0x88, b"\x03\xe8"), masked(0x89, b"x"), b"\xff\xff", b"GET /"],
)
def test_what_comes_behind_a_close_is_ignored(after: bytes) -> None:  # FR-34
    stream = masked(0x81, b"last") + masked(0x88, b"\x03\xe8") + after
    assert decode(stream) == [("text", "last"), ("close", (1000, ""))]


# --- failing --------------------------------------------------------------------------------


def test_what_is_valid_comes_before_the_failure() -> None:  # FR-27
    stream = masked(0x81, b"one") + masked(0x82, b"two") + masked(0x89, b"p") + b"\x83\x80"
    events: list[Event] = [("text", "one"), ("binary", b"two"), ("ping", b"p"), ("fail", 1002)]
    assert decode(stream) == events


@pytest.mark.parametrize(
    "bad",
    [
        b"\x83\x80" + NO_KEY,
        b"\x81\x01a",
        masked(0x81, b"\xff"),
        masked(0x88, b"\x00"),
        b"\x82\xff\x7f" + b"\xff" * 7 + NO_KEY,
    ],
)
def test_nothing_comes_after_a_failure(bad: bytes) -> None:  # FR-28
    ((name, _), *rest) = decode(bad + masked(0x81, b"valid") + masked(0x88, b"\x03\xe8"))
    assert name == "fail"
    assert not rest


# --- text -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"\x80",
        b"a\xc3",
        b"\xc3(",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
    ],
)
def test_text_must_be_utf8(text: bytes) -> None:  # FR-23
    assert decode(masked(0x81, text)) == [("fail", 1007)]
    assert decode(masked(0x01, text) + masked(0x80)) == [("fail", 1007)]
    assert decode(masked(0x01) + masked(0x80, text)) == [("fail", 1007)]
    assert decode(masked(0x82, text)) == [("binary", text)]


def test_bad_text_fails_in_the_middle_of_a_frame() -> None:  # FR-24
    begun = b"\x81\xfe\x03\xe8" + NO_KEY  # a frame of 1,000 bytes
    for start in (begun, b"\x01" + begun[1:]):
        decoder = Decoder()
        assert decoder.feed(start + b"fine so far ") == []
        ((name, value),) = decoder.feed(b"\xc0")
        assert (name, value[0]) == ("fail", 1007)


def test_bad_text_fails_in_a_fragment_that_is_not_the_last() -> None:  # FR-24
    assert decode(masked(0x01, b"ok \xed\xa0")) == [("fail", 1007)]
    assert decode(masked(0x01, b"ok \xe2") + masked(0x00, b"(")) == [("fail", 1007)]


@pytest.mark.parametrize("text", ["é", "€", "😀", "a😀b"])
def test_a_character_may_be_split_between_fragments(text: str) -> None:  # FR-25
    payload = text.encode()
    for position in range(len(payload) + 1):
        start, end = payload[:position], payload[position:]
        ping = masked(0x89, b"\xff")
        assert decode(masked(0x01, start) + masked(0x80, end)) == [("text", text)]
        stream = masked(0x01, start) + ping + masked(0x00) + masked(0x80, end)
        assert decode(stream) == [("ping", b"\xff"), ("text", text)]


def test_text_is_checked_anew_for_each_message() -> None:
    stream = masked(0x01, b"\xc3") + masked(0x80, b"\xa9") + masked(0x81, b"\xa9")
    assert decode(stream) == [("text", "é"), ("fail", 1007)]
    stream = masked(0x02, b"\xc3") + masked(0x80) + masked(0x81, b"\xa9")
    assert decode(stream) == [("binary", b"\xc3"), ("fail", 1007)]


# --- every header there is ------------------------------------------------------------------

STARTS = {"start": b"", "in text": b"\x01\x81\0\0\0\0a", "in binary": b"\x02\x81\0\0\0\0a"}


def _table(state: str, first: int, second: int) -> str:
    """What RFC 6455 sections 5.2, 5.4 and 5.5 make of two bytes from a client: kind of frame."""
    if state == "closed":
        return "ignored"
    rules = {
        "start": {0x01: "begin", 0x02: "begin", 0x81: "text", 0x82: "binary"},
        "in text": {0x00: "go on", 0x80: "text"},
        "in binary": {0x00: "go on", 0x80: "binary"},
    }
    control = {0x88: "close", 0x89: "ping", 0x8A: "pong"}
    kind = {**rules[state], **control}.get(first, "fail")
    if second < 0x80 or (first in control and second > 0x80 + 125):
        return "fail"
    return kind


def _rest(second: int) -> tuple[bytes, bytes]:
    """What completes a header whose second byte is valid, and the payload for it."""
    size = {126: 126, 127: 65536}.get(second & 0x7F, second & 0x7F)
    length = {126: b"\x00\x7e", 127: b"\0\0\0\0\0\x01\0\0"}.get(second & 0x7F, b"")
    return length + NO_KEY, (b"\x0f\xa0" + b"a" * (size - 2)) if size > 1 else b"a" * size


def _after_header(kind: str, state: str, payload: bytes) -> list[tuple[str, object]]:
    """The events of a frame that is complete."""
    if kind in ("ping", "pong"):
        return [(kind, payload)]
    if kind == "close":
        if len(payload) < 2:
            return [("fail", 1002)] if payload else [("close", (1005, ""))]
        return [("close", (4000, payload[2:].decode()))]
    message = payload if state == "start" else b"a" + payload
    if kind == "binary":
        return [("binary", message)]
    return [("text", message.decode("latin-1"))] if kind == "text" else []


@pytest.mark.parametrize("state", ["start", "in text", "in binary", "closed"])
def test_every_first_and_second_byte_is_treated_as_the_table_says(state: str) -> None:  # CO-10
    for first in range(256):
        for second in range(256):
            decoder = Decoder()
            begun = STARTS.get(state, b"\x88\x80\0\0\0\0")
            decoder.feed(begun)
            events = decoder.feed(bytes([first, second]))
            kind = _table(state, first, second)
            if kind == "fail":
                ((name, value),) = events
                assert (name, value[0]) == ("fail", 1002), (first, second)
                continue
            assert events == [], (first, second)
            header, payload = _rest(second)
            if kind in ("text", "begin", "go on"):
                payload = payload.replace(b"\x0f\xa0", b"\x0f ")
            got: list[tuple[str, object]] = [
                (name, value[0] if name == "fail" else value)
                for name, value in decoder.feed(header + payload)
            ]
            expected = [] if kind == "ignored" else _after_header(kind, state, payload)
            assert got == expected, (first, second)


# --- encoding -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_has_the_shortest_header(size: int, header: bytes) -> None:
    payload = b"\xab" * size
    assert encode_frame(2, payload) == header + payload
    masked_header = bytes([header[0], header[1] | 0x80]) + header[2:]
    assert encode_frame(2, payload, mask=b"\0\0\0\0") == masked_header + bytes(4) + payload


def test_opcode_and_fin_are_in_the_first_byte() -> None:
    for opcode in (0, 1, 2, 8, 9, 10):
        assert encode_frame(opcode, b"") == bytes([0x80 | opcode, 0])
        assert encode_frame(opcode, b"", final=False) == bytes([opcode, 0])


def test_a_clients_frame_is_masked_as_the_rfc_shows() -> None:
    frame = encode_frame(1, b"Hello", mask=b"\x37\xfa\x21\x3d")
    assert frame == b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"


@pytest.mark.parametrize("mask", [b"", b"abc", b"abcde"])
def test_a_mask_has_four_bytes(mask: bytes) -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        encode_frame(1, b"Hello", mask=mask)


def test_masking_leaves_the_given_payload_alone() -> None:
    payload = bytes(range(100))
    encode_frame(2, payload, mask=b"\xff\xff\xff\xff")
    assert payload == bytes(range(100))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1000, 65535, 65536, 300_000])
def test_what_is_encoded_is_decoded(size: int) -> None:
    payload = (bytes(range(256)) * (size // 256 + 1))[:size]
    frame = encode_frame(2, payload, mask=b"\x01\x80\xfe\x7f")
    assert decode(frame) == [("binary", payload)]
    assert decode(encode_frame(2, payload), expect_mask=False) == [("binary", payload)]


# --- receiving straight into the message ----------------------------------------------------


def test_a_large_message_is_the_same_when_it_is_received_into_its_own_buffer() -> None:
    payload = bytes(range(256)) * 4000
    stream = masked(0x82, payload) + masked(0x81, b"next")
    events: list[Event] = [("binary", payload), ("text", "next")]
    for size in (1, 5, 6, 14, 15, 16383, 16384, 65536, 500_000):
        decoder = Decoder()
        got = [
            event
            for start in range(0, len(stream), 100_003)
            for event in decoder.receive(stream[start : start + 100_003])
        ]
        assert got == events
        assert Decoder().receive(stream[:size]) == []


def test_large_fragments_are_received_into_the_growing_message() -> None:
    part = bytes(range(256)) * 100
    stream = masked(0x02, part) + masked(0x89, b"p") + masked(0x00, part) + masked(0x80, part)
    assert decode(stream) == [("ping", b"p"), ("binary", 3 * part)]


def test_a_large_fragment_waits_for_room_when_its_header_came_alone() -> None:
    part = bytes(range(256)) * 400
    start = masked(0x02, b"small")
    rest = masked(0x80, part)
    for size in (13, 14, 15):  # the header has 14 bytes
        decoder = Decoder()
        assert decoder.receive(start + rest[:size]) == []
        assert decoder.receive(rest[size:]) == [("binary", b"small" + part)]


def test_text_received_into_its_own_buffer_fails_at_its_first_bad_byte() -> None:
    begun = b"\x81\xff\0\0\0\0\0\x01\0\0" + NO_KEY + b"a" * 4096
    decoder = Decoder()
    assert decoder.receive(begun) == []
    assert decoder.receive(b"a" * 20000) == []
    ((name, value),) = decoder.receive(b"\xff" + b"a" * 100)
    assert (name, value[0]) == ("fail", 1007)
    assert decoder.receive(b"a" * 100) == []
