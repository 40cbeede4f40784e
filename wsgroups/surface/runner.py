"""Runs the asynchronous handlers of one socket, one at a time and in order."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from wsgroups.connection.connection import Connection

_EAGER = sys.version_info >= (3, 12)

Event = tuple[Callable[..., Any], tuple[Any, ...]]


class Runner:
    """The events of a socket behind a handler that is suspended.

    It lives from the first event that needs a task until its queue is empty. One task serves a
    whole burst; on Python 3.12 and later it starts at once, so a handler that does not suspend
    never touches the loop.

    Args:
        connection: the connection whose events these are.
        bound: events that may wait before the connection stops reading.
        grace: seconds that handlers may go on after the socket has closed.
        tasks: where running tasks are kept, so that a server can wait for them.
    """

    __slots__ = (
        "_bound", "_connection", "_grace", "_is_over", "_kept", "_queue", "_task",
        "_tasks", "_timer",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        bound: int,
        grace: float,
        tasks: set[asyncio.Task[None]],
    ) -> None:
        self._connection = connection
        self._bound = bound
        self._grace = grace
        self._tasks = tasks
        self._queue: deque[Event] = deque()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._kept = 0
        self._is_over = False

    @property
    def is_full(self) -> bool:
        """True while the connection should not read."""
        return len(self._queue) >= self._bound

    def put(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Queue a call, or raise and do nothing; sync and async functions alike."""
        self._queue.append((function, arguments))
        if self._task is None:
            try:
                self._start()
            except MemoryError:
                if self._task is None:  # nobody runs who would take it
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

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        run = self._run()
        try:
            if _EAGER:
                task = asyncio.Task(run, loop=loop, eager_start=True)  # type: ignore[call-arg,unused-ignore]
            else:
                task = loop.create_task(run)
        except MemoryError:
            run.close()
            raise
        if task.done():
            return
        self._task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        queue = self._queue
        while queue:
            function, arguments = queue.popleft()
            try:
                result = function(*arguments)
                if isinstance(result, Awaitable):
                    await result
            except asyncio.CancelledError as error:
                if not self._is_over:
                    self._failed(error, function)
            except BaseException as error:
                self._failed(error, function)
            if len(queue) == self._bound - 1:
                self._connection.go_on()
        self._task = None
        if self._timer is not None:
            self._timer.cancel()
        self._connection.runner_done()

    def _failed(self, error: BaseException, function: Callable[..., Any]) -> None:
        """A handler raised: the socket closes, what it sent before that is not delivered."""
        self._drop_messages()
        self._connection.handler_failed(error, function)

    def _drop_messages(self) -> None:
        while len(self._queue) > self._kept:
            self._queue.popleft()

    def _cancel(self) -> None:
        """The grace is over: drop the messages and end the handler that still runs."""
        self._is_over = True
        self._drop_messages()
        if self._task is not None:
            self._task.cancel()
