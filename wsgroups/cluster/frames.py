"""The frames between a worker and its hub: `size of body u32 | kind u8 | body`, big-endian."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct, error

from wsgroups.cluster.bus import LARGEST_MESSAGE

_HEAD = Struct("!IB")
_SEND = Struct("!IBI")
_PUBLISH = Struct("!IBI")
_PEER = Struct("!IBIQ")
_NUMBER = Struct("!IBQ")

_LONG, _PEER_BODY, _QUAD = Struct("!I"), Struct("!IQ"), Struct("!Q")

HEAD_SIZE = _HEAD.size
SENT_AT = _SEND.size  # where the message begins in a SEND frame
_LARGEST = LARGEST_MESSAGE + (1 << 20)  # and its channel


class Kind(IntEnum):
    """What a frame says."""

    PEER = 1  # address u32, sequence u64: a worker says who it is; the hub, who has come
    GONE = 2  # address u32: the worker there has left
    SEND = 3  # address u32, message
    PUBLISH = 4  # size of the channel u32, channel, message
    SUBSCRIBE = 5  # channel
    UNSUBSCRIBE = 6  # channel
    SYNC = 7  # token u64; the hub sends it back
    GAP = 8  # u64: so many messages were dropped
    NOTE = 9  # text for whoever keeps the hub, or from it for all workers


# Plain integers for the loops that compare them for each frame.
SEND, PUBLISH = int(Kind.SEND), int(Kind.PUBLISH)


class FrameError(ValueError):
    """Bytes that are no frames: whoever sent them is not to be heard any further."""


def peer(address: int, since: int) -> bytes:
    """Return a PEER frame."""
    return _PEER.pack(12, Kind.PEER, address, since)


def gone(address: int) -> bytes:
    """Return a GONE frame."""
    return _SEND.pack(4, Kind.GONE, address)


def send(address: int, data: bytes) -> bytes:
    """Return a SEND frame."""
    return _SEND.pack(4 + len(data), SEND, address) + data


def publish(channel: bytes, data: bytes) -> bytes:
    """Return a PUBLISH frame."""
    size = len(channel)
    return b"%b%b%b" % (_PUBLISH.pack(4 + size + len(data), PUBLISH, size), channel, data)


def text(kind: Kind, body: bytes) -> bytes:
    """Return a frame whose body is bytes as they are: SUBSCRIBE, UNSUBSCRIBE, NOTE."""
    return _HEAD.pack(len(body), kind) + body


def number(kind: Kind, value: int) -> bytes:
    """Return a SYNC or GAP frame."""
    return _NUMBER.pack(8, kind, value)


def address_of(frame: bytes) -> int:
    """Return the address in a SEND or GONE frame."""
    address: int = _unpack(_LONG, frame)[0]
    return address


def peer_of(frame: bytes) -> tuple[int, int]:
    """Return address and sequence of a PEER frame."""
    address, since = _unpack(_PEER_BODY, frame)
    return address, since


def number_of(frame: bytes) -> int:
    """Return the number in a SYNC or GAP frame."""
    value: int = _unpack(_QUAD, frame)[0]
    return value


def channel_of(frame: bytes) -> tuple[bytes, int]:
    """Return the channel of a PUBLISH frame, and where its message begins."""
    end = 9 + _unpack(_LONG, frame)[0]
    if end > len(frame):
        raise FrameError("a channel is longer than its frame")
    return frame[9:end], end


def _unpack(layout: Struct, frame: bytes) -> tuple[int, ...]:
    try:
        return layout.unpack_from(frame, HEAD_SIZE)
    except error:
        raise FrameError("a frame is too short for its kind") from None


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = HEAD_SIZE

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that are complete with `data`.

        Raises:
            FrameError: when one says that it is larger than any frame is.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        frames: list[bytes] = []
        unpack, at, end = _LONG.unpack_from, 0, len(data)
        needed = HEAD_SIZE
        while end - at >= HEAD_SIZE:
            size = unpack(data, at)[0]
            if size > _LARGEST:
                raise FrameError(f"a frame of {size} bytes")
            needed = HEAD_SIZE + size
            if end - at < needed:
                break
            frames.append(data[at : at + needed])
            at += needed
            needed = HEAD_SIZE
        if at < end:
            self._rest += data[at:]
            self._needed = needed
        return frames
