"""Which other workers there are, and which there were."""

from __future__ import annotations

from collections.abc import Mapping

from wsgroups.ids import SEQUENCE_BITS, TICKS_PER_SECOND, sequence

_NEWS_TAKES = 10 * TICKS_PER_SECOND  # at most, until we hear of a worker that has begun
_CLOCKS_DIFFER = 3600 * TICKS_PER_SECOND  # at most, from one machine to another


class Peers:
    """The other workers on a bus. Changed in one thread, read in any.

    Attributes:
        known: those that are there, by address, each with the id sequence that it began above;
            replaced, never changed.
    """

    def __init__(self) -> None:
        self.known: Mapping[int, int] = {}
        self._left: Mapping[int, int] = {}

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

    def may_have(self, id: int) -> bool:
        """False when it is known that no worker has the socket of an id any more.

        One that nothing is known of may have begun a moment ago; no id is of the future.
        """
        address = id >> SEQUENCE_BITS
        since = self.known.get(address)
        if since is None:
            since = max(self._left.get(address, 0), sequence.now - _NEWS_TAKES)
        return since < id & ((1 << SEQUENCE_BITS) - 1) <= sequence.now + _CLOCKS_DIFFER
