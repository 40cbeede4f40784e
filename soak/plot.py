"""Draws a run: memory, what is open, latency and rate over time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from soak.record import MEGABYTE, Record
from soak.report import clock
from soak.verdicts import passed, per_hour

INK, MUTED, SHADE = "#1f2528", "#69737a", "#f0f2f4"
BLUE, LIGHT, ORANGE, GREEN, RED = "#0b6e99", "#78b7d0", "#c96a1c", "#2c7a4b", "#b3372f"
NARROWEST = 0.5  # MB up and down that memory is drawn in at least
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def write_plot(record: Record, path: Path) -> None:
    """Write one picture; nothing if there is nothing."""
    if len(record.samples) < 2:
        return
    in_minutes = record.seconds >= 300
    unit = 60.0 if in_minutes else 1.0
    times = [sample.at / unit for sample in record.samples]
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            4, 1, figsize=(10, 10.5), sharex=True, height_ratios=(3, 2, 2, 1.2)
        )
        figure.subplots_adjust(left=0.09, right=0.97, top=0.905, bottom=0.055, hspace=0.32)
        for axes, draw in zip(panels, (_memory, _open, _latency, _rate), strict=True):
            axes.axvspan(0, record.warmup / unit, color=SHADE, zorder=0, linewidth=0)
            axes.grid(axis="y", color="#e3e7ea", linewidth=0.6)
            axes.set_axisbelow(True)
            draw(axes, record, times, unit)
        panels[0].set_xlim(0, times[-1])
        panels[-1].set_xlabel("minutes" if in_minutes else "seconds")
        _head(figure, record)
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)


def _head(figure: Any, record: Record) -> None:
    colour, word = (GREEN, "passed") if passed(record) else (RED, "FAILED")
    title = f"Soak: {record.connections:,} connections in {clock(record.seconds)}"
    below = (
        f"{record.plan.rate:g} a second; a quarter each ends with Close, RST, half a frame, half a "
        f"handshake. {record.errors:,} errors. Grey: warm-up."
    )
    figure.text(0.03, 0.965, title, fontsize=13, fontweight="bold")
    figure.text(0.97, 0.965, word, fontsize=13, fontweight="bold", color=colour, ha="right")
    figure.text(0.03, 0.943, below, color=MUTED)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=10, fontweight="bold", pad=4)


def _legend(axes: Axes, columns: int) -> None:
    """Beside the title, where no line comes."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.005, 0.985),
        borderaxespad=0.0,
        ncols=columns,
        fontsize=8,
        handlelength=1.4,
        columnspacing=1.4,
    )


def _memory(axes: Axes, record: Record, times: list[float], unit: float) -> None:
    """What is more than at the end of the warm-up: growth would be lost in the whole."""
    warm = record.warm[0]
    for name, colour, width in (("private", LIGHT, 3.0), ("resident", BLUE, 1.3)):
        base = getattr(warm, name)
        values = [(getattr(sample, name) - base) / MEGABYTE for sample in record.samples]
        label = f"{name}, {base / MEGABYTE:.1f} MB"
        axes.plot(times, values, color=colour, linewidth=width, label=label)
    title = "Memory, MB more than when warm"
    line = record.resident_fit()
    if line is not None:
        slope, low, high = per_hour(line)
        ends = [warm.at, record.warm[-1].at]
        center = sum(ends) / 2
        middle = line.at_zero + line.slope * center - warm.resident

        def along(slope: float) -> list[float]:
            return [(middle + slope * (at - center)) / MEGABYTE for at in ends]

        places = [at / unit for at in ends]
        axes.plot(places, along(line.slope), color=ORANGE, linewidth=1.2, linestyle="--")
        axes.fill(
            [*places, *places[::-1]],
            [*along(line.low), *along(line.high)[::-1]],
            color=ORANGE,
            alpha=0.15,
            linewidth=0,
        )
        title = f"{title}; {slope:+.2f} MB/h ({low:+.2f} .. {high:+.2f})"
    _title(axes, title)
    low_end, high_end = axes.get_ylim()
    axes.set_ylim(min(low_end, -NARROWEST), max(high_end, NARROWEST))
    _legend(axes, 2)


def _open(axes: Axes, record: Record, times: list[float], unit: float) -> None:
    shown = (
        ("descriptors", BLUE, 1.6),
        ("connections", LIGHT, 1.1),
        ("rooms", ORANGE, 1.1),
        ("tasks", GREEN, 1.1),
    )
    for name, colour, width in shown:
        values = [getattr(sample.counters, name) for sample in record.samples]
        axes.plot(times, values, color=colour, linewidth=width, label=name)
    if record.before is not None and record.after is not None:
        told = f"before {record.before.descriptors:,}, after {record.after.descriptors:,}"
        _title(axes, f"Open at the time; descriptors {told}")
    else:
        _title(axes, "Open at the time")
    axes.set_ylim(bottom=0)
    _legend(axes, 4)


def _latency(axes: Axes, record: Record, times: list[float], unit: float) -> None:
    for name, colour in (("p99", LIGHT), ("p50", BLUE)):
        values = [getattr(sample, name) for sample in record.samples]
        shown = [float("nan") if value is None else value * 1e3 for value in values]
        axes.plot(times, shown, color=colour, linewidth=1.2, label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    kept = "never disconnected" if record.canary_lost is None else "LOST ITS CONNECTION"
    _title(axes, f"Round trip of the canary, ms; {record.pings:,} of them, {kept}")
    _legend(axes, 2)


def _rate(axes: Axes, record: Record, times: list[float], unit: float) -> None:
    samples = record.samples
    rates = [(b.connections - a.connections) / (b.at - a.at) for a, b in pairwise(samples)]
    axes.plot(times[1:], rates, color=BLUE, linewidth=1.2)
    axes.set_ylim(0, max([record.plan.rate, *rates]) * 1.15)
    _title(axes, "New connections a second")
