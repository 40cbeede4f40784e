"""Worker processes as their supervisor sees them, and the slots that they take."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable

from wsgroups.server.listening import Listening
from wsgroups.server.worker import Orders


class Worker:
    """A worker process.

    Args:
        command: what is started.
        orders: what it is told.
        on_end: called when it has ended, in the running loop.

    Attributes:
        pid: of the process.
        url: where it serves, once it does.
        code: its exit code once it has ended, negative for the signal that ended it.
    """

    def __init__(
        self, command: list[str], orders: Orders, on_end: Callable[[Worker], None]
    ) -> None:
        self.url: str | None = None
        self.code: int | None = None
        self.began = asyncio.get_running_loop().time()
        self.changed = asyncio.Event()
        self._on_end = on_end
        # A group of its own: Ctrl-C in a terminal is for the supervisor, which drains.
        self._process = subprocess.Popen(
            command,
            env=orders.environment(),
            pass_fds=(orders.lifeline, *orders.listeners),
            process_group=0,
        )
        self.pid = self._process.pid
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._wait, args=(loop,), daemon=True).start()

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        code = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the supervisor has ended before it
            loop.call_soon_threadsafe(self._ended, code)

    def _ended(self, code: int) -> None:
        self.code = code
        self.changed.set()
        self._on_end(self)

    def is_ready(self, url: str) -> None:
        """It serves."""
        self.url = url
        self.changed.set()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        self._process.send_signal(number)


class Slot:
    """A place that always has a worker: its listening sockets, and who accepts on them now.

    Attributes:
        listening: open as long as the supervisor runs, so that no connection that waits is lost
            when workers change.
        worker: the current one.
        failures: workers in a row that ended soon.
    """

    def __init__(self, listening: Listening) -> None:
        self.listening = listening
        self.worker: Worker | None = None
        self.failures = 0
        self.restart: asyncio.TimerHandle | None = None


def describe_exit(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"with code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
