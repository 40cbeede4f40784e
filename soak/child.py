"""The processes that are watched: started here, ended here by their ids."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

PATIENCE = 40.0  # seconds


class Child:
    """A module of this package in a process of its own, which prints lines of JSON.

    Its standard input is a pipe: when this process is gone, so is the child.

    Args:
        module: its name in this package.
        arguments: what follows on the command line.
        log: where its standard error goes.
        took: called with each line, in a thread of the child's own.
    """

    def __init__(
        self,
        module: str,
        *arguments: object,
        log: IO[bytes],
        took: Callable[[dict[str, Any]], None],
    ) -> None:
        self.module = module
        self._took = took
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"soak.{module}", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._took(json.loads(line))

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True until it has ended."""
        return self._process.poll() is None

    def wait(self, seconds: float) -> int:
        """Wait until it has ended by itself and all its lines are read; returns its exit status.

        Raises:
            subprocess.TimeoutExpired: when it goes on.
        """
        status = self._process.wait(seconds)
        self._reader.join(seconds)
        return status

    def finish(self) -> int:
        """Let it come to its end, by force if it takes too long; returns its exit status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            return self.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self.wait(PATIENCE)
