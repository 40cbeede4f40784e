"""What workers write to one another through a broker: numbered, and in parts where it is large."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

_HEAD = Struct("!BIIIQHH")
_MOST_PARTS = 0xFFFF

HEAD_SIZE = _HEAD.size


class Kind(IntEnum):
    """What a letter says."""

    MESSAGE = 1  # for the receiver of the bus
    TAIL = 2  # its number is the last one given: what is missing up to it is lost
    HELLO = 3  # somebody has come, or come back; body: `Presence`; all others answer with BEAT
    BEAT = 4  # somebody is there; body: `Presence`
    BYE = 5  # somebody leaves in good order
    TAKEN = 6  # the address is somebody else's; the epoch names who has to give way
    ENDED = 7  # a node tells that a worker of it has; body: `Ended`


class Letter(NamedTuple):
    """One letter, or a part of one.

    Attributes:
        kind: a Kind.
        sender: the address it comes from.
        incarnation: which of all that ever had this address sent it.
        epoch: which count the number belongs to.
        number: counts the messages of a sender on a subject, from 1.
        part: from 0 to `parts - 1`.
        parts: in how many parts it was sent.
        data: the body.
    """

    kind: int
    sender: int
    incarnation: int
    epoch: int
    number: int
    part: int
    parts: int
    data: bytes


class Presence(NamedTuple):
    """What a worker tells of itself.

    Attributes:
        since: the id sequence that it began above.
        is_new: it claims its address; otherwise it has had it before.
    """

    since: int
    is_new: bool


class Ended(NamedTuple):
    """Which worker has ended.

    Attributes:
        address: its own.
        since: the id sequence that it began above, as its successor may be there already.
    """

    address: int
    since: int


_PRESENCE = Struct("!Q?")
_ENDED = Struct("!IQ")


def encode_presence(presence: Presence) -> bytes:
    """Return the body of a HELLO or BEAT."""
    return _PRESENCE.pack(*presence)


def decode_presence(data: bytes) -> Presence:
    """Return what the body of a HELLO or BEAT says.

    Raises:
        ValueError: when it is none.
    """
    if len(data) != _PRESENCE.size:
        raise ValueError("a worker tells of itself in a way that is not known here")
    return Presence(*_PRESENCE.unpack(data))


def encode_ended(ended: Ended) -> bytes:
    """Return the body of an ENDED."""
    return _ENDED.pack(*ended)


def decode_ended(data: bytes) -> Ended:
    """Return what the body of an ENDED says.

    Raises:
        ValueError: when it is none.
    """
    if len(data) != _ENDED.size:
        raise ValueError("a node tells of a worker in a way that is not known here")
    return Ended(*_ENDED.unpack(data))


def encode(letter: Letter, largest: int) -> list[bytes]:
    """Return a letter as payloads of at most `largest` bytes."""
    kind, sender, incarnation, epoch, number, _, _, data = letter
    room = largest - HEAD_SIZE
    parts = max(1, -(-len(data) // room))
    if parts > _MOST_PARTS:
        raise ValueError(f"the broker takes {largest} bytes at a time: too few for {len(data)}")
    return [
        _HEAD.pack(kind, sender, incarnation, epoch, number, part, parts)
        + (data if parts == 1 else data[part * room : (part + 1) * room])
        for part in range(parts)
    ]


def decode(payload: bytes) -> Letter:
    """Return the letter, or part of one, in a payload.

    Raises:
        ValueError: when it is none of ours.
    """
    if len(payload) < HEAD_SIZE:
        raise ValueError("a letter is cut off")
    kind, sender, incarnation, epoch, number, part, parts = _HEAD.unpack_from(payload)
    if part >= parts:
        raise ValueError(f"a letter has {parts} parts and this is part {part}")
    data = payload[HEAD_SIZE:]
    return Letter(kind, sender, incarnation, epoch, number, part, parts, data)
