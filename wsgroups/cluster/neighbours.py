"""Who else is on a broker, as their signs of life tell."""

from __future__ import annotations

import math
from collections.abc import Callable

from wsgroups.cluster.bus import is_visitor
from wsgroups.cluster.peers import Peers

GONE_AFTER = 7.0  # seconds without a sign of life
_FORGET_AFTER = 600.0  # seconds that somebody is gone


class Neighbours:
    """The workers and nodes that are heard of. In one thread; times are of the loop's clock.

    Args:
        peers: where to keep the workers that are there.
        report: called with an address, and whether somebody has come there or left.

    Attributes:
        peers: as given.
        heard: when each gave its last sign of life, also those that are gone since.
    """

    def __init__(self, peers: Peers, report: Callable[[int, bool], None]) -> None:
        self.peers = peers
        self.heard: dict[int, float] = {}
        self._report = report
        self._incarnations: dict[int, int] = {}

    def __contains__(self, address: int) -> bool:
        return address in self._incarnations

    def hear(self, address: int, now: float) -> float:
        """Note a sign of life, and return when the one before was; never: minus infinity."""
        before = self.heard.get(address, -math.inf)
        if not is_visitor(address):  # they come and go by the thousand
            self.heard[address] = now
        return before

    def have_said_so_since(self, began: float) -> bool:
        """True when all that are there have given a sign of life since."""
        return all(self.heard.get(address, 0.0) >= began for address in self._incarnations)

    def come(self, address: int, incarnation: int, since: int) -> None:
        """A worker is there, or its successor."""
        before = self._incarnations.get(address)
        if before == incarnation:
            return
        if before is not None:
            self.leave(address)
        self._incarnations[address] = incarnation
        self.peers.come(address, since)
        self._report(address, True)

    def leave(self, address: int) -> None:
        """Nobody is there any more."""
        if self._incarnations.pop(address, None) is not None:
            self.peers.go(address)
            self._report(address, False)

    def leave_as(self, address: int, incarnation: int) -> None:
        """The one with this incarnation is not there any more; its successor may be."""
        if self._incarnations.get(address) == incarnation:
            self.leave(address)

    def leave_since(self, address: int, since: int) -> None:
        """The one that began at `since` is not there any more."""
        if self.peers.known.get(address) == since:
            self.leave(address)

    def look_around(self, connected: float, now: float) -> list[int]:
        """Give up those that are silent.

        Args:
            connected: since when they could be heard.
            now: until when.

        Returns:
            list: addresses that are forgotten, as they have been silent for long.
        """
        forgotten = []
        for address, heard in list(self.heard.items()):
            silent = now - max(heard, connected)
            if silent > GONE_AFTER:
                self.leave(address)
            if silent > _FORGET_AFTER:
                del self.heard[address]
                forgotten.append(address)
        return forgotten

    def clear(self) -> None:
        """Nobody can be heard any more."""
        self.peers.clear()
