"""What has to be true of a run."""

from __future__ import annotations

from dataclasses import dataclass

from soak.counters import RETURNING
from soak.fit import Fit
from soak.record import HOUR, MEGABYTE, Record

MOST_GROWTH = 1.0  # MB an hour
# Memory is taken in steps; growth by less than one over the whole time is no slope.
STEP = 256 << 10  # bytes
OBJECTS_APART = 0.01


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that has to be true, and what was seen."""

    name: str
    goal: str
    seen: str
    passed: bool


def per_hour(line: Fit) -> tuple[float, float, float]:
    """Return slope and interval of a line in MB an hour."""
    factor = HOUR / MEGABYTE
    return line.slope * factor, line.low * factor, line.high * factor


def judge(record: Record) -> list[Verdict]:
    """Return all verdicts."""
    return [_memory(record), _canary(record), _visits(record), _log(record), *_counters(record)]


def passed(record: Record) -> bool:
    """True when nothing is to be complained of."""
    return record.failure is None and all(verdict.passed for verdict in judge(record))


def _memory(record: Record) -> Verdict:
    name, goal = "resident memory", f"slope includes zero or is at most {MOST_GROWTH:g} MB/h"
    line = record.resident_fit()
    if line is None:
        return Verdict(name, goal, "too few samples to say", False)
    slope, low, high = per_hour(line)
    seen = f"{slope:+.2f} MB/h, 95 % in {low:+.2f} .. {high:+.2f}"
    if high - low > 4 * MOST_GROWTH:
        seen += " (too short a run to tell a slow leak)"
    grown = line.slope * (record.warm[-1].at - record.warm[0].at)
    return Verdict(name, goal, seen, low <= 0 or slope <= MOST_GROWTH or grown < STEP)


def _canary(record: Record) -> Verdict:
    kept = record.canary_lost is None and record.pings > 0
    seen = f"{record.pings:,} answers" if kept else f"lost: {record.canary_lost}"
    return Verdict("canary", "never disconnected", seen, kept)


def _visits(record: Record) -> Verdict:
    seen = f"{record.connections:,} connections, {record.errors:,} errors"
    if record.errors:
        seen += f" (last: {record.error})"
    all_well = record.connections > 0 and record.errors == 0
    return Verdict("connections", "each is served as it should be", seen, all_well)


def _log(record: Record) -> Verdict:
    logged = record.after.logged if record.after else -1
    seen = f"{logged:,} records" if record.after else "no answer"
    return Verdict("log", "no error in the server's log", seen, logged == 0)


def _counters(record: Record) -> list[Verdict]:
    """Those that count what is there now; sockets that were upgraded; objects, about."""
    before, after = record.before, record.after
    if before is None or after is None:
        return [Verdict("counters", "as before at the end", "no answer", False)]
    verdicts = []
    for name in RETURNING:
        was, now = getattr(before, name), getattr(after, name)
        verdicts.append(Verdict(name, f"{was:,} at the end", f"{now:,}", was == now))
    left = after.upgrades - after.disconnects
    goal = f"one for each upgrade but the {before.members:,} open ones"
    seen = f"{after.disconnects:,} of {after.upgrades:,}"
    verdicts.append(Verdict("disconnect handlers", goal, seen, left == before.members))
    apart = after.objects / before.objects - 1
    goal = f"{before.objects:,} at the end, within {OBJECTS_APART:.0%}"
    seen = f"{after.objects:,} ({apart:+.2%})"
    verdicts.append(Verdict("objects", goal, seen, abs(apart) <= OBJECTS_APART))
    return verdicts
