"""Shows the results in the terminal."""

from rich.console import Console
from rich.table import Table

from .bars import Bar
from .peers import SUBJECT, Peer
from .report import REBUILT, Report, noise_statement, number
from .scenarios import Scenario
from .summary import Spread


def show(report: Report, console: Console) -> None:
    """Print values with ratios, bars and noise."""
    console.print(_values(report))
    if report.verdicts:
        console.print(_bars(report))
    console.print(noise_statement(report.noise, report.plan.rounds))
    if report.rebuilt:
        console.print(f"[yellow]{REBUILT}[/]")


def _values(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "µs or bytes", "min..max", "wsgroups /", "min..max"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for scenario in report.plan.scenarios:
        table.add_row(f"[bold]{scenario.name}[/]")
        for peer in report.plan.peers:
            if peer.takes_part(scenario):
                table.add_row(f"  {peer.label}", *_cells(report, scenario, peer))
    return table


def _cells(report: Report, scenario: Scenario, peer: Peer) -> tuple[str, str, str, str]:
    value = report.summary.value(scenario.name, peer.name)
    if value is None:
        return "[red]failed[/]", "", "", ""
    ratio = report.summary.ratio(scenario.name, peer.name)
    cells = f"[bold]{number(value.median)}[/]", _range(value)
    if ratio is None or peer.name == SUBJECT:
        return *cells, "", ""
    return *cells, f"[bold]{ratio.median:.2f}[/]", _range(ratio)


def _range(found: Spread) -> str:
    return f"{number(found.least)}..{number(found.greatest)}"


def _subject(bar: Bar) -> str:
    return "" if bar.subject == SUBJECT else f", {bar.subject}"


def _bars(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("bar", "", "measured", "verdict"):
        table.add_column(name)
    for verdict in report.verdicts:
        colour = {True: "green", False: "red", None: "yellow"}[verdict.passed]
        measured = "-" if verdict.measured is None else number(verdict.measured.median)
        bar = verdict.bar
        row = (f"{bar.scenario}{_subject(bar)}", bar.text, measured)
        table.add_row(*row, f"[{colour}]{verdict.word}[/]")
    return table
