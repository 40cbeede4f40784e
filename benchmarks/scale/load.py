"""What the sockets of a cluster do, in figures; and how large its rooms are."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

STEP = 1.1  # a class of rooms holds sizes up to this factor apart


@dataclass(frozen=True, slots=True)
class Load:
    """What each socket, worker and room does.

    Rooms have sizes after Zipf's law: the share of rooms with at least `s` members is
    `(smallest_room / s) ** exponent`, up to a largest size.

    Attributes:
        workers_per_node: processes of a host.
        sockets_per_worker: open ones.
        rooms_per_socket: that each is in.
        smallest_room: members.
        largest_share: of all sockets, that are in the largest room at most.
        exponent: of Zipf's law.
        groups: kinds of socket, each with members in every worker.
        group_interval: seconds between sends to all of a group.
        id_interval: seconds between messages to one socket by its id, from anywhere.
        speak_interval: seconds between sends of one member to one of its rooms.
        room_limit: sends a second in one room at most, however many there are.
        move_interval: seconds until a socket leaves a room and joins another.
        beat_interval: seconds between signs of life.
        payload: bytes of a message.
    """

    workers_per_node: int = 8
    sockets_per_worker: int = 12_500
    rooms_per_socket: float = 2.0
    smallest_room: int = 2
    largest_share: float = 0.01
    exponent: float = 1.2
    groups: int = 4
    group_interval: float = 60.0
    id_interval: float = 60.0
    speak_interval: float = 200.0
    room_limit: float = 5.0
    move_interval: float = 300.0
    beat_interval: float = 2.0
    payload: int = 200


@dataclass(frozen=True, slots=True)
class RoomClass:
    """Rooms of about one size; their number need not be whole."""

    size: int
    count: float


def room_classes(load: Load, sockets: int) -> list[RoomClass]:
    """Return the rooms of so many sockets, from small to large."""
    largest = max(load.smallest_room, int(load.largest_share * sockets))
    shares: list[tuple[int, float]] = []
    lower = load.smallest_room
    while lower <= largest:
        upper = min(largest, max(lower, int(lower * STEP)))
        share = _share(load, lower) - (_share(load, upper + 1) if upper < largest else 0.0)
        shares.append((round(math.sqrt(lower * upper)), share))
        lower = upper + 1
    mean = sum(size * share for size, share in shares)
    rooms = load.rooms_per_socket * sockets / mean
    return [RoomClass(size, rooms * share) for size, share in shares]


def _share(load: Load, size: int) -> float:
    """Share of rooms with at least so many members."""
    return float((load.smallest_room / size) ** load.exponent)


def draw_rooms(load: Load, sockets: int, choose: random.Random) -> Iterator[int]:
    """Draw whole rooms: yield their sizes, about as many as the classes have."""
    for each in room_classes(load, sockets):
        whole = int(each.count) + (choose.random() < each.count % 1.0)
        yield from [each.size] * whole
