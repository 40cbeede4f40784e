"""`python -m benchmarks.scale`: measure, compute, try it out on a real broker, print and store."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.table import Table as Shown

from benchmarks.proc import raise_file_limit

from .brokers import nats_server
from .costs import STORED, load
from .measure import measure
from .page import PAGE, PICTURE, filled
from .plot import write_plot
from .tables import TRIAL_LOAD, TRIAL_NODES, TRIAL_SEED, Table, tables
from .trial import differences, draw, play

WIDTH = 200  # columns in a file


@click.command()
@click.option("--stored", is_flag=True, help="compute from what was measured before")
@click.option("--dry", is_flag=True, help="print only: store no figures, page and picture")
def main(stored: bool, dry: bool) -> None:
    """What clusters from 1 to 1,000 nodes cost; three minutes, seconds with --stored."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    raise_file_limit()
    if stored:
        costs = load()
    else:
        with console.status("") as status:

            def say(what: str) -> None:
                status.update(what)
                if not console.is_terminal:
                    console.print(what, highlight=False)

            costs = measure(say)
        if not dry:
            costs.store(STORED)
    found = tables(costs)
    for name, table in found.items():
        console.print(_shown(name, table))
    if not dry:
        PAGE.write_text(filled(PAGE.read_text(), found))
        write_plot(costs, PICTURE)
    sys.exit(0 if _tried(console) else 1)


def _tried(console: Console) -> bool:
    """Play the trial; True when the broker has counted what was computed."""
    script = draw(TRIAL_LOAD, TRIAL_NODES, TRIAL_SEED)
    with console.status("a small cluster on a real nats-server"), nats_server() as broker:
        found = differences(script, play(script, broker))
    for line in found:
        console.print(f"[red]{line}")
    if not found:
        console.print("nats-server and all workers have counted what was computed")
    return not found


def _shown(name: str, table: Table) -> Shown:
    shown = Shown(title=name, title_justify="left", box=None, header_style="dim")
    for at, head in enumerate(table.heads):
        shown.add_column(head, justify="right" if at else "left")
    for row in table.rows:
        shown.add_row(*row)
    return shown


if __name__ == "__main__":  # processes that are started to measure memory import this again
    main()
