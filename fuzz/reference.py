"""RFC 6455 framing in plain Python: what a stream means, read as a whole.

It is written to be looked through, not to be fast, and shares nothing with the decoder. A `Dialect`
says which checks are made, at which point of a frame, in which order: `OURS` is what the decoder
must do exactly. `WEBSOCKETS` and `WSPROTO` are what those two do, as far as it differs, so that a
difference is either explained to the last event or not at all.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

XOR = [bytes(octet ^ key for octet in range(256)) for key in range(256)]

Event: TypeAlias = tuple[str, str | bytes | int | tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one message may be."""

    max_message_size: int = 1 << 20
    max_fragments: int = 4096


class Fault(Enum):
    """What can be wrong with a frame."""

    RESERVED_BITS = "reserved bits"
    OPCODE = "reserved opcode"
    MASK = "not masked"
    FRAGMENTED_CONTROL = "fragmented control frame"
    LONG_CONTROL = "control frame above 125 bytes"
    SEQUENCE = "continuation out of place"
    LONG_FORM = "length not in its shortest form"
    TOP_BIT = "top bit of the length"
    SIZE = "message too large"
    FRAGMENTS = "too many fragments"
    NOT_UTF8 = "text is not UTF-8"
    HALF_CODE = "half a close code"
    CLOSE_CODE = "close code"
    CLOSE_REASON = "close reason is not UTF-8"
    CLOSE_INSIDE = "close inside a message"


@dataclass(slots=True)
class Frame:
    """A frame as far as the stream has it."""

    first: int
    second: int
    length: int = 0
    payload: bytes = b""

    @property
    def opcode(self) -> int:
        """The kind of frame."""
        return self.first & 0x0F

    @property
    def is_final(self) -> bool:
        """True with FIN."""
        return self.first & 0x80 != 0

    @property
    def is_control(self) -> bool:
        """True for Close, Ping and Pong."""
        return self.opcode >= 8


@dataclass(slots=True)
class Message:
    """The message in progress."""

    opcode: int = 0
    fragments: int = 0
    data: bytearray = field(default_factory=bytearray)
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")()
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """What a stream means.

    Attributes:
        events: what it tells, the end included.
        fault: why it failed, or None.
        frames: how many frames were complete before the last one looked at.
    """

    events: list[Event]
    fault: Fault | None
    frames: int

    @property
    def has_ended(self) -> bool:
        """True when a Close or a failure was met, False when more could come."""
        return bool(self.events) and self.events[-1][0] in ("close", "fail")


Wrong: TypeAlias = tuple[int, Fault] | None
Check: TypeAlias = Callable[[Frame, Message, Limits], Wrong]


