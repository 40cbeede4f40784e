"""A stream through the decoder under test and through two other implementations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from fuzz.reference import Event, Limits
from fuzz.streams import Case
from wsgroups.codec.frames import Decoder


def ours(case: Case, parts: Iterable[bytes], *, directly: bool) -> list[Event]:
    """Return what our decoder makes of it; a failure is given as its code alone.

    Args:
        case: for its limits.
        parts: the stream, in the chunks in which it arrives.
        directly: large payloads are received into the message's own buffer.
    """
    decoder = Decoder(
        max_message_size=case.limits.max_message_size, max_fragments=case.limits.max_fragments
    )
    take = decoder.receive if directly else decoder.feed
    events: list[Event] = []
    for part in parts:
        for name, value in take(part):
            if name == "fail":
                assert isinstance(value, tuple)
                events.append((name, value[0]))
            else:
                events.append((name, value))
    return events


def websockets(parts: Iterable[bytes], limits: Limits, *, is_server: bool = True) -> list[Event]:
    """Return what `websockets` makes of it."""
    protocol = Protocol(SERVER if is_server else CLIENT, max_size=limits.max_message_size)
    for part in parts:
        protocol.receive_data(part)
    events: list[Event] = []
    message: list[Frame] = []
    for frame in protocol.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode in (Opcode.PING, Opcode.PONG):
            events.append((frame.opcode.name.lower(), bytes(frame.data)))
        elif frame.opcode is not Opcode.CLOSE:
            message.append(frame)
            if frame.fin:
                events.append(_message(message))
                message = []
                if events[-1][0] == "fail":
                    return events
    if protocol.parser_exc is not None:
        assert protocol.close_sent is not None
        events.append(("fail", int(protocol.close_sent.code)))
    elif protocol.close_rcvd is not None:
        close = protocol.close_rcvd
        events.append(("close", (int(close.code), close.reason)))
    return events


def _message(frames: list[Frame]) -> Event:
    data = b"".join(bytes(frame.data) for frame in frames)
    if frames[0].opcode is not Opcode.TEXT:
        return "binary", data
    try:
        return "text", data.decode()
    except UnicodeDecodeError:
        return "fail", 1007


def wsproto(parts: Iterable[bytes], *, is_server: bool = True) -> list[Event]:
    """Return what `wsproto` makes of it."""
    connection = Connection(ConnectionType.SERVER if is_server else ConnectionType.CLIENT)
    events: list[Event] = []
    message: list[Any] = []
    for part in parts:
        connection.receive_data(part)
        for event in connection.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                message.append(event.data)
                if event.message_finished:
                    is_text = isinstance(event, TextMessage)
                    events.append(
                        ("text", "".join(message)) if is_text else ("binary", b"".join(message))
                    )
                    message = []
            elif isinstance(event, Ping):
                events.append(("ping", bytes(event.payload)))
            elif isinstance(event, Pong):
                events.append(("pong", bytes(event.payload)))
            elif isinstance(event, CloseConnection):
                if connection.state is ConnectionState.OPEN:
                    events.append(("fail", int(event.code)))
                else:
                    events.append(("close", (int(event.code), event.reason or "")))
                return events
    return events
