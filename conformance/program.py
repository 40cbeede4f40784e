"""Another process: started, read, and ended by its id whatever happens."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
CASE_DONE = "case done"  # what ours write for each
STOP_SECONDS = 5.0


class ProgramError(Exception):
    """A process did something else than it was started for."""


class Program:
    """A running process.

    Attributes:
        output: the lines it wrote, without those about cases.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._first_line = asyncio.Event()
        self.output: list[str] = []

    async def read(self, on_case: Callable[[], None]) -> None:
        """Read what it writes, to the end; call `on_case` for each case that is through."""
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if line == CASE_DONE:
                on_case()
                continue
            self.output.append(line)
            self._first_line.set()
        self._first_line.set()

    async def address(self) -> str:
        """Return the URL that its first line ends with."""
        await self._first_line.wait()
        word = self.output[0].split()[-1] if self.output and self.output[0] else ""
        if not word.startswith(("ws://", "wss://")):
            raise ProgramError("\n".join(["it does not listen", *self.output]))
        return word

    async def finished(self) -> int:
        """Wait for its end; return its exit code."""
        return await self._process.wait()

    def check_running(self) -> None:
        """Raise ProgramError if it has ended."""
        if self._process.returncode is not None:
            ended = f"it ended by itself with {self._process.returncode}"
            raise ProgramError("\n".join([ended, *self.output]))

    async def end(self) -> None:
        """End it, by force if it does not go."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


@asynccontextmanager
async def running(
    command: Sequence[str], on_case: Callable[[], None] = lambda: None
) -> AsyncIterator[Program]:
    """Run a command for the length of the block."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    program = Program(process)
    reading = asyncio.create_task(program.read(on_case))
    try:
        yield program
    finally:
        await program.end()
        await reading
