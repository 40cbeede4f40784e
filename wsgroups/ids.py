"""Socket ids: `0 | node 10 | worker 6 | sequence 47`, most significant bit first.

The sequence starts at boot from the wall clock, at 16,384 ticks a second, and is never handed
out ahead of that clock. A process that starts later therefore starts above everything an earlier
one gave away, with nothing stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import NamedTuple

from wsgroups.enums import SocketStatus

NODE_BITS, WORKER_BITS, SEQUENCE_BITS = 10, 6, 47
TICKS_PER_SECOND = 1 << 14
MAX_ID = (1 << (NODE_BITS + WORKER_BITS + SEQUENCE_BITS)) - 1

_SEQUENCE_MASK = (1 << SEQUENCE_BITS) - 1
_NANOSECONDS = 1_000_000_000
_NAP = 0.001  # seconds: to fall asleep for each id would cost a quarter of a connection
# Clocks of two processes differ by what was set between their starts.
_TOLERANCE = 3600 * TICKS_PER_SECOND
# No server of this kind ran before 2026-01-01, so no smaller sequence was ever given out.
_FIRST_SEQUENCE = 1_767_225_600 * TICKS_PER_SECOND

_NOBODY: Mapping[int, int] = {}


class IdParts(NamedTuple):
    """The three fields of an id."""

    node: int
    worker: int
    sequence: int


def pack(node: int, worker: int, sequence: int) -> int:
    """Return the id made of its three fields.

    Raises:
        ValueError: when a field does not fit its bits.
    """
    if not 0 <= node < 1 << NODE_BITS:
        raise ValueError(f"node must be 0 to {(1 << NODE_BITS) - 1}, not {node}")
    if not 0 <= worker < 1 << WORKER_BITS:
        raise ValueError(f"worker must be 0 to {(1 << WORKER_BITS) - 1}, not {worker}")
    if not 0 <= sequence <= _SEQUENCE_MASK:
        raise ValueError(f"sequence must fit {SEQUENCE_BITS} bits, not {sequence}")
    return node << (WORKER_BITS + SEQUENCE_BITS) | worker << SEQUENCE_BITS | sequence


def unpack(socket_id: int) -> IdParts:
    """Return the fields of an id.

    Raises:
        ValueError: for an integer outside 63 bits, which is no id.
    """
    if not 0 <= socket_id <= MAX_ID:
        raise ValueError(f"{socket_id} is not a socket id: it does not fit 63 bits")
    return IdParts(
        socket_id >> (WORKER_BITS + SEQUENCE_BITS),
        socket_id >> SEQUENCE_BITS & ((1 << WORKER_BITS) - 1),
        socket_id & _SEQUENCE_MASK,
    )


class IdSequence:
    """Gives out the ids of one worker. Thread-safe.

    Args:
        node: this machine's number, 0 to 1,023.
        worker: this process's number on it, 0 to 63.
        wall_ns: the wall clock in nanoseconds since 1970, read once, here.
        elapsed_ns: a clock that never goes back, in nanoseconds.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        node: int = 0,
        worker: int = 0,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        elapsed_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._route = pack(node, worker, 0)
        self._elapsed_ns = elapsed_ns
        self._sleep = sleep
        self._lock = Lock()
        # The wall clock may be set back while we run, so it is read once and carried on by the
        # other clock.
        self._boot_ns = wall_ns() - elapsed_ns()
        self._begun = self._last = self._clock()
        self._limit = self._last

    def _clock(self) -> int:
        return (self._boot_ns + self._elapsed_ns()) * TICKS_PER_SECOND // _NANOSECONDS

    def next(self) -> int:
        """Return an id that was never given out before, by this run or an earlier one.

        Waits while more than 16,384 ids a second have been asked for since the start of the
        process: an id ahead of the clock could be given out again after a restart.
        """
        with self._lock:
            while self._last >= self._limit:
                self._limit = self._clock()
                if self._last >= self._limit:
                    self._sleep(max(_NAP, (self._last + 1 - self._limit) / TICKS_PER_SECOND))
            self._last += 1
            return self._route | self._last

    @property
    def address(self) -> int:
        """Where the ids say that their sockets are: `node << 6 | worker`."""
        return self._route >> SEQUENCE_BITS

    @property
    def begun(self) -> int:
        """What the sequences of all ids given out here are above."""
        return self._begun

    @property
    def now(self) -> int:
        """What an id is below that was given out before now, by whichever worker of this host."""
        return self._clock() + 1

    def move(self, node: int, worker: int) -> None:
        """Give out ids of another worker from now on, before the first one.

        Whoever had the numbers before may have used them until now: the sequence starts anew.

        Raises:
            ValueError: when a number does not fit its bits.
        """
        self._route = pack(node, worker, 0)
        self._begun = self._last = self._limit = self._clock()

    def status(self, socket_id: int, peers: Mapping[int, int] = _NOBODY) -> SocketStatus:
        """Say what an id is that no live socket of this process has.

        Args:
            socket_id: any integer.
            peers: the other workers, by address, each with the sequence that it began above.
        """
        if not 0 <= socket_id <= MAX_ID:
            return SocketStatus.NEVER_ISSUED
        sequence = socket_id & _SEQUENCE_MASK
        if socket_id - sequence != self._route:
            since = peers.get(socket_id >> SEQUENCE_BITS)
            if since is None:
                return SocketStatus.UNKNOWN_NODE
            if not _FIRST_SEQUENCE < sequence <= self._clock() + _TOLERANCE:
                return SocketStatus.NEVER_ISSUED
            # What is older comes from a worker before it that had the same number.
            return SocketStatus.ELSEWHERE if sequence > since else SocketStatus.CLOSED
        was_issued = _FIRST_SEQUENCE < sequence <= self._last
        return SocketStatus.CLOSED if was_issued else SocketStatus.NEVER_ISSUED


sequence = IdSequence()
"""The one sequence of this process."""
