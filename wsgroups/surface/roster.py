"""What is noted of who comes and who leaves, and who is told of it: handlers, other workers."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from wsgroups.cluster.bus import Bus
from wsgroups.cluster.changes import Change, decode_changes, encode_changes
from wsgroups.cluster.channels import NEWS
from wsgroups.cluster.guarding import Guardian, Sets, Ward, hear
from wsgroups.connection.members import Witness
from wsgroups.ids import sequence
from wsgroups.surface import instances
from wsgroups.surface.listener import Spawn
from wsgroups.surface.orphans import call_for, told_first
from wsgroups.surface.presence import Presence, PresenceEvent
from wsgroups.surface.rooms import Rooms
from wsgroups.surface.websocket import Room

if TYPE_CHECKING:
    from wsgroups.surface.group import Group

logger = logging.getLogger("wsgroups")

_ORPHANS = b"o"  # begins the label of what is guarded for the sake of disconnect handlers
_TELLING = 1.0  # seconds that a disconnect handler waits at most until the guardian is told


class Roster:
    """Has groups and rooms note who comes and who leaves, where somebody wants to know.

    What is noted in whatever thread is looked at once a turn of the loop. Without presence handlers
    and groups with `orphans`, nothing is noted.

    Args:
        rooms: of the Handle.
        spawn: runs a coroutine as a task that a server waits for.
    """

    def __init__(self, rooms: Rooms, spawn: Spawn) -> None:
        self._presence = Presence(spawn)
        self._rooms = rooms
        self._spawn = spawn
        self._witness = Witness(self._wake)
        self._groups: dict[bytes, Group] = {}
        self._guarded: dict[bytes, Group] = {}  # those with orphans, while there is a bus
        self._closing: dict[bytes, set[int]] = {}  # of these: out, but not told to the handler
        self._loop: asyncio.AbstractEventLoop | None = None
        # Not that of whatever handler makes the first socket come or leave.
        self._context = contextvars.copy_context()
        self._telling: asyncio.Task[None] | None = None  # tells the guardian who is about to close
        self._bus: Bus | None = None
        self._ward: Ward | None = None
        self._guardian: Guardian | None = None

    # --- what is noted ----------------------------------------------------------------------

    def listen(
        self, function: Callable[[PresenceEvent], Any], group: str | None, room: str | None
    ) -> None:
        """Register a presence handler for a group, or for rooms; as `Handle.presence`."""
        if group is not None:
            self._presence.add_group(group, function)
            for each in self._groups.values():
                self._arrange(each)
        elif room is not None:
            self._presence.add_room(room, function)
            self._rooms.observe(self._label_room)
        self._rearranged()

    def arrange(self, group: Group) -> None:
        """Have a group that is new or has changed note what is wanted of it."""
        self._groups[group.label] = group
        if self._arrange(group):
            self._rearranged()

    def _arrange(self, group: Group) -> bool:
        """Do so; True when it is guarded and was not, or the other way round."""
        label, was_guarded = group.label, group.label in self._guarded
        handler = group.disconnect
        is_guarded = (
            self._bus is not None
            and group.policy.orphans
            and handler is not None
            # The object of a socket dies with its worker: there is nothing to call.
            and handler.function is not instances.closed
        )
        if handler is not None and is_guarded:
            self._guarded[label] = group
            self._closing.setdefault(label, set())
            group.core.disconnect = told_first(handler, partial(self._tell_closed, label))
        else:
            self._guarded.pop(label, None)
            self._closing.pop(label, None)
            group.core.disconnect = handler
        is_wanted = is_guarded or self._presence.wants_group(group.name)
        group.members.label = label
        group.members.witness = self._witness if is_wanted else None
        return is_guarded != was_guarded

    def _label_room(self, room: Room, label: bytes) -> None:
        """Have a room note what is wanted of it."""
        if self._presence.wants_room(room.name):
            room.members.label = label
            room.members.witness = self._witness

    def _rearranged(self) -> None:
        """Have more or less guarded than before."""
        if self._ward is not None:
            self._ward.want(bool(self._guarded) or self._presence.is_wanted)
        if self._bus is not None and self._presence.is_wanted:
            self._bus.subscribe(NEWS)

    # --- looking at it ----------------------------------------------------------------------

    def _wake(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Something is noted: look at it soon. From any thread."""
        if self._loop is None or not self._loop.is_running():
            self._loop = loop
        if self._loop is None:  # connections without a loop: there is nobody to be told
            self._witness.take()
        elif self._loop is asyncio._get_running_loop():
            self._loop.call_soon(self.flush, context=self._context)
        else:
            self._loop.call_soon_threadsafe(self.flush, context=self._context)

    def settle(self) -> None:
        """Tell of what has been noted, if this is the loop to do it in."""
        if self._loop is asyncio.get_running_loop():
            self.flush()

    def flush(self) -> None:
        """Tell of what has been noted since the last time. In the loop's thread."""
        entries = self._witness.take()
        if not entries:
            return
        news: list[Change] = []
        guarded: list[Change] = []
        for (label, has_come), run in groupby(entries, lambda entry: (entry[0], entry[2])):
            changes = list(run)
            if label[:1] == _ORPHANS:
                self._closing.get(label[1:], set()).difference_update(id for _, id, _ in changes)
                guarded += changes
                continue
            if label in self._guarded:
                guarded += self._of_guarded(label, changes, has_come)
            if self._presence.happened(label, [id for _, id, _ in changes], has_come, True):
                news += changes
                guarded += changes
        if self._bus is not None and self._ward is not None:
            if news:
                self._bus.publish(NEWS, encode_changes(news))
            self._ward.changed(guarded)
        self._presence.start()

    def _of_guarded(self, label: bytes, changes: list[Change], has_come: bool) -> list[Change]:
        """What the guardian is told when sockets come to a group with orphans, or leave it.

        They are guarded until their disconnect handler is about to be called, which is later.
        """
        if has_come:
            return [(_ORPHANS + label, id, True) for _, id, _ in changes]
        self._closing[label].update(id for _, id, _ in changes)
        return []

    async def _tell_closed(self, label: bytes, id: int) -> None:
        """Tell the guardian that the disconnect handler of a socket is about to be called."""
        loop = asyncio.get_running_loop()
        self._witness.note(_ORPHANS + label, id, False, loop)
        if self._bus is None or self._loop is None:
            return
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_TELLING):
                if loop is self._loop:
                    await self._until_told()
                else:
                    telling = asyncio.run_coroutine_threadsafe(self._until_told(), self._loop)
                    await asyncio.wrap_future(telling)

    async def _until_told(self) -> None:
        """Wait until what is noted by now cannot be lost with this process: the bus has it."""
        if self._telling is None:
            self._telling = asyncio.ensure_future(self._tell())
        await asyncio.shield(self._telling)  # which is for others, too

    async def _tell(self) -> None:
        await asyncio.sleep(0)  # those that close together are told of together
        self._telling = None  # whoever closes from now on is told of by the next
        self.flush()
        if self._bus is not None:
            await self._bus.sync()

    # --- other workers ----------------------------------------------------------------------

    def join(self, bus: Bus) -> None:
        """Tell other workers, and hear of theirs. In the loop of the bus."""
        self._loop, self._bus = asyncio.get_running_loop(), bus
        self._ward = Ward(bus, sequence.begun, self._snapshot)
        self._guardian = Guardian(bus, sequence.begun, self._lost)
        for group in self._groups.values():
            self._arrange(group)
        self._rearranged()

    def leave(self) -> None:
        """End in an orderly way: nobody has to act for what was here."""
        self.flush()
        if self._ward is not None and self._guardian is not None:
            self._ward.stop()
            self._guardian.stop()
        self._bus = self._ward = self._guardian = None
        for group in self._groups.values():
            self._arrange(group)

    def came(self, address: int) -> None:
        """A worker is there."""
        if self._bus is not None and self._ward is not None:
            self._ward.came(address)

    def left(self, address: int) -> None:
        """A worker has ended."""
        if self._ward is not None and self._guardian is not None:
            self._ward.look_around()
            self._guardian.left(address)

    def gap(self) -> None:
        """Messages were lost, perhaps to the guardian, or from whom we guard."""
        if self._ward is not None and self._guardian is not None:
            self._ward.repeat_soon()
            self._guardian.missed()

    def heard(self, data: bytes) -> None:
        """A message between a worker and its guardian has come.

        Raises:
            ValueError: when it is none.
        """
        if self._ward is not None and self._guardian is not None:
            hear(data, self._ward, self._guardian)

    def news(self, data: bytes) -> None:
        """Another worker tells who has come and who has left.

        Raises:
            ValueError: for bytes that are no changes.
        """
        for label, has_come, ids in decode_changes(data):
            self._presence.happened(label, ids, has_come, False)
        self._presence.start()

    def _snapshot(self) -> Iterator[Change]:
        """Yield all that is guarded."""
        self.flush()
        for label, group in self._guarded.items():
            for id in (*group.ids(), *self._closing[label]):
                yield _ORPHANS + label, id, True
        for label, group in self._groups.items():
            if self._presence.wants_group(group.name):
                yield from ((label, id, True) for id in group.ids())
        for label, room in self._rooms.labelled():
            if self._presence.wants_room(room.name):
                yield from ((label, id, True) for id in room.ids())

    def _lost(self, sets: Sets) -> None:
        """Act for a worker that was killed: call disconnect handlers, tell who has left."""
        left: list[Change] = []
        for label, ids in sets.items():
            if label[:1] != _ORPHANS:
                try:
                    self._presence.happened(label, list(ids), False, False)
                except ValueError as error:  # no worker sends what stands for no set
                    logger.error("nobody can be told who has left: %s", error)
                    continue
                left += [(label, id, False) for id in ids]
            elif label[1:] in self._guarded:
                self._spawn(call_for(self._guarded[label[1:]], ids, self._spawn))
        if left and self._bus is not None:
            self._bus.publish(NEWS, encode_changes(left))
        self._presence.start()
