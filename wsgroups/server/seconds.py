"""Seconds to judge others by: those in which this process was on time itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECOND = 1.0
_LATE = 0.5  # seconds; who is later has been held up


class Seconds:
    """Counts seconds in the running loop.

    A process that is stopped, with all others or alone, finds much time gone by when it goes on, in
    which the others had no chance either: that is told apart.

    Args:
        passed: called each second, with True when we were on time.
    """

    def __init__(self, passed: Callable[[bool], None]) -> None:
        self._passed = passed
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_later(SECOND, self._tick)

    def _tick(self) -> None:
        late = self._loop.time() - self._next.when()
        self._next = self._loop.call_later(SECOND, self._tick)
        self._passed(late < _LATE)

    def stop(self) -> None:
        """Count no more."""
        self._next.cancel()
