"""What a row is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from tests.codec.feeding import masked
from tests.support import BINARY, CLOSE, PONG, TEXT, handshake
from wsgroups import CloseInfo, Side

Frame = tuple[int, bytes]

ALL_POSITIONS = 700  # bytes; longer streams are split around their boundaries and here and there
AROUND = 40  # bytes on each side of a boundary
BETWEEN = 40  # further positions of a long stream

WINDOW_BITS = 12  # of a client's compressor
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
AGREED = (
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
    f"server_max_window_bits=12; client_max_window_bits={WINDOW_BITS}"
)


@dataclass(frozen=True, kw_only=True)
class Calls:
    """How often an application is called.

    Attributes:
        request: the handler of the route.
        connect, message, disconnect: the handlers of the group.
    """

    request: int = 0
    connect: int = 0
    message: int = 0
    disconnect: int = 0


@dataclass(frozen=True, kw_only=True)
class Case:
    """One stream of bytes from a client, and what must come of it.

    Attributes:
        what: the stream in words.
        data: the stream.
        boundaries: where its parts begin and end; only long streams need them.
        frames: what the server sends in frames; the last one is its Close frame.
        info: what the disconnect handler learns.
        outlasts: it goes on for longer than the server listens, which may then be gone: RST.
    """

    what: str
    data: bytes = field(repr=False)
    boundaries: tuple[int, ...] = ()
    frames: tuple[Frame, ...] = field(default=(), repr=False)
    info: CloseInfo | None = None
    outlasts: bool = False

    @property
    def positions(self) -> list[int]:
        """Where the stream is split."""
        size = len(self.data)
        if size <= ALL_POSITIONS:
            return list(range(1, size))
        near = {
            position
            for boundary in (0, *self.boundaries, size)
            for position in range(boundary - AROUND, boundary + AROUND + 1)
        }
        near.update(range(0, size, size // BETWEEN))
        return sorted(position for position in near if 0 < position < size)

    @property
    def messages(self) -> int:
        """How many messages are echoed."""
        return sum(opcode in (TEXT, BINARY) for opcode, _ in self.frames)

    @property
    def calls(self) -> Calls:
        """How often the application is called."""
        return Calls(request=1, connect=1, message=self.messages, disconnect=1)

    @property
    def outcome(self) -> str:
        """What comes of it, in words."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class HandshakeCase(Case):
    """A stream that begins with the connection.

    Attributes:
        status: of the one response; 0 when there is none.
        headers: what the response must say besides.
        is_head: the response has no body.
        then: what the client sends once it has its 101.
        asked: how often the handler of the route is called.
        is_full: the server has no room for the client.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    is_head: bool = False
    then: bytes = b""
    asked: int = 0
    is_full: bool = False

    @property
    def calls(self) -> Calls:
        return super().calls if self.status == 101 else Calls(request=self.asked)

    @property
    def outcome(self) -> str:
        if not self.status:
            return "closed without an answer"
        named = " and ".join(f"`{name}: {value}`" for name, value in self.headers.items())
        first = f"{self.status} with {named}" if named else f"{self.status}"
        return first if self.then else _then([first, *_in_words(self.frames, self.info)])


@dataclass(frozen=True, kw_only=True)
class FrameCase(Case):
    """A stream behind the 101.

    Attributes:
        is_packed: compression is agreed on.
    """

    is_packed: bool = False

    @property
    def opening(self) -> bytes:
        """The handshake before it."""
        return handshake("/packed", OFFER) if self.is_packed else handshake()

    @property
    def agreed(self) -> dict[str, str]:
        """What the 101 says besides."""
        return {"Sec-WebSocket-Extensions": AGREED} if self.is_packed else {}

    @property
    def outcome(self) -> str:
        return _then(_in_words(self.frames, self.info))

    @property
    def wrapped(self) -> FrameCase:
        """The same with a valid message before it and one behind it, which must not arrive.

        A client that has closed sends nothing more; FR-34 is about those that do.
        """
        before = masked(0x81, b"before")
        after = b"" if self.info is None or self.info.clean else masked(0x81, b"after")
        return replace(
            self,
            what=f"{self.what}, between two messages",
            data=before + self.data + after,
            boundaries=tuple(len(before) + at for at in (0, *self.boundaries, len(self.data))),
            frames=((TEXT, b"before"), *self.frames),
        )


def _then(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)}, then {last}" if first else last


def _in_words(frames: tuple[Frame, ...], info: CloseInfo | None) -> list[str]:
    words: list[str] = []
    for opcode, _ in frames[:-1]:
        words.append("pong" if opcode == PONG else "echo")
    counted = []
    while words:
        count = next((i for i, word in enumerate(words) if word != words[0]), len(words))
        many = {"pong": "pongs", "echo": "echoes"}[words[0]]
        counted.append(words[0] if count == 1 else f"{count} {many}")
        del words[:count]
    if info is None:
        return counted
    if info.clean and (info.code != 1000 or not counted):
        return [*counted, _back(info.code)]
    return counted if info.clean else [*counted, f"{info.code}"]


def _back(code: int) -> str:
    return "an empty Close comes back" if code == 1005 else f"{code} comes back"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        id: HS for handshakes, FR for frames, DF for compressed messages, others for the rest.
        what: the input, in words.
        cases: streams of that kind.
        outcome: what comes of it, where cases do not say it or not all.
        in_short: `outcome` says what the cases do, in fewer words.
        shown_by: tests elsewhere that show it, as `file::name`.
        not_yet: what of it cannot be shown yet, and why.
    """

    id: str
    what: str
    cases: tuple[Case, ...] = ()
    outcome: str = ""
    in_short: bool = False
    shown_by: tuple[str, ...] = ()
    not_yet: str = ""


def failed(code: int) -> CloseInfo:
    """What the application learns when the server closes for a reason of its own."""
    return CloseInfo(code, "", False, Side.LOCAL)


def closed(code: int, reason: str = "") -> CloseInfo:
    """What the application learns when the peer closes."""
    return CloseInfo(code, reason, True, Side.REMOTE)


def close_frame(code: int) -> Frame:
    """The Close frame of a server: the code and no reason."""
    return CLOSE, code.to_bytes(2, "big")


def each_row(rows: list[Row]) -> pytest.MarkDecorator:
    """Run a test for each row that has cases."""
    parameters = [pytest.param(row.cases, id=row.id) for row in rows if row.cases]
    return pytest.mark.parametrize("cases", parameters)
