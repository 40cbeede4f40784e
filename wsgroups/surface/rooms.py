"""The rooms of one Handle, by name."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakValueDictionary

from wsgroups.cluster.channels import room_channel
from wsgroups.surface.websocket import Room


class Rooms:
    """Gives each name one room while that has members or is referred to. From any thread."""

    def __init__(self) -> None:
        self._rooms: WeakValueDictionary[str, Room] = WeakValueDictionary()
        self._channel_of: Callable[[str], bytes] | None = None
        self._label: Callable[[Room, bytes], None] | None = None

    def room(self, name: str) -> Room:
        """Return the room of that name.

        Raises:
            TypeError: when the name is no string.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a room is a str, not {type(name).__name__}")
        room = self._rooms.get(name)
        if room is None:
            room = Room(name)
            if self._channel_of is not None:
                room.members.channel = self._channel_of(name)
            if self._label is not None:
                self._label(room, room_channel(name))
            # Of two threads that come at once, one makes the room and both get it.
            room = self._rooms.setdefault(name, room)
        return room

    def find(self, name: str) -> Room | None:
        """Return the room of that name if there is one."""
        return self._rooms.get(name)

    def some(self, count: int) -> tuple[list[Room], int]:
        """Return so many rooms at most, and how many there are beside them."""
        references = self._rooms.valuerefs()
        found = (reference() for reference in references[:count])
        return [room for room in found if room], max(0, len(references) - count)

    def labelled(self) -> list[tuple[bytes, Room]]:
        """Return all rooms there are, each with what workers call it."""
        return [(room_channel(name), room) for name, room in list(self._rooms.items())]

    def observe(self, label: Callable[[Room, bytes], None]) -> None:
        """Have `label` called with each room, now and from now on, and what workers call it."""
        self._label = label
        for channel, room in self.labelled():
            label(room, channel)

    def share(self, channel_of: Callable[[str], bytes] | None) -> None:
        """Give each room, now and from now on, what other workers call it; None: they do not."""
        self._channel_of = channel_of
        for name, room in list(self._rooms.items()):
            room.members.channel = None if channel_of is None else channel_of(name)
