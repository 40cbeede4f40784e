"""One run of the suite: against which side, on which loop, under which limits."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
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
    over_tls: bool = False
    driver: DriverName = "auto"

    def __str__(self) -> str:
        driver = "" if self.driver == "auto" else f", driver {self.driver}"
        tls = " over TLS" * self.over_tls
        return f"{self.side}{tls}, {self.loop}, {self.limits} limits{driver}"

    @property
    def cases(self) -> int:
        """How many there are to be."""
        return sum(GROUPS[number].cases for number in self.groups)

    @property
    def reports(self) -> Path:
        """Where the engine's report goes; `index.html` is for people."""
        driver = "" if self.driver == "auto" else f"-{self.driver}"
        return REPORTS / f"{self.side}{'-tls' * self.over_tls}-{self.loop}-{self.limits}{driver}"


def all_runs(compression: bool, over_tls: bool = False, driver: DriverName = "auto") -> list[Run]:
    """Return every run, with the groups about compression or without.

    Over TLS, or with a driver named, those of the server alone.
    """
    raised = (*PLAIN, *sorted(COMPRESSION)) if compression else PLAIN
    sides: tuple[Side, ...] = SIDES[:1] if over_tls or driver != "auto" else SIDES
    return [
        Run(side, loop, limits, groups, over_tls, driver)
        for side in sides
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
    command = [sys.executable, "-m", "conformance.echo_server", run.loop, run.limits, run.driver]
    async with contextlib.AsyncExitStack() as stack:
        if run.over_tls:
            ca, *files = _certificates(stack.enter_context(tempfile.TemporaryDirectory()))
            command += files
        server = await stack.enter_async_context(running(command, on_case))
        url = await server.address()
        if run.over_tls:
            port = url.rpartition(":")[2]
            tunnel = [sys.executable, "-m", "conformance.tunnel", port, ca]
            url = await (await stack.enter_async_context(running(tunnel))).address()
        async with running(engine.against_server(url, run.groups, run.reports)) as player:
            await player.finished()
        server.check_running()
    _expect_silence(server.output[1:])


def _certificates(directory: str) -> tuple[str, str, str]:
    """Write an authority's certificate, the server's and its key; return the paths."""
    import trustme  # part of an extra, and not needed for the other runs

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    paths = [str(Path(directory) / name) for name in ("ca.pem", "cert.pem", "key.pem")]
    parts = (authority.cert_pem, issued.cert_chain_pems[0], issued.private_key_pem)
    for path, part in zip(paths, parts, strict=True):
        part.write_to_path(path)
    return paths[0], paths[1], paths[2]


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
