"""`python -m soak`: let them come and go, watch, report."""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from benchmarks.machine import describe_machine
from benchmarks.proc import raise_file_limit
from soak.display import Display, show_verdicts
from soak.plot import write_plot
from soak.record import Plan, Record
from soak.report import write_json, write_markdown
from soak.verdicts import passed
from soak.watch import Watch

RESULTS = Path(__file__).parent / "results"
SAMPLES = 60  # at least, also in a short run
LONGEST_WARMUP = 600.0  # seconds
WIDTH = 160  # columns in a file


@click.command()
@click.option("--seconds", default=3600.0, show_default=True, help="how long")
@click.option("--rate", default=300.0, show_default=True, help="connections a second")
@click.option("--interval", default=10.0, show_default=True, help="seconds between samples")
@click.option("--results", default=RESULTS, type=Path, help="the directory for the results")
@click.option("--name", default="latest", show_default=True, help="how their files are called")
def main(seconds: float, rate: float, interval: float, results: Path, name: str) -> None:
    """Let connections come and go for hours; the server has to be afterwards as it was before."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    raise_file_limit()
    plan = Plan(
        seconds=seconds,
        rate=rate,
        interval=min(interval, seconds / SAMPLES),
        warmup=min(0.1 * seconds, LONGEST_WARMUP),
    )
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    record = Record(plan, describe_machine(), started)
    with Display(record, console) as display:
        Watch(record, stop, display.show).run()
    show_verdicts(record, console)
    results.mkdir(parents=True, exist_ok=True)
    write_json(record, results / f"{name}.json")
    write_markdown(record, results / f"{name}.md")
    write_plot(record, results / f"{name}.png")
    console.print(f"{name}.json, .md and .png written", highlight=False)
    sys.exit(0 if passed(record) else 1)


main()
