"""`python -m benchmarks`: install what is missing, measure, report."""

import signal
import sys
from types import FrameType

import click
from rich.console import Console

from .bars import judge
from .install import InstallError, install
from .layout import RESULTS
from .machine import describe_machine
from .measure import Settings
from .peers import own_build, select_peers, versions
from .plot import write_plot
from .proc import choose_cores, on_core, raise_file_limit
from .report import Report, write_json, write_markdown
from .runner import Plan, carry_out
from .scenarios import select_scenarios
from .summary import Summary, noise
from .terminal import show


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _make_plan(
    only: str, peers: str, rounds: int | None, seconds: float | None, quick: bool, spin: bool
) -> Plan:
    settings = Settings(
        seconds=seconds or (0.7 if quick else 2.0),
        warmup=0.2 if quick else 0.5,
        quick=quick,
        spin=spin,
    )
    try:
        scenarios, chosen = select_scenarios(_names(only)), select_peers(_names(peers))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return Plan(scenarios, chosen, rounds or (2 if quick else 5), settings, choose_cores())


def _install(console: Console) -> list[str]:
    try:
        failures = install(lambda what: console.print(f"{what} ..."))
    except InstallError as error:
        raise click.ClickException(str(error)) from error
    for failure in failures:
        console.print(f"[red]{failure}[/]")
    return failures


def _report(plan: Plan, summary: Summary, build: str) -> Report:
    return Report(
        plan=plan,
        machine=describe_machine(),
        versions=versions(plan.peers),
        summary=summary,
        verdicts=judge(summary, plan.scenarios),
        noise=noise(summary, [one.name for one in plan.scenarios], [p.name for p in plan.peers]),
        builds=(build, own_build()),
    )


def _save(report: Report, name: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    write_json(report, RESULTS / f"{name}.json")
    write_markdown(report, RESULTS / f"{name}.md")
    write_plot(report, RESULTS / f"{name}.png")


def _end_as_interrupt(number: int, frame: FrameType | None) -> None:
    """Turn a termination signal into what ends servers in order."""
    raise KeyboardInterrupt


@click.command()
@click.option("--only", default="", help="Scenarios, by how their names begin, comma between.")
@click.option("--peers", default="", help="Peers to compare wsgroups with, comma between.")
@click.option("--rounds", type=click.IntRange(1), help="Rounds; 5, or 2 when quick.")
@click.option("--seconds", type=float, help="Seconds a measurement; 2, or 0.7 when quick.")
@click.option("--quick", is_flag=True, help="Short measurements, few rounds: to iterate.")
@click.option("--spin", is_flag=True, help="The load generator polls instead of sleeping.")
@click.option("--save", help="Name of the result files; `latest` for a full run, else `partial`.")
def main(
    only: str,
    peers: str,
    rounds: int | None,
    seconds: float | None,
    quick: bool,
    spin: bool,
    save: str | None,
) -> None:
    """Measure the server CPU of wsgroups and its peers."""
    console = Console()
    signal.signal(signal.SIGTERM, _end_as_interrupt)
    raise_file_limit()
    failures = _install(console)
    plan = _make_plan(only, peers, rounds, seconds, quick, spin)
    if plan.cores.server == plan.cores.load:
        console.print("[yellow]one core only: server and load disturb each other[/]")
    build = own_build()
    with on_core(plan.cores.load):
        summary = Summary(carry_out(plan, console))
    report = _report(plan, summary, build)
    show(report, console)
    complete = len(summary.measurements) == len([*plan.steps()])
    name = save or ("latest" if complete and not (quick or only or peers) else "partial")
    _save(report, name)
    console.print(f"results/{name}.json, .md and .png written")
    sys.exit(1 if failures or summary.failures or not complete else 0)


main()
