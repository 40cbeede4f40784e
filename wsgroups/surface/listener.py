"""A function that is called with one thing after the other, whether or not it awaits something."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

logger = logging.getLogger("wsgroups")

_AT_ONCE = 256  # events before the loop goes on
_MOST_WAITING = 1 << 20  # events behind a handler that is slow; more are dropped

Event = TypeVar("Event")
Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Listener(Generic[Event]):
    """One function, called with one event after the other.

    Args:
        what: it is called in the log.
        function: takes an event; may be `async def`.
        spawn: runs a coroutine as a task.
    """

    def __init__(self, what: str, function: Callable[[Event], Any], spawn: Spawn) -> None:
        self._what = what
        self._function = function
        self._spawn = spawn
        self._waiting: deque[Event] = deque()
        self._is_running = False
        self._dropped = 0

    def put(self, event: Event) -> None:
        """Have the function called with an event, once `start` is called."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(event)
        else:
            if not self._dropped:
                logger.error(
                    "%s %r is too slow and misses events; have it start tasks for what takes long",
                    self._what,
                    self._function,
                )
            self._dropped += 1

    def start(self) -> None:
        """Begin with what waits, unless that goes on already."""
        if self._waiting and not self._is_running:
            self._is_running = True
            self._spawn(self._run())

    async def _run(self) -> None:
        try:
            called = 0
            while self._waiting:
                await self._call(self._waiting.popleft())
                called += 1
                if called % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        finally:
            self._is_running = False
            self._dropped = 0

    async def _call(self, event: Event) -> None:
        try:
            result = self._function(event)
            if isinstance(result, Awaitable):
                await result
        except (Exception, asyncio.CancelledError) as error:
            if ends_task(error):
                raise
            logger.error("%s failed with %.200r", self._what, event, exc_info=error)


def ends_task(error: BaseException) -> bool:
    """True for a CancelledError that is meant for this task, not for what it has waited for."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling() > 0)
