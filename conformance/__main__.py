"""`python -m conformance`: run everything, compare, and store on demand."""

from __future__ import annotations

import asyncio
import signal
import sys
from types import FrameType
from typing import get_args

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from conformance import engine, expectation, page
from conformance.differences import differences
from conformance.expectation import Expectation
from conformance.flipping import settle
from conformance.outcome import Results
from conformance.program import ROOT, ProgramError
from conformance.runs import REPORTS, Run, Side, all_runs, carry_out
from conformance.suite import group_of, in_order
from wsgroups.policy import DriverName

Found = list[tuple[Run, Results]]
Problems = dict[str, list[str]]  # what is wrong, and in which runs


@click.command()
@click.option("--store", is_flag=True, help="Store what comes out, and write the page about it.")
@click.option("--compression", is_flag=True, help="Groups 12 and 13 as well: minutes.")
@click.option("--tls", is_flag=True, help="The server's cases over TLS, instead of all.")
@click.option("--rounds", type=click.IntRange(1), default=1, help="Play everything so often.")
@click.option("--driver", type=click.Choice(get_args(DriverName)), default="auto", help="Of ours.")
def main(store: bool, compression: bool, tls: bool, rounds: int, driver: DriverName) -> None:
    """Play the Autobahn testsuite with wsgroups and compare with what is stored."""
    if store and tls:
        raise click.UsageError("what is played over TLS is held to what is stored: no --store")
    signal.signal(signal.SIGTERM, _end_as_interrupt)
    console = Console(soft_wrap=True)
    try:
        installed = engine.name_and_version()
    except ProgramError as error:
        raise click.ClickException(str(error)) from None
    found, problems = asyncio.run(_play(all_runs(compression, tls, driver) * rounds, console))
    if store and not problems:
        problems = _disagreements(found)
    if problems:
        _tell(problems, console)
        sys.exit(1)
    stored = expectation.load()
    if store:
        _store(found, installed, stored, console)
    else:
        _compare(found, installed, stored, console)


async def _play(runs: list[Run], console: Console) -> tuple[Found, Problems]:
    found: Found = []
    problems: Problems = {}
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    with bar:
        for run in runs:
            task = bar.add_task(str(run), total=run.cases)
            try:
                results = await carry_out(run, lambda task=task: bar.advance(task))  # type: ignore[misc]
            except ProgramError as error:
                problems.setdefault(str(error), []).append(str(run))
            else:
                found.append((run, settle(run.side, results)))
            bar.stop_task(task)
    return found, problems


def _disagreements(found: Found) -> Problems:
    """Runs of one side that differ from each other: what would be stored?"""
    problems: Problems = {}
    first: dict[Side, tuple[Run, Results]] = {}
    for run, results in found:
        leading, before = first.setdefault(run.side, (run, results))
        expected = {case: outcome for case, outcome in before.items() if case in results}
        for line in differences(expected, results):
            problems.setdefault(line.replace("is stored", f"on {leading.loop}"), []).append(
                str(run)
            )
    return problems


def _compare(found: Found, installed: str, stored: Expectation | None, console: Console) -> None:
    if stored is None:
        raise click.ClickException("nothing is stored yet: make autobahn STORE=1")
    problems: Problems = {}
    for run, results in found:
        expected = {
            case: outcome
            for case, outcome in stored.sides[run.side].items()
            if group_of(case) in run.groups
        }
        for line in differences(expected, results):
            problems.setdefault(f"{run.side}: {line}", []).append(str(run))
    if installed != stored.engine:
        console.print(f"[yellow]{installed} played, {stored.engine} is stored[/]")
    if problems:
        _tell(problems, console)
        console.print(
            f"Reports: {REPORTS.relative_to(ROOT)}. If it is right: make autobahn STORE=1"
        )
        sys.exit(1)
    console.print(f"[green]{len(found)} runs, every case as stored[/]")


def _store(found: Found, installed: str, stored: Expectation | None, console: Console) -> None:
    fresh = Expectation(installed)
    if stored is not None and stored.engine == installed:
        fresh.sides |= stored.sides  # of groups that were not played now
    for run, results in found:
        merged = fresh.sides[run.side] | results
        fresh.sides[run.side] = {case: merged[case] for case in in_order(merged)}
    if missing := page.without_reason(fresh):
        _tell({line: [] for line in missing}, console)
        sys.exit(1)
    expectation.store(fresh)
    page.write(fresh)
    console.print("[green]stored in conformance/expected.json, told in docs/autobahn.md[/]")


def _tell(problems: Problems, console: Console) -> None:
    for what, where in problems.items():
        console.print(what, style="red", markup=False, highlight=False)
        for run in where:
            console.print(f"    {run}", markup=False, highlight=False)


def _end_as_interrupt(number: int, frame: FrameType | None) -> None:
    """Turn a termination signal into what ends the processes in order."""
    raise KeyboardInterrupt


main()
