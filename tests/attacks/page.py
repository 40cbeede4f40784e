"""Writes docs/attacks.md: the attacks, and the figures of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.attacks.list import ATTACKS, Attack
from tests.attacks.target import Figures

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/attacks.md"
NOT_MEASURED = "-"

TOP = """\
# Attacks, and what they cost

What somebody may do who wants the memory or the CPU of a server, from one connection and from many.
The server is in a process of its own, with default options. Only timeouts are shorter, so that the
tests need not wait for them, and where thousands connect and say nothing, the limit of handshakes
in progress is off, because they could not come otherwise. Meanwhile another client of the same
server goes on getting its answers and is never disconnected, and when the attackers are gone,
memory is back to what it was, within 5 % or 1 MiB. Unless the goal says otherwise, an attacking
connection may cost 1 MiB of memory and 50 ms of CPU.

Figures are for each attacking connection. Memory is what the process has for itself at most, above
what it had before; where few attack, what a process needs once for all, 1 MiB at most, would hide
it, so that it is given from 50 connections on. CPU is what the attack took in all, the handshake
included. Both are rounded up to one, two or five: they say what an attack is about, not how fast a
machine is. `python -m tests.attacks --store` attacks and writes this page.

| Attack | What it is | What stops it | Goal | Measured | Shown by |
|---|---|---|---|---|---|
"""


def render(measured: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        measured: what to say for each attack, by id.
    """
    return TOP + "".join(_line(attack, measured.get(attack.id, "")) for attack in ATTACKS)


def _line(attack: Attack, measured: str) -> str:
    missing = f"**Not yet:** {attack.not_yet}" if attack.not_yet else ""
    goal = ". ".join(part for part in (attack.goal, missing) if part)
    tests = ", ".join(f"`{name}`" for name in attack.shown_by)
    cells = [attack.id, attack.what, attack.stopped_by, goal, measured or NOT_MEASURED, tests]
    return f"| {' | '.join(cell or NOT_MEASURED for cell in cells)} |\n"


def stored() -> dict[str, str]:
    """Return what the page says was measured, by id."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| RX-")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {row[0]: row[4] for row in cells}


def in_words(results: Iterable[Figures]) -> dict[str, str]:
    """Return what to say of the figures of a run, for each attack."""
    worst: dict[str, dict[int, Figures]] = {}
    for figures in results:
        by_size = worst.setdefault(figures.id, {})
        known = by_size.setdefault(figures.connections, figures)
        known.memory = max(known.memory, figures.memory)
        known.cpu = max(known.cpu, figures.cpu)
        if figures.got not in known.got:
            known.got = f"{known.got}, {figures.got}"
    words = {}
    for id, by_size in worst.items():
        sizes = sorted({min(by_size), max(by_size)})
        got = by_size[sizes[-1]].got
        words[id] = "; ".join(
            [*(_costs(by_size[size]) for size in sizes), f"what comes back: {got}"]
        )
    return words


def _costs(figures: Figures) -> str:
    who = f"{figures.connections:,} connections" if figures.connections > 1 else "1 connection"
    cpu = f"{_up(figures.cpu * 1000):g} ms"
    if figures.connections < 50:
        return f"{who}: below {cpu}"
    return f"{who}: below {_up(figures.memory / 1024):g} KiB and {cpu} each"


def _up(value: float) -> float:
    """Round up to one, two or five of a power of ten."""
    return next(
        step * 10.0**power
        for power in range(-3, 9)
        for step in (1, 2, 5)
        if value <= step * 10.0**power
    )
