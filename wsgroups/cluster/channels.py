"""What groups, rooms and topics are called between workers: the kind, then the name."""

from __future__ import annotations

from typing import NamedTuple

_GROUP, _GROUP_OF_PORT, _ROOM = b"g", b"p", b"r"

NEWS = b"n"  # who has come and who has left, for those who want to know
TOPIC = b"t"  # begins the channels of what applications tell


class SetName(NamedTuple):
    """What a channel stands for.

    Attributes:
        name: of the group or room.
        port: of a group for one listening port; None otherwise.
        is_room: whether it is a room.
    """

    name: str
    port: int | None
    is_room: bool


def group_channel(name: str, port: int | None) -> bytes:
    """Return what a group is called on the bus; no two sets have one name there."""
    encoded = name.encode("utf-8", "surrogatepass")
    return _GROUP + encoded if port is None else b"%b%d:%b" % (_GROUP_OF_PORT, port, encoded)


def room_channel(name: str) -> bytes:
    """Return what a room is called on the bus."""
    return _ROOM + name.encode("utf-8", "surrogatepass")


def topic_channel(topic: str) -> bytes:
    """Return what a topic of the application is called on the bus."""
    return TOPIC + topic.encode("utf-8", "surrogatepass")


def topic_of(channel: bytes) -> str:
    """Return the topic of a channel that begins with TOPIC."""
    return channel[1:].decode("utf-8", "surrogatepass")


def name_of(channel: bytes) -> SetName:
    """Return what a channel stands for.

    Raises:
        ValueError: when it is none of a group or a room.
    """
    kind, name = channel[:1], channel[1:]
    port: int | None = None
    if kind == _GROUP_OF_PORT:
        digits, _, name = name.partition(b":")
        port = int(digits)
    elif kind not in (_GROUP, _ROOM):
        raise ValueError(f"{channel[:20]!r} stands for no group and no room")
    return SetName(name.decode("utf-8", "surrogatepass"), port, kind == _ROOM)
