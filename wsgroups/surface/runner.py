"""Runs the asynchronous handlers of one socket, one at a time and in order."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from types import CoroutineType
from typing import Any

from wsgroups.connection.calls import ErrorHandling
from wsgroups.connection.connection import Connection

BEGINS_AT_ONCE = sys.version_info >= (3, 12)
"""A task can run up to its first wait while it is made."""

Function = Callable[..., Any]
Arguments = tuple[Any, ...]
Event = tuple[Function, Arguments]


def begin(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Make a task of a coroutine; on Python 3.12 and later it has run up to its first wait then.

    Raises:
        MemoryError: when there is not enough for a task; the coroutine is closed then.
    """
    loop = asyncio.get_running_loop()
    try:
        if BEGINS_AT_ONCE:
            return asyncio.Task(coroutine, loop=loop, eager_start=True)  # type: ignore[call-arg,unused-ignore]
        return loop.create_task(coroutine)
    except MemoryError:
        coroutine.close()
        raise


def attempt(
    connection: Connection, function: Function, arguments: Arguments
) -> asyncio.Task[None] | None:
    """Call a function of a socket that nothing runs for; sync and async functions alike.

    Only for Pythons on which tasks begin at once.

    Returns:
        None when that is over, or the task of what is suspended, for a Runner to adopt.
    """
    task = begin(attend(connection, function, arguments))
    return None if task.done() else task


async def attend(connection: Connection, function: Function, arguments: Arguments) -> None:
    """Call a function, and after it what has queued behind it meanwhile."""
    while True:
        try:
            result = function(*arguments)
            # The type of nearly all results first: to ask the abstract class takes longer.
            if type(result) is CoroutineType or isinstance(result, Awaitable):
                await result
        except BaseException as error:
            _failed(connection, error, function)
        runner = connection.runner
        event = connection.pull() if runner is None else runner.next()
        if event is None:
            return
        function, arguments = event


def _failed(connection: Connection, error: BaseException, function: Function) -> None:
    """A handler raised: the socket closes, what it sent before that is not delivered."""
    runner = connection.runner
    if runner is not None:
        if isinstance(error, asyncio.CancelledError) and runner.was_cancelled():
            return
        runner.drop_messages()
    connection.handler_failed(error, function)


class Runner:
    """The events of a socket behind a handler that is suspended, or waits for its task to begin.

    It lives from there until its queue is empty. One task serves a whole burst.

    Args:
        connection: the connection whose events these are.
        bound: events that may wait before the connection stops reading.
        grace: seconds that handlers may go on after the socket has closed.
        is_strict: the handler of a message or a connect is cancelled as soon as it has.
        tasks: where running tasks are kept, so that a server can wait for them.
    """

    __slots__ = (
        "_bound", "_connection", "_grace", "_is_strict", "_kept", "_now", "_queue", "_task",
        "_tasks", "_timer",
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
        self._now: Function | None = None  # the handler that runs
        self._task: asyncio.Task[None] | None = None  # once it is suspended
        self._timer: asyncio.TimerHandle | None = None  # once the socket has closed
        self._kept = 0

    @property
    def is_full(self) -> bool:
        """True while the connection should not read."""
        return len(self._queue) >= self._bound

    def put(self, function: Function, arguments: Arguments) -> None:
        """Queue a call; sync and async functions alike."""
        self._queue.append((function, arguments))

    def start(self) -> None:
        """Make a task for what is queued; where tasks do not begin at once.

        Raises:
            MemoryError: when there is not enough for one; nothing will be called then.
        """
        try:
            self._keep(begin(self._run()))
        except MemoryError:
            self._end_timer()
            raise

    def adopt(self, task: asyncio.Task[None], function: Function) -> None:
        """Go on with a task of `attempt` that is suspended in a function."""
        if self._now is None:  # something else has queued and been called since
            self._now = function
        self._keep(task)

    def next(self) -> Event | None:
        """Return what to call next; None when this was all, and the runner is done."""
        if self._timer is not None:
            self._forget_cancellation()
        if not self._queue:
            self._now = self._task = None
            self._end_timer()
            self._connection.runner_done()
            return None
        event = self._queue.popleft()
        if len(self._queue) == self._bound - 1:
            self._connection.go_on()
        self._now = event[0]
        return event

    def drop_messages(self) -> None:
        """Leave what is to be called in any case: error handlers, and what `wind_up` has kept."""
        dropped = len(self._queue) - self._kept
        self._queue = deque(
            event
            for i, event in enumerate(self._queue)
            if i >= dropped or isinstance(event[0], ErrorHandling)
        )

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

    async def _run(self) -> None:
        event = self.next()
        if event is not None:
            await attend(self._connection, *event)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # --- cancelling -------------------------------------------------------------------------

    def was_cancelled(self) -> bool:
        """True for a handler that somebody ended because its socket has closed: no fault of its."""
        task = asyncio.current_task()
        return self._timer is not None and task is not None and task.cancelling() > 0

    def _cancel(self) -> None:
        """Drop the messages, and end the handler that is suspended."""
        self.drop_messages()
        # A task that has not begun would end without calling anybody, if it were cancelled.
        if self._task is not None and self._now is not None:
            self._task.cancel()

    def _forget_cancellation(self) -> None:
        """Let the next handler begin afresh: its timeouts and task groups count cancellations."""
        task = asyncio.current_task()
        while task is not None and task.uncancel():
            pass
