"""Worker processes as their supervisor sees them, and the slots that they take."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

from wsgroups.server.listening import Listening
from wsgroups.server.seconds import Silence
from wsgroups.server.worker import Orders


class Worker:
    """A worker process.

    Args:
        command: what is started.
        orders: what it is told.
        on_end: called when it has ended, in the running loop.

    Raises:
        OSError: when the system has no process for it, or no thread that waits for its end.

    Attributes:
        pid: of the process.
        url: where it serves, once it does.
        code: its exit code once it has ended, negative for the signal that ended it.
        began: when it was started, on the loop's clock.
        task: what it is expected to do within a time, if anything.
        silence: since its last sign of life.
    """

    def __init__(
        self, command: list[str], orders: Orders, on_end: Callable[[Worker], None]
    ) -> None:
        self.url: str | None = None
        self.code: int | None = None
        self.began = asyncio.get_running_loop().time()
        self.changed = asyncio.Event()
        self.task: str | None = None
        self.silence = Silence()
        self._patience = 0.0
        self._is_retired = False
        self._on_end = on_end
        self._process = _start(command, orders)
        self.pid = self._process.pid
        loop = asyncio.get_running_loop()
        try:
            threading.Thread(target=self._wait, args=(loop,), daemon=True).start()
        except RuntimeError as error:
            self._process.kill()
            self._process.wait()
            raise _no_worker(error) from None

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        code = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the supervisor has ended before it
            loop.call_soon_threadsafe(self._ended, code)

    def _ended(self, code: int) -> None:
        self.code = code
        self.changed.set()
        self._on_end(self)

    @property
    def serves(self) -> bool:
        """True while it answers who connects."""
        return self.url is not None and not self.silence.is_long

    def is_ready(self, url: str) -> None:
        """It serves."""
        self.url = url
        self.changed.set()
        if not self._is_retired:
            self.task = None

    def expect(self, task: str, patience: float) -> None:
        """Give it a time for something.

        Args:
            task: what it has to do.
            patience: seconds.
        """
        self.task, self._patience = task, patience

    def is_overdue(self, seconds: float) -> bool:
        """Count so many seconds more; True when its time is over."""
        self._patience -= seconds
        return self.task is not None and self._patience <= 0

    def retire(self, patience: float) -> None:
        """Have it drain and end, within so many seconds."""
        self._is_retired = True
        self.send_signal(signal.SIGTERM)
        self.expect("stop", patience)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        self._process.send_signal(number)


def _start(command: list[str], orders: Orders) -> subprocess.Popen[bytes]:
    try:
        # A group of its own: Ctrl-C in a terminal is for the supervisor, which drains.
        return subprocess.Popen(
            command,
            env=orders.environment(),
            pass_fds=(orders.lifeline, *orders.listeners),
            process_group=0,
        )
    except (OSError, MemoryError) as error:
        raise _no_worker(error) from None


def _no_worker(error: Exception) -> OSError:
    """Say that a worker cannot be started, and what may be missing."""
    why = str(error) or "out of memory"
    return OSError(
        getattr(error, "errno", None) or errno.EAGAIN,
        f"no worker process can be started: {why}; see to it that there are memory, processes "
        f"(ulimit -u) and {sys.executable}",
    )


class Slot:
    """A place that always has a worker: its listening sockets, and who accepts on them now.

    Attributes:
        listening: open as long as the supervisor runs, so that no connection that waits is lost
            when workers change.
        worker: the current one.
        kept: one before it that stands still, and may go on.
        restart: when the next one is started, where there is none.
        failures: workers in a row that ended soon.
    """

    def __init__(self, listening: Listening) -> None:
        self.listening = listening
        self.worker: Worker | None = None
        self.kept: Worker | None = None
        self.failures = 0
        self.restart: asyncio.TimerHandle | None = None

    def cancel_restart(self) -> None:
        """Start none after all."""
        if self.restart is not None:
            self.restart.cancel()
            self.restart = None


def describe_exit(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"with code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