def reserved_bits(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """Section 5.2: RSV1 to RSV3 are zero without an extension."""
    return (1002, Fault.RESERVED_BITS) if frame.first & 0x70 else None


def opcode(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """Section 5.2: only these are defined."""
    known = (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
    return None if frame.opcode in known else (1002, Fault.OPCODE)


def mask(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """Section 5.1: a client masks."""
    return None if frame.second & 0x80 else (1002, Fault.MASK)


def fragmented_control(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """Section 5.5: a control frame is one frame."""
    if frame.is_control and not frame.is_final:
        return 1002, Fault.FRAGMENTED_CONTROL
    return None


def long_control(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """Section 5.5: a control frame has up to 125 bytes, told by the short length."""
    if frame.is_control and frame.second & 0x7F > 125:
        return 1002, Fault.LONG_CONTROL
    return None


def long_control_by_size(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """The same, told by the length in any form."""
    return (1002, Fault.LONG_CONTROL) if frame.is_control and frame.length > 125 else None


def sequence(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """Section 5.4: a message ends before the next begins."""
    if not frame.is_control and (frame.opcode == CONTINUATION) != (message.opcode != 0):
        return 1002, Fault.SEQUENCE
    return None


def long_form(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """Section 5.2: the minimal number of bytes must be used."""
    least = {126: 126, 127: 65536}.get(frame.second & 0x7F, 0)
    return (1002, Fault.LONG_FORM) if frame.length < least else None


def top_bit(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """Section 5.2: the most significant bit must be 0."""
    return (1002, Fault.TOP_BIT) if frame.length >= 1 << 63 else None


def size(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """A whole message has a limit."""
    if not frame.is_control and len(message.data) + frame.length > limits.max_message_size:
        return 1009, Fault.SIZE
    return None


def size_of_any(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """What is left of the limit holds for any frame."""
    if len(message.data) + frame.length > limits.max_message_size:
        return 1009, Fault.SIZE
    return None


def fragments(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """The frames of one message have a limit, empty ones too."""
    if not frame.is_control and message.fragments + 1 > limits.max_fragments:
        return 1008, Fault.FRAGMENTS
    return None


def half_code(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """Section 5.5.1: a code has two bytes."""
    return (1002, Fault.HALF_CODE) if len(frame.payload) == 1 else None


def close_code(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """Section 7.4 and the registry: codes that may be sent."""
    code = int.from_bytes(frame.payload[:2], "big")
    if not frame.payload or 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999:
        return None
    return 1002, Fault.CLOSE_CODE


def close_code_but_1014(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """The same without one that was registered late."""
    if frame.payload[:2] == b"\x03\xf6":
        return 1002, Fault.CLOSE_CODE
    return close_code(frame, message, limits)


def close_reason(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """Section 5.5.1: the reason is UTF-8."""
    try:
        frame.payload[2:].decode()
    except UnicodeDecodeError:
        return 1007, Fault.CLOSE_REASON
    return None


def close_inside(frame: Frame, message: Message, limits: Limits) -> Wrong:
    """A message must be finished before a Close, says only this check."""
    return (1002, Fault.CLOSE_INSIDE) if message.opcode else None


TextCheck: TypeAlias = Callable[[Message, bytes, bool], object]


def strictly(message: Message, part: bytes, ends: bool) -> None:
    """Fail at the first byte that cannot be right."""
    try:
        message.data.decode()
    except UnicodeDecodeError as error:
        if ends or error.reason != "unexpected end of data":
            raise


def incrementally(message: Message, part: bytes, ends: bool) -> None:
    """Fail as Python's incremental decoder does: half of a surrogate is waited for."""
    message.decoder.decode(part, ends)


def at_the_end(message: Message, part: bytes, ends: bool) -> None:
    """Fail when the message is complete."""
    if ends:
        message.data.decode()


@dataclass(frozen=True, slots=True)
class Dialect:
    """The checks, by the part of a frame with which they are made.

    Attributes:
        start: when its first two bytes are there.
        length: when its whole length is.
        header: when its masking key is.
        begun: when the first byte of its payload is, or all of an empty one.
        whole: when it is complete.
        close: then, for a Close frame.
        text: raises UnicodeDecodeError for a message of text, when a part of it has come.
    """

    start: tuple[Check, ...]
    length: tuple[Check, ...] = ()
    header: tuple[Check, ...] = ()
    begun: tuple[Check, ...] = ()
    whole: tuple[Check, ...] = ()
    close: tuple[Check, ...] = (half_code, close_code, close_reason)
    text: TextCheck = strictly


OURS = Dialect(
    start=(reserved_bits, opcode, mask, fragmented_control, long_control, sequence),
    header=(long_form, top_bit, size, fragments),
)

# Takes any form of a length; looks at most of a frame when all of it is there; the reason of a
# Close frame before its code. Text is decoded by whoever puts its fragments together.
WEBSOCKETS = Dialect(
    start=(opcode, mask),
    length=(size_of_any,),
    whole=(reserved_bits, long_control_by_size, fragmented_control, sequence),
    close=(half_code, close_reason, close_code, close_inside),
    text=at_the_end,
)

# Has no limits; looks at reserved bits and mask behind the length, and for a message to continue
# when there is payload for it.
WSPROTO = Dialect(
    start=(opcode, fragmented_control, long_control),
    length=(long_form, top_bit, reserved_bits, mask),
    begun=(sequence,),
    close=(half_code, close_code_but_1014, close_reason),
    text=incrementally,
)


class _FaultError(Exception):
    def __init__(self, code: int, fault: Fault) -> None:
        self.code = code
        self.fault = fault


class _WaitingError(Exception):
    """The stream ends here."""


class _Reader:
    def __init__(self, stream: bytes, limits: Limits, dialect: Dialect) -> None:
        self.stream = stream
        self.position = 0
        self.limits = limits
        self.dialect = dialect
        self.message = Message()
        self.events: list[Event] = []

    def take(self, size: int) -> bytes:
        part = self.stream[self.position : self.position + size]
        if len(part) < size:
            raise _WaitingError
        self.position += size
        return part

    def check(self, checks: tuple[Check, ...], frame: Frame) -> None:
        for check in checks:
            wrong = check(frame, self.message, self.limits)
            if wrong:
                raise _FaultError(*wrong)

    def frame(self) -> bool:
        """Read one frame; False when it was the last."""
        frame = Frame(*self.take(2))
        self.check(self.dialect.start, frame)
        short = frame.second & 0x7F
        frame.length = short if short < 126 else self.number(2 if short == 126 else 8)
        self.check(self.dialect.length, frame)
        key = self.take(4)
        self.check(self.dialect.header, frame)
        part = bytearray(self.stream[self.position : self.position + frame.length])
        for i in range(4):  # octet i is xored with octet i mod 4 of the key
            part[i::4] = part[i::4].translate(XOR[key[i]])
        frame.payload = bytes(part)
        self.position += len(part)
        if frame.length and not part:
            raise _WaitingError
        self.check(self.dialect.begun, frame)
        if not frame.is_control:
            return self.data(frame)
        if len(part) < frame.length:
            raise _WaitingError
        self.check(self.dialect.whole, frame)
        return self.control(frame)

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def control(self, frame: Frame) -> bool:
        if frame.opcode == CLOSE:
            self.check(self.dialect.close, frame)
            code = int.from_bytes(frame.payload[:2], "big") if frame.payload else 1005
            self.events.append(("close", (code, frame.payload[2:].decode())))
            return False
        self.events.append(("ping" if frame.opcode == PING else "pong", frame.payload))
        return True

    def data(self, frame: Frame) -> bool:
        is_whole = len(frame.payload) == frame.length
        if is_whole:
            self.check(self.dialect.whole, frame)
        message = self.message
        if frame.opcode != CONTINUATION:
            message.opcode = frame.opcode
        message.fragments += 1
        message.data += frame.payload
        ends = is_whole and frame.is_final
        if message.opcode == TEXT:
            try:
                self.dialect.text(message, frame.payload, ends)
            except UnicodeDecodeError:
                raise _FaultError(1007, Fault.NOT_UTF8) from None
        if not is_whole:
            raise _WaitingError
        if ends:
            self.finish(message)
        return True

    def finish(self, message: Message) -> None:
        if message.opcode == TEXT:
            self.events.append(("text", message.data.decode()))
        else:
            self.events.append(("binary", bytes(message.data)))
        self.message = Message()


def read(stream: bytes, limits: Limits, dialect: Dialect = OURS) -> Reading:
    """Return what a client's stream means to a server that speaks `dialect`."""
    reader = _Reader(stream, limits, dialect)
    frames = 0
    fault = None
    try:
        while reader.frame():
            frames += 1
    except _WaitingError:
        pass
    except _FaultError as error:
        fault = error.fault
        reader.events.append(("fail", error.code))
    return Reading(reader.events, fault, frames)
