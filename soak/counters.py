"""What the server counts of itself, and tells over the control connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counters:
    """One reading.

    Attributes:
        connections: of the driver, in whatever phase.
        sockets: ids among the last thousands given away that still lead to a live socket, the
            control connection's left out.
        members: of all groups together.
        rooms: that exist.
        tasks: of the loop.
        descriptors: open ones.
        objects: that the garbage collector knows.
        upgrades: handshakes accepted, since the start.
        disconnects: calls of disconnect handlers, since the start.
        logged: records of level ERROR or above, since the start.
    """

    connections: int
    sockets: int
    members: int
    rooms: int
    tasks: int
    descriptors: int
    objects: int
    upgrades: int
    disconnects: int
    logged: int


RETURNING = ("connections", "sockets", "members", "rooms", "tasks", "descriptors")
