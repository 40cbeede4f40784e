"""Runs the asynchronous handlers of one socket, one at a time and in order."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from wsgroups.connection.calls import ErrorHandling
from wsgroups.connection.connection import Connection

_EAGER = sys.version_info >= (3, 12)

Event = tuple[Callable[..., Any], tuple[Any, ...]]


def begin(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Make a task of a coroutine; on Python 3.12 and later it has run up to its first wait then."""
    loop = asyncio.get_running_loop()
    if _EAGER:
        return asyncio.Task(coroutine, loop=loop, eager_start=True)  # type: ignore[call-arg,unused-ignore]
    return loop.create_task(coroutine)


class Runner:
    """The events of a socket behind a handler that is suspended.

    It lives from the first event that needs a task until its queue is empty. One task serves a
    whole burst; on Python 3.12 and later it starts at once, so a handler that does not suspend
    never touches the loop.

    Args:
        connection: the connection whose events these are.
        bound: events that may wait before the connection stops reading.
        grace: seconds that handlers may go on after the socket has closed.
        is_strict: the handler of a message or a connect is cancelled as soon as it has.
        tasks: where running tasks are kept, so that a server can wait for them.
    """

    __slots__ = (
        "_bound", "_connection", "_grace", "_is_active", "_is_strict", "_kept", "_now", "_queue",
        "_task", "_tasks", "_timer",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        bound: int,
        grace: float,
        is_strict: bool,
        tasks: set[asyncio.Task[None]],
    ) -> None:
        self._connection = connection
        self._bound = bound
        self._grace = grace
        self._is_strict = is_strict
        self._tasks = tasks
        self._queue: deque[Event] = deque()
        self._is_active = False
        self._now: Callable[..., Any] | None = None  # the handler that runs
        self._task: asyncio.Task[None] | None = None  # once it is suspended
        self._timer: asyncio.TimerHandle | None = None  # once the socket has closed
        self._kept = 0

    @property
    def is_full(self) -> bool:
        """True while the connection should not read."""
        return len(self._queue) >= self._bound

    def put(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Queue a call, or raise and do nothing; sync and async functions alike."""
        self._queue.append((function, arguments))
        if not self._is_active:
            try:
                self._start()
            except MemoryError:
                if not self._is_active:  # nobody runs who would take it
                    self._queue.clear()
                    raise

    def wind_up(self, kept: int) -> None:
        """The socket has closed: what is queued may finish within the grace, then is cancelled.

        The last `kept` events are called even so: the disconnect handler, when there is one.
        """
        self._kept = kept
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._grace, self._cancel)
            if self._is_strict and not isinstance(self._now, ErrorHandling):
                self._cancel()

    def _start(self) -> None:
        run = self._run()
        self._is_active = True
        try:
            task = begin(run)
        except MemoryError:
            run.close()
            self._is_active = False
            raise
        if task.done():
            return
        self._task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        while self._queue:
            self._now, arguments = self._queue.popleft()
            try:
                result = self._now(*arguments)
                if isinstance(result, Awaitable):
                    await result
            except asyncio.CancelledError as error:
                if not self._was_cancelled():
                    self._failed(error, self._now)
            except BaseException as error:
                self._failed(error, self._now)
            if self._timer is not None:
                self._forget_cancellation()
            if len(self._queue) == self._bound - 1:
                self._connection.go_on()
        self._is_active = False
        self._now = self._task = None
        if self._timer is not None:
            self._timer.cancel()
        self._connection.runner_done()

    def _failed(self, error: BaseException, function: Callable[..., Any]) -> None:
        """A handler raised: the socket closes, what it sent before that is not delivered."""
        self._drop_messages()
        self._connection.handler_failed(error, function)

    def _drop_messages(self) -> None:
        """Leave what is to be called in any case: error handlers, and what `wind_up` has kept."""
        dropped = len(self._queue) - self._kept
        self._queue = deque(
            event
            for i, event in enumerate(self._queue)
            if i >= dropped or isinstance(event[0], ErrorHandling)
        )

    # --- cancelling -------------------------------------------------------------------------

    def _cancel(self) -> None:
        """Drop the messages, and end the handler that is suspended."""
        self._drop_messages()
        # A task that has not begun would end without calling anybody, if it were cancelled.
        if self._task is not None and self._now is not None:
            self._task.cancel()

    def _was_cancelled(self) -> bool:
        """True for a handler that somebody ended because its socket has closed: no fault of its."""
        task = asyncio.current_task()
        return self._timer is not None and task is not None and task.cancelling() > 0

    def _forget_cancellation(self) -> None:
        """Let the next handler begin afresh: its timeouts and task groups count cancellations."""
        task = asyncio.current_task()
        while task is not None and task.uncancel():
            pass
