"""Guardians: each worker tells another one what is open here, which acts for it when it is killed.

What a guardian does for a worker that has ended, it does at most once: whenever it is not certain
what was open there, it does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice

from wsgroups.cluster.bus import Bus, describe_address
from wsgroups.cluster.changes import (
    AGAIN,
    CHANGES,
    RELEASE,
    SNAPSHOT,
    Change,
    Guarding,
    decode_changes,
    decode_guarding,
    encode_changes,
    encode_guarding,
)

logger = logging.getLogger("wsgroups")

_A_MESSAGE = 50_000  # changes of a snapshot sent at once
_MOST_GUARDED = 1 << 12  # beyond, those are forgotten that are not there
_NOT_AGAIN_BEFORE = 1.0  # seconds from one snapshot for want of something to the next

Sets = Mapping[bytes, Collection[int]]
"""Ids by the label of what they are in."""


def choose_guardian(address: int, others: Collection[int]) -> int | None:
    """Return which of the others guards the worker at an address, or None when there are none.

    One of another node, if there is one: what ends a node spares it. Of several the one with the
    same number on the next node, or the next on the same, so that each has about one to guard.
    """
    far = [other for other in others if other >> 6 != address >> 6]
    return min(
        far or others,
        key=lambda other: (bool(far) and other & 63 != address & 63, (other - address) & 0xFFFF),
        default=None,
    )


class Ward:
    """This worker's part in being guarded. In the loop of the bus.

    Args:
        bus: how the guardian is reached.
        since: the id sequence that this worker began above.
        snapshot: returns all that is open now, each as having come.

    Attributes:
        guardian: its address; None while there is none.
    """

    def __init__(self, bus: Bus, since: int, snapshot: Callable[[], Iterable[Change]]) -> None:
        self.guardian: int | None = None
        self._guardian_since = 0
        self._former: set[int] = set()
        self._bus = bus
        self._since = since
        self._snapshot = snapshot
        self._number = 0
        self._is_wanted = False
        self._moving: asyncio.Task[None] | None = None
        self._repeating: asyncio.TimerHandle | None = None

    def want(self, is_wanted: bool) -> None:
        """Be guarded or not; also called when something else is to be guarded than before."""
        self._is_wanted = is_wanted
        if not is_wanted:
            self.release()
        elif self.guardian is None:
            self.look_around()
        else:
            self._send_all()

    def release(self) -> None:
        """Have the guardian forget this worker."""
        if self.guardian is not None:
            self._send(RELEASE)
            self.guardian = None

    def stop(self) -> None:
        """End in an orderly way: everything here is closed by now."""
        self._is_wanted = False
        self.release()
        if self._repeating is not None:
            self._repeating.cancel()

    def changed(self, changes: list[Change]) -> None:
        """Tell the guardian who has come and who has left."""
        if self.guardian is not None and changes:
            self._send(CHANGES, changes)

    def came(self, address: int) -> None:
        """A worker is there. One that has guarded us may have been away only for a while."""
        if address in self._former:
            self._former.discard(address)
            if address != self.guardian:
                self._tell(address, RELEASE)
        self.look_around()

    def look_around(self) -> None:
        """Choose a guardian when there is none any more, or a better one."""
        if not self._is_wanted or self._moving is not None:
            return
        known, guardian = self._bus.peers.known, self.guardian
        if guardian is not None and known.get(guardian) != self._guardian_since:
            self.release()  # in case that it only seems to have ended
            self._former.add(guardian)
        best = choose_guardian(self._bus.address, known.keys())
        if best is None:
            return
        if self.guardian is None:
            self.guardian, self._guardian_since = best, known[best]
            self._send_all()
        elif self._is_far(best) and not self._is_far(self.guardian):
            self._moving = asyncio.get_running_loop().create_task(self._move())

    def repeat_soon(self) -> None:
        """Send a snapshot again: something may have been lost."""
        if self._repeating is None:
            loop = asyncio.get_running_loop()
            self._repeating = loop.call_later(_NOT_AGAIN_BEFORE, self._repeat)

    def heard(self, message: Guarding) -> None:
        """The guardian has missed something."""
        if message.address == self.guardian:
            self._send_all()

    def _is_far(self, address: int) -> bool:
        return address >> 6 != self._bus.address >> 6

    async def _move(self) -> None:
        """Leave a guardian for a better one: the new one knows nothing before the old one forgets.

        If both knew, both would act.
        """
        self.release()
        with contextlib.suppress(ConnectionError):
            await self._bus.sync()
        self._moving = None
        self.look_around()

    def _repeat(self) -> None:
        self._repeating = None
        if self.guardian is not None:
            self._send_all()

    def _send_all(self) -> None:
        """Send all that is open."""
        guardian, self.guardian = self.guardian, None  # what is noted meanwhile is in it
        changes = iter(list(self._snapshot()))
        self.guardian, self._number = guardian, 0
        self._send(SNAPSHOT, list(islice(changes, _A_MESSAGE)))
        while more := list(islice(changes, _A_MESSAGE)):
            self._send(CHANGES, more)

    def _send(self, what: int, changes: Iterable[Change] = ()) -> None:
        assert self.guardian is not None
        self._tell(self.guardian, what, encode_changes(changes))
        self._number += 1

    def _tell(self, address: int, what: int, changes: bytes = b"") -> None:
        message = Guarding(what, self._bus.address, self._since, self._number, changes)
        self._bus.send(address, encode_guarding(message))


class _Guarded:
    """What is known of a worker that is guarded.

    Attributes:
        sets: ids by label.
        is_known: False when something was missed, until the next snapshot.
        asked: when a snapshot was asked for last.
        asking: asks for the next one.
    """

    def __init__(self) -> None:
        self.sets: dict[bytes, set[int]] = {}
        self.is_known = False
        self.asked = 0.0
        self.asking: asyncio.TimerHandle | None = None
        self._next = 0

    def forget(self) -> None:
        """Something may have been missed."""
        self.sets, self.is_known = {}, False

    def take(self, message: Guarding) -> None:
        """Take a snapshot or changes.

        Raises:
            ValueError: for changes that are none.
        """
        if message.what == SNAPSHOT:
            self.sets, self.is_known, self._next = {}, True, 0
        if message.number != self._next:
            self.is_known = False
        if not self.is_known:
            self.sets.clear()
            return
        self.is_known = False  # while an error would leave a part of it
        for label, has_come, ids in decode_changes(message.changes):
            if has_come:
                self.sets.setdefault(label, set()).update(ids)
            elif label in self.sets:
                self.sets[label].difference_update(ids)
                if not self.sets[label]:
                    del self.sets[label]
        self._next += 1
        self.is_known = True


class Guardian:
    """This worker's part in guarding others. In the loop of the bus.

    Args:
        bus: how they are reached.
        since: the id sequence that this worker began above.
        lost: called with what was open in a worker that has ended without releasing us.
    """

    def __init__(self, bus: Bus, since: int, lost: Callable[[Sets], None]) -> None:
        self._bus = bus
        self._since = since
        self._lost = lost
        self._guarded: dict[tuple[int, int], _Guarded] = {}
        self._acted: dict[int, int] = {}  # since when each had run that we have acted for
        self._tasks: set[asyncio.Task[None]] = set()

    def heard(self, message: Guarding) -> None:
        """A worker tells what is open there.

        Raises:
            ValueError: for changes that are none.
        """
        key = message.address, message.since
        if message.what == RELEASE:
            self._guarded.pop(key, None)
            return
        if message.since <= self._acted.get(message.address, -1):
            return  # it was late
        if key not in self._guarded and len(self._guarded) >= _MOST_GUARDED:
            known = self._bus.peers.known
            for other in [key for key in self._guarded if known.get(key[0]) != key[1]]:
                del self._guarded[other]
        guarded = self._guarded.setdefault(key, _Guarded())
        try:
            guarded.take(message)
        finally:
            if not guarded.is_known:
                self._ask_again(key)

    def missed(self) -> None:
        """Messages were lost, perhaps such as say what has closed: ask everybody again."""
        for key, guarded in self._guarded.items():
            guarded.forget()
            self._ask_again(key)

    def left(self, address: int) -> None:
        """A worker has ended."""
        task = asyncio.get_running_loop().create_task(self._act(address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Guard nobody any more."""
        for guarded in self._guarded.values():
            if guarded.asking is not None:
                guarded.asking.cancel()
        self._guarded.clear()

    async def _act(self, address: int) -> None:
        """Act for a worker that has ended, once all that it has said is here."""
        try:
            await self._bus.sync()
        except ConnectionError:
            return  # we are the one that is lost
        # Its successor may be there already; or it was only away for a while.
        there = self._bus.peers.known.get(address)
        for key in [key for key in self._guarded if key[0] == address and key[1] != there]:
            guarded = self._guarded.pop(key)
            self._acted[address] = max(key[1], self._acted.get(address, 0))
            if guarded.is_known:
                self._lost(guarded.sets)
            else:
                name = describe_address(address)
                logger.warning("what was open in %s is not known here: it gets no disconnect", name)

    def _ask_again(self, key: tuple[int, int]) -> None:
        """Ask for a snapshot soon, but not for one after the other."""
        guarded = self._guarded[key]
        if guarded.asking is None:
            loop = asyncio.get_running_loop()
            wait = max(0.0, guarded.asked + _NOT_AGAIN_BEFORE - loop.time())
            guarded.asking = loop.call_later(wait, self._ask, key)

    def _ask(self, key: tuple[int, int]) -> None:
        guarded = self._guarded.get(key)
        if guarded is None:
            return
        guarded.asking = None
        if not guarded.is_known:
            guarded.asked = asyncio.get_running_loop().time()
            message = Guarding(AGAIN, self._bus.address, self._since)
            self._bus.send(key[0], encode_guarding(message))


def hear(data: bytes, ward: Ward, guardian: Guardian) -> None:
    """Give a message to the part that it is for.

    Raises:
        ValueError: when it is none.
    """
    message = decode_guarding(data)
    if message.what == AGAIN:
        ward.heard(message)
    else:
        guardian.heard(message)
