"""Talks to the load generator: it says when it is ready, works when told, and then keeps still."""

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .layout import LOAD
from .proc import on_core


class LoadError(Exception):
    """The load generator saw something wrong, or did not finish."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What the load generator counted."""

    messages: int
    seconds: float
    p50_us: float
    p99_us: float
    cpu_seconds: float  # its own


class Generator:
    """A running load generator."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._received = b""

    def await_ready(self, seconds: float) -> None:
        """Return once everything is connected and warm."""
        self._next("ready", seconds)

    def work(self, seconds: float) -> LoadResult:
        """Let it do its work; raises LoadError if any message was wrong or `seconds` pass."""
        self._say(b"go\n")
        answer = self._next("result", seconds)
        if answer["errors"]:
            raise LoadError(f"{answer['errors']} errors: {answer['error']}")
        if not answer["messages"]:
            raise LoadError("nothing was answered in time")
        return LoadResult(
            messages=answer["messages"],
            seconds=answer["seconds"],
            p50_us=answer["p50_us"],
            p99_us=answer["p99_us"],
            cpu_seconds=answer["load_cpu_seconds"],
        )

    def _say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def _next(self, event: str, seconds: float) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._line(time.monotonic() + seconds))
        if answer["event"] != event:
            raise LoadError(str(answer.get("error", answer["event"])))
        return answer

    def _line(self, end: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._received:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise LoadError("the load generator did not finish in time")
            part = os.read(descriptor, 65536)
            if not part:
                raise LoadError("the load generator ended by itself")
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        return line


@contextmanager
def generating(core: int, mode: str, port: int, arguments: Sequence[str]) -> Iterator[Generator]:
    """Run the load generator on `core` for the length of the block."""
    command = [str(LOAD), mode, "--port", str(port), *arguments]
    with on_core(core):
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    try:
        yield Generator(process)
    finally:
        process.kill()
        process.communicate()
