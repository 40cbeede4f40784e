"""Who comes and who leaves, in all workers: events, and the functions that want them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from wsgroups.cluster.channels import group_channel, name_of
from wsgroups.errors import DuplicateHandlerError
from wsgroups.surface.listener import Listener, Spawn

logger = logging.getLogger("wsgroups")


@dataclass(frozen=True, slots=True)
class PresenceEvent:
    """Somebody has come to a group or a room, or has left it.

    Attributes:
        kind: `"join"` or `"leave"`.
        id: the socket's.
        group: the name of the group, None when it is about a room.
        room: the name of the room, None when it is about a group.
        is_here: whether the socket is, or was, of this process.
    """

    kind: Literal["join", "leave"]
    id: int
    group: str | None
    room: str | None
    is_here: bool


class Presence:
    """The functions that want to know of groups and rooms. Register in one thread.

    Args:
        spawn: runs a coroutine as a task.
    """

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._groups: dict[bytes, Listener[PresenceEvent]] = {}
        self._rooms: dict[str, Listener[PresenceEvent]] = {}  # by name
        self._patterns: dict[str, Listener[PresenceEvent]] = {}  # by how the name begins

    @property
    def is_wanted(self) -> bool:
        """Whether anybody wants to know anything."""
        return bool(self._groups or self._rooms or self._patterns)

    def add_group(self, name: str, function: Callable[[PresenceEvent], Any]) -> None:
        """Register a function for a group, on whatever port.

        Raises:
            DuplicateHandlerError: when the group has one.
        """
        self._add(self._groups, group_channel(name, None), f"group {name!r}", function)

    def add_room(self, pattern: str, function: Callable[[PresenceEvent], Any]) -> None:
        """Register a function for the room of a name, or with `*` at the end for all that begin so.

        Raises:
            DuplicateHandlerError: when the same is registered.
        """
        which, name = self._rooms, pattern
        if pattern.endswith("*"):
            which, name = self._patterns, pattern[:-1]
        self._add(which, name, f"room {pattern!r}", function)

    def _add(
        self,
        which: dict[Any, Listener[PresenceEvent]],
        key: Any,
        what: str,
        function: Callable[..., Any],
    ) -> None:
        if key in which:
            raise DuplicateHandlerError(f"{what} has a handler for presence already; each has one")
        which[key] = Listener("presence handler", function, self._spawn)

    def wants_group(self, name: str) -> bool:
        """Whether anybody wants to know of a group."""
        return group_channel(name, None) in self._groups

    def wants_room(self, name: str) -> bool:
        """Whether anybody wants to know of a room."""
        return name in self._rooms or any(map(name.startswith, self._patterns))

    def happened(self, label: bytes, ids: list[int], has_come: bool, is_here: bool) -> bool:
        """Note that sockets have come to a set or left it; False when nobody wants to know.

        Args:
            label: the channel of the set.
            ids: of the sockets.
            has_come: else they have left.
            is_here: they are of this process.
        """
        name, _, is_room = name_of(label)
        listeners = self._of_room(name) if is_room else self._of_group(name)
        if not listeners:
            return False
        for id in ids:
            event = PresenceEvent(
                kind="join" if has_come else "leave",
                id=id,
                group=None if is_room else name,
                room=name if is_room else None,
                is_here=is_here,
            )
            for listener in listeners:
                listener.put(event)
        return True

    def _of_group(self, name: str) -> list[Listener[PresenceEvent]]:
        listener = self._groups.get(group_channel(name, None))
        return [] if listener is None else [listener]

    def _of_room(self, name: str) -> list[Listener[PresenceEvent]]:
        named = self._rooms.get(name)
        found = [] if named is None else [named]
        return found + [each for begin, each in self._patterns.items() if name.startswith(begin)]

    def start(self) -> None:
        """Call the functions with what has happened. In the loop."""
        for which in (self._groups, self._rooms, self._patterns):
            for listener in which.values():
                listener.start()
