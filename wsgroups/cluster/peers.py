"""Which other workers there are, and which there were."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from wsgroups.ids import SEQUENCE_BITS, TICKS_PER_SECOND, WORKER_BITS, sequence

_NEWS_TAKES = 10 * TICKS_PER_SECOND  # at most, until we hear of a worker that has begun
_NEWS_NEARBY = 1 * TICKS_PER_SECOND  # the same through the hub that we share with it
_CLOCKS_DIFFER = 3600 * TICKS_PER_SECOND  # at most, from one machine to another


class Peers:
    """The other workers on a bus. Changed in one thread, read in any.

    Args:
        near: the node whose workers are all known, by its hub; None: there is none.
        is_alone: there are no other nodes.

    Attributes:
        known: those that are there, by address, each with the id sequence that it began above;
            replaced, never changed.
    """

    def __init__(self, near: int | None = None, is_alone: bool = False) -> None:
        self.known: Mapping[int, int] = {}
        self._left: Mapping[int, int] = {}
        self._settled_at = -math.inf  # by the monotonic clock
        self._near = near
        self._is_alone = is_alone

    def come(self, address: int, since: int) -> None:
        """A worker is there."""
        self.known = {**self.known, address: since}

    def go(self, address: int) -> None:
        """A worker has left; all ids that it gave out are below the clock."""
        self._left = {**self._left, address: sequence.now}
        self.known = {other: since for other, since in self.known.items() if other != address}

    def clear(self) -> None:
        """Nobody can be reached any more."""
        for address in self.known:
            self.go(address)

    def doubt(self, seconds: float) -> None:
        """Who has not been heard of may be there all the same, for so many seconds from now.

        Args:
            seconds: in which all who are there will be heard of; infinite while nobody can be.
        """
        self._settled_at = time.monotonic() + seconds

    def settles_in(self, address: int) -> float:
        """Return in how many seconds it is known whether a worker is there; 0 when it is now."""
        if address in self.known or address >> WORKER_BITS == self._near:
            return 0.0
        return max(0.0, self._settled_at - time.monotonic())

    def may_have(self, id: int) -> bool:
        """False when it is known that no worker has the socket of an id any more.

        One that nothing is known of may have begun a moment ago; no id is of the future.
        """
        address = id >> SEQUENCE_BITS
        since = self.known.get(address)
        if since is None:
            if self._is_alone and address >> WORKER_BITS != self._near:
                return False
            since = self._left.get(address, 0)
            if not self.settles_in(address):
                is_near = address >> WORKER_BITS == self._near
                since = max(since, sequence.now - (_NEWS_NEARBY if is_near else _NEWS_TAKES))
        return since < id & ((1 << SEQUENCE_BITS) - 1) <= sequence.now + _CLOCKS_DIFFER
