"""One run of the suite: against which side, on which loop, under which limits."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from conformance import engine
from conformance.limits import Limits
from conformance.loops import LOOPS, Loop
from conformance.outcome import Results
from conformance.program import ROOT, ProgramError, running
from conformance.suite import COMPRESSION, GROUPS, PLAIN, WITHIN_DEFAULT_LIMITS, miscounts
from wsgroups.policy import DriverName

Side = Literal["server", "client"]
SIDES: tuple[Side, ...] = ("server", "client")

REPORTS = ROOT / "build" / "autobahn"
RUN_SECONDS = 900.0  # groups 12 and 13 take minutes


@dataclass(frozen=True, slots=True)
class Run:
    """What is run."""

    side: Side
    loop: Loop
    limits: Limits
    groups: tuple[int, ...]
    driver: DriverName = "auto"

    def __str__(self) -> str:
        driver = "" if self.driver == "auto" else f", driver {self.driver}"
        return f"{self.side}, {self.loop}, {self.limits} limits{driver}"

    @property
    def cases(self) -> int:
        """How many there are to be."""
        return sum(GROUPS[number].cases for number in self.groups)

    @property
    def reports(self) -> Path:
        """Where the engine's report goes; `index.html` is for people."""
        driver = "" if self.driver == "auto" else f"-{self.driver}"
        return REPORTS / f"{self.side}-{self.loop}-{self.limits}{driver}"


def all_runs(compression: bool, driver: DriverName = "auto") -> list[Run]:
    """Return every run, with the groups about compression or without.

    Only a server has a driver: with one named, those of the client are left out.
    """
    raised = (*PLAIN, *sorted(COMPRESSION)) if compression else PLAIN
    return [
        Run(side, loop, limits, groups, driver)
        for side in (SIDES if driver == "auto" else SIDES[:1])
        for limits, groups in _groups_by_limits(raised)
        for loop in LOOPS
    ]


def _groups_by_limits(raised: tuple[int, ...]) -> list[tuple[Limits, tuple[int, ...]]]:
    return [("raised", raised), ("default", WITHIN_DEFAULT_LIMITS)]


async def carry_out(run: Run, on_case: Callable[[], None]) -> Results:
    """Run the engine against one of our sides; call `on_case` for each case that is through.

    Raises:
        ProgramError: one of the processes failed, or cases are missing.
    """
    shutil.rmtree(run.reports, ignore_errors=True)
    play = {"server": _with_server, "client": _with_client}[run.side]
    try:
        async with asyncio.timeout(RUN_SECONDS):
            await play(run, on_case)
    except TimeoutError:
        raise ProgramError(f"no end after {RUN_SECONDS:.0f} s") from None
    results = engine.read_report(run.reports)
    if wrong := miscounts(results, run.groups):
        raise ProgramError("\n".join(wrong))
    return results


async def _with_server(run: Run, on_case: Callable[[], None]) -> None:
    command = [sys.executable, "-m", "conformance.echo_server", run.loop, run.limits]
    command.append(run.driver)
    async with running(command, on_case) as server:
        url = await server.address()
        async with running(engine.against_server(url, run.groups, run.reports)) as player:
            await player.finished()
        server.check_running()
    _expect_silence(server.output[1:])


async def _with_client(run: Run, on_case: Callable[[], None]) -> None:
    async with running(engine.against_clients(run.groups, run.reports)) as player:
        url = await player.address()
        command = [sys.executable, "-m", "conformance.echo_client", url, run.loop, run.limits]
        async with running(command, on_case) as client:
            await client.finished()
        _expect_silence(client.output)
        await player.finished()


def _expect_silence(output: list[str]) -> None:
    """A warning in the log is a finding as well, and so is a traceback."""
    if output:
        raise ProgramError("\n".join(["ours wrote:", *output]))
