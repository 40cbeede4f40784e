"""The rooms of one Handle, by name."""

from __future__ import annotations

from weakref import WeakValueDictionary

from wsgroups.surface.websocket import Room


class Rooms:
    """Gives each name one room while that has members or is referred to. From any thread."""

    def __init__(self) -> None:
        self._rooms: WeakValueDictionary[str, Room] = WeakValueDictionary()

    def room(self, name: str) -> Room:
        """Return the room of that name.

        Raises:
            TypeError: when the name is no string.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a room is a str, not {type(name).__name__}")
        room = self._rooms.get(name)
        # Of two threads that come at once, one makes the room and both get it.
        return self._rooms.setdefault(name, Room(name)) if room is None else room
