"""A stream of requests as h11 and websockets read it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import h11
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from fuzz.site import Header, Seen

LARGEST = 1 << 20  # of a head; ours is smaller
BLANK = 2  # empty lines before a request

_ABSOLUTE = re.compile(rb"https?://[^/?]+(.*)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reading:
    """One request as h11 reads it.

    Attributes:
        request: what it understood; None when it refused.
        why: what it said then.
        start: where the request begins, behind empty lines.
        end: where it ends, with its body.
        blank: empty lines before it.
        has_body_coding: its body came in chunks.
    """

    request: Seen | None
    why: str
    start: int
    end: int
    blank: int


def h11_requests(stream: bytes, most: int) -> list[Reading]:
    """Read so many requests, or until one is refused or not complete."""
    readings: list[Reading] = []
    at = 0
    while len(readings) < most:
        blank = 0
        while blank < BLANK and stream.startswith(b"\r\n", at):
            blank, at = blank + 1, at + 2
        reading = _h11_request(stream, at, blank)
        readings.append(reading)
        if reading.request is None:
            break
        at = reading.end
    return readings


def _h11_request(stream: bytes, start: int, blank: int) -> Reading:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST)
    head: h11.Request | None = None
    body = b""
    try:
        connection.receive_data(stream[start:])
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return Reading(None, "not complete", start, start, blank)
    except h11.RemoteProtocolError as error:
        return Reading(None, str(error), start, start, blank)
    assert head is not None
    rest, _ = connection.trailing_data
    headers = tuple((bytes(name), bytes(value)) for name, value in head.headers)
    target = bytes(head.target)
    absolute = _ABSOLUTE.match(target)
    if absolute is not None:
        target = absolute[1] if absolute[1].startswith(b"/") else b"/" + absolute[1]
    seen = Seen(bytes(head.method).decode(), target.decode("latin-1"), headers, body)
    return Reading(seen, "", start, len(stream) - len(rest), blank)


def by_name(headers: tuple[Header, ...]) -> list[Header]:
    """Return headers with those of one name together, in the order that they have."""
    return sorted(headers, key=lambda header: header[0])


def websockets_request(data: bytes) -> tuple[Request | None, str]:
    """Return what websockets makes of a head, or why it refuses it."""
    reader = StreamReader()
    reader.feed_data(data)
    parser = Request.parse(reader.read_line)
    try:
        next(parser)
    except StopIteration as done:
        return done.value, ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    return None, "not complete"


def websockets_status(request: Request) -> tuple[int, str]:
    """Return the status with which websockets answers a handshake, and its words."""
    response = ServerProtocol().accept(request)
    return response.status_code, bytes(response.body).decode(errors="replace").strip()
