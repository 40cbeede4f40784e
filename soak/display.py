"""Shows a run while it goes on, and what came of it."""

from __future__ import annotations

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from soak.record import MEGABYTE, Record
from soak.report import clock, milliseconds
from soak.verdicts import judge, per_hour

EVERY = 60.0  # seconds between lines where nothing can be drawn over


class Display:
    """For `with`: a table that changes on a terminal, a line a minute elsewhere."""

    def __init__(self, record: Record, console: Console) -> None:
        self._record = record
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._began = self._shown = time.monotonic()

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self) -> None:
        """Draw what is known now."""
        now = time.monotonic()
        if self._console.is_terminal:
            if now - self._shown >= 0.5:
                self._shown = now
                self._live.update(self._table(now - self._began), refresh=True)
        elif now - self._shown >= min(EVERY, self._record.plan.seconds / 6):
            self._shown = now
            text = "  ".join(f"{name} {value}" for name, value in self._values())
            self._console.print(
                f"{clock(now - self._began)}  {text}", highlight=False, soft_wrap=True
            )

    def _values(self) -> list[tuple[str, str]]:
        record = self._record
        values = [("connections", f"{record.connections:,}"), ("errors", f"{record.errors:,}")]
        if record.samples:
            sample = record.samples[-1]
            counters = sample.counters
            values += [
                ("RSS", f"{sample.resident / MEGABYTE:.2f} MB"),
                ("slope", self._slope()),
                ("open", f"{counters.connections:,}"),
                ("rooms", f"{counters.rooms:,}"),
                ("tasks", f"{counters.tasks:,}"),
                ("descriptors", f"{counters.descriptors:,}"),
                ("canary", f"{milliseconds(sample.p50)} / {milliseconds(sample.p99)} ms"),
                ("CPU", f"{sample.server_cpu / sample.at:.0%} + {sample.load_cpu / sample.at:.0%}"),
            ]
        return values

    def _slope(self) -> str:
        record = self._record
        if record.seconds < record.plan.warmup:
            return "warming up"
        line = record.resident_fit()
        if line is None:
            return "too early"
        slope, low, high = per_hour(line)
        return f"{slope:+.2f} ({low:+.2f} .. {high:+.2f}) MB/h"

    def _table(self, passed: float) -> Group:
        plan = self._record.plan
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_row("[bold]soak[/]", f"{clock(passed)} of {clock(plan.seconds)}")
        for name, value in self._values():
            table.add_row(f"[dim]{name}[/]", value)
        return Group(ProgressBar(plan.seconds, min(passed, plan.seconds), width=60), table)


def show_verdicts(record: Record, console: Console) -> None:
    """Print what came of it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "goal", "seen", ""):
        table.add_column(name)
    for verdict in judge(record):
        word = "[green]pass[/]" if verdict.passed else "[red]FAIL[/]"
        table.add_row(verdict.name, verdict.goal, verdict.seen, word)
    console.print(table)
    if record.failure is not None:
        console.print(f"[red]broken off:[/] {record.failure}")
