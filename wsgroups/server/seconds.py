"""Seconds to judge others by: those in which this process was on time itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECOND = 1.0
_LATE = 0.5  # seconds; who is later has been held up
LONG_SILENCE = 4.0  # seconds without a sign of life, which there is one of each second


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


class Silence:
    """How long somebody has said nothing, who says something each second."""

    def __init__(self) -> None:
        self._seconds = 0.0

    @property
    def is_long(self) -> bool:
        """True from the time on that is not to be explained by chance."""
        return self._seconds >= LONG_SILENCE

    def count(self, was_heard: bool, in_time: bool) -> bool:
        """Count a second more; True when it is the one that makes the silence long.

        Args:
            was_heard: something was said in it.
            in_time: we were on time. Otherwise all begin anew who have not been silent for long.
        """
        was_long = self.is_long
        if was_heard:
            self._seconds = 0.0
        elif in_time:
            self._seconds += SECOND
        elif not was_long:
            self._seconds = 0.0
        return self.is_long and not was_long
