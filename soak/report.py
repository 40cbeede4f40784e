"""Writes the results: JSON with everything, Markdown with what a reader wants."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from soak.record import MEGABYTE, Record, Sample, quantile
from soak.verdicts import judge, passed, per_hour

ROWS = 24


def write_json(record: Record, path: Path) -> None:
    """Write everything."""
    values = asdict(record)
    trips = values.pop("round_trips")
    values["canary"] = {name: quantile(trips, part) for name, part in PARTS} | {"count": len(trips)}
    for name, line in (("resident", record.resident_fit()), ("private", record.private_fit())):
        values[f"{name}_fit"] = None if line is None else asdict(line)
    values["verdicts"] = [asdict(verdict) for verdict in judge(record)]
    values["passed"] = passed(record)
    path.write_text(json.dumps(values, indent=1) + "\n")


PARTS = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("worst", 1.0))


def write_markdown(record: Record, path: Path) -> None:
    """Write what a reader wants."""
    parts = [
        "# Soak",
        _summary(record),
        f"![memory, counters and latency over time]({path.stem}.png)",
        "## Verdicts",
        _table(
            ("", "goal", "seen", "verdict"),
            ((v.name, v.goal, v.seen, "pass" if v.passed else "**FAIL**") for v in judge(record)),
        ),
        "## Samples",
        _table(COLUMNS, map(_row, _spread(record.samples, ROWS))),
        "RSS and private memory in MB of the server; latency of the canary in ms. Connections, "
        "sockets, rooms, tasks and descriptors as the server counts them at that moment.",
    ]
    if record.failure is not None:
        parts.insert(2, f"**Broken off: {record.failure}**")
    path.write_text("\n\n".join(parts) + "\n")


COLUMNS = (
    "at", "RSS", "private", "connections", "sockets", "rooms", "tasks", "descriptors", "objects",
    "p50", "p99", "done",
)  # fmt: skip


def _summary(record: Record) -> str:
    plan = record.plan
    lines = [
        f"{clock(record.seconds)} of {clock(plan.seconds)} at {plan.rate:g} connections a second, "
        f"{record.connections:,} in all, of which {record.established:,} got through; "
        f"{record.received:,} messages came back. Started {record.started}.",
        "How they ended: " + ", ".join(f"{n:,} {way}" for way, n in record.endings.items()) + ".",
    ]
    trips = [(name, quantile(record.round_trips, part)) for name, part in PARTS]
    told = [f"{name} {value * 1e3:.2f} ms" for name, value in trips if value is not None]
    if told:
        lines.append(f"Canary after the warm-up: {', '.join(told)}.")
    for name, line in (("RSS", record.resident_fit()), ("Private", record.private_fit())):
        if line is not None:
            slope, low, high = per_hour(line)
            lines.append(
                f"{name} after {clock(record.warmup)}: {slope:+.2f} MB/h, 95 % in {low:+.2f} .. "
                f"{high:+.2f} ({line.blocks} blocks, correlation {line.dependence:+.2f})."
            )
    if record.samples:
        last = record.samples[-1]
        lines.append(
            f"CPU: server {last.server_cpu / last.at:.1%} of a core, "
            f"clients {last.load_cpu / last.at:.1%}."
        )
    lines.append(", ".join(record.machine.values()) + ".")
    return "\n".join(f"- {line}" for line in lines)


def clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Return the first, the last, and some between them."""
    if len(samples) <= most:
        return list(samples)
    step = (len(samples) - 1) / (most - 1)
    return [samples[round(i * step)] for i in range(most)]


def _row(sample: Sample) -> tuple[str, ...]:
    counters = sample.counters
    return (
        clock(sample.at),
        f"{sample.resident / MEGABYTE:.2f}",
        f"{sample.private / MEGABYTE:.2f}",
        *(
            f"{getattr(counters, name):,}"
            for name in ("connections", "sockets", "rooms", "tasks", "descriptors", "objects")
        ),
        milliseconds(sample.p50),
        milliseconds(sample.p99),
        f"{sample.connections:,}",
    )


def milliseconds(seconds: float | None) -> str:
    """Return a time in ms; a dash for none."""
    return "-" if seconds is None else f"{seconds * 1e3:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
