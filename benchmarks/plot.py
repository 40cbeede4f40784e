"""Draws the results: one panel a scenario, one bar of it a server."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .bars import Verdict
from .peers import SUBJECT, Peer
from .report import Report, number
from .scenarios import Scenario
from .summary import Spread

COLUMNS = 3
PANEL_WIDTH = 4.6  # inches
BAR_HEIGHT = 0.25  # inches, with the space between
PANEL_MARGIN = 0.62  # inches: title and space below
HEADER = 0.85  # inches
VERDICT_COLOURS = {True: "#2c7a4b", False: "#b3372f", None: "#69737a"}
OURS, OURS_TOO, THEIRS = "#0b6e99", "#78b7d0", "#d3d8dc"
INK, MUTED = "#1f2528", "#69737a"

STYLE: Any = {"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK}


def write_plot(report: Report, path: Path) -> None:
    """Write one picture with everything measured; nothing if there is nothing."""
    panels = [(one, _rows(report, one)) for one in report.plan.scenarios]
    panels = [(scenario, rows) for scenario, rows in panels if rows]
    if not panels:
        return
    columns = min(COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    with plt.rc_context(STYLE):
        figure, grid = _canvas(report, columns, lines)
        places = [axes for line in grid for axes in line]
        for axes, (scenario, rows) in zip(places, panels, strict=False):
            _draw(axes, scenario, rows)
        for axes in places[len(panels) :]:
            axes.axis("off")
        room = BAR_HEIGHT * len(report.plan.peers) > 0.16 * len(report.verdicts)
        if room and len(places) - len(panels) > 1:
            _draw_bars(places[len(panels)], report.verdicts)
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)


def _canvas(report: Report, columns: int, lines: int) -> tuple[Figure, list[list[Axes]]]:
    panel = BAR_HEIGHT * len(report.plan.peers) + PANEL_MARGIN
    width, height = PANEL_WIDTH * columns, panel * lines + HEADER
    figure, grid = plt.subplots(lines, columns, figsize=(width, height), squeeze=False)
    figure.subplots_adjust(
        left=1.45 / width,
        right=1 - 0.5 / width,
        top=1 - (HEADER + 0.2) / height,
        bottom=0.15 / height,
        wspace=1.95 / (width / columns - 1.95),
        hspace=PANEL_MARGIN / (panel - PANEL_MARGIN),
    )
    left = 0.3 / width
    title = "Server CPU: µs per message, delivery or connection; memory: resident bytes per socket"
    below = (
        f"Less is better. Median of {report.plan.rounds} interleaved rounds; the thin line is the "
        "range of the rounds."
    )
    figure.text(left, 1 - 0.36 / height, title, fontsize=13, fontweight="bold")
    figure.text(left, 1 - 0.62 / height, below, fontsize=9, color=MUTED)
    return figure, grid.tolist()


def _rows(report: Report, scenario: Scenario) -> list[tuple[Peer, Spread]]:
    """Return who was measured, the best first."""
    found = [(peer, report.summary.value(scenario.name, peer.name)) for peer in report.plan.peers]
    rows = [(peer, value) for peer, value in found if value is not None]
    return sorted(rows, key=lambda row: row[1].median)


def _draw(axes: Axes, scenario: Scenario, rows: list[tuple[Peer, Spread]]) -> None:
    values = [value.median for _, value in rows]
    positions = range(len(rows))
    axes.barh(positions, values, height=0.72, color=[_colour(peer) for peer, _ in rows])
    reach = max(value.greatest for _, value in rows)
    for at, (peer, value) in enumerate(rows):
        ours = peer.name == SUBJECT
        axes.plot([value.least, value.greatest], [at, at], color=INK, linewidth=0.8, alpha=0.55)
        axes.text(
            value.greatest + reach * 0.02,
            at,
            number(value.median),
            va="center",
            fontsize=8.5,
            fontweight="bold" if ours else "normal",
        )
    axes.set_title(scenario.title, loc="left", fontsize=10, fontweight="bold", pad=5)
    axes.set_yticks(positions, [peer.label for peer, _ in rows])
    for label, (peer, _) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if peer.name == SUBJECT else "normal")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, reach * 1.06)
    axes.xaxis.set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)


def _draw_bars(axes: Axes, verdicts: Sequence[Verdict]) -> None:
    """List what was to be reached; this takes the place of two panels."""
    if not verdicts:
        return
    axes.set_title("bars, and what was measured", loc="left", fontsize=10, fontweight="bold", pad=5)
    step = 1 / len(verdicts)
    for number_, verdict in enumerate(verdicts):
        height = 1 - (number_ + 0.5) * step
        subject = verdict.bar.subject
        name = verdict.bar.scenario + ("" if subject == SUBJECT else f", {subject}")
        median = "" if verdict.measured is None else number(verdict.measured.median)
        for place, text in ((0.0, name), (0.82, verdict.bar.text), (1.27, median)):
            axes.text(place, height, text, va="center", fontsize=8.5, transform=axes.transAxes)
        axes.text(
            1.44,
            height,
            verdict.word,
            va="center",
            fontsize=8.5,
            fontweight="bold",
            color=VERDICT_COLOURS[verdict.passed],
            transform=axes.transAxes,
        )


def _colour(peer: Peer) -> str:
    if peer.name == SUBJECT:
        return OURS
    return OURS_TOO if peer.name.startswith(SUBJECT) else THEIRS
