"""Draws what passes through the broker, and what is used up, over the number of nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from .costs import Costs
from .limits import NATS_CORES, USES, Model
from .load import Load

NODES = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000)
INK, MUTED = "#1f2528", "#69737a"
COLOURS = ("#0b6e99", "#b3372f", "#2c7a4b", "#c08a1e", "#6b4f9e", "#69737a")
SHOWN = (
    "CPU of the broker, all together",
    "Bytes out of the broker",
    "Memory of the broker",
    "CPU of a worker for the bus",
    "Memory of a worker for the bus",
    "CPU of a worker for its sockets",
)
STYLE: Any = {"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK}


def write_plot(costs: Costs, path: Path) -> None:
    """Write one picture of two panels."""
    model = Model(Load(), costs, costs.nats, NATS_CORES)
    cases = [model.case(nodes) for nodes in NODES]
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.6))
        kinds = {
            "room sends": [case.traffic.room_sends.going for case in cases],
            "signs of life": [case.traffic.beats.going for case in cases],
            "messages by id": [case.traffic.ids.going for case in cases],
            "group sends": [case.traffic.group_sends.going for case in cases],
        }
        _draw(left, "Copies out of the broker, a second", kinds)
        left.set_ylim(bottom=1)
        uses = {name: [use(model, case) for case in cases] for name, use in USES.items()}
        _draw(right, "Share of what there is, on NATS", {name: uses[name] for name in SHOWN})
        right.axhline(1.0, color=INK, linewidth=0.8, linestyle=":")
        right.set_ylim(1e-3, 1e2)
        figure.tight_layout()
        figure.savefig(path, dpi=130, facecolor="white")
        plt.close(figure)


def _draw(axes: Axes, title: str, lines: dict[str, list[float]]) -> None:
    for colour, (name, values) in zip(COLOURS, lines.items(), strict=False):
        shown = [value if value > 0 else float("nan") for value in values]
        axes.plot(NODES, shown, color=colour, linewidth=1.6, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("nodes of 8 workers and 100,000 sockets", color=MUTED)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
