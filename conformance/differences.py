"""What a run brought that was not expected."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.outcome import Outcome, Results
from conformance.suite import in_order


def differences(expected: Results, found: Results) -> list[str]:
    """Return a line for each case that came out otherwise, for the better too."""
    return [*_differences(expected, found)]


def _differences(expected: Results, found: Results) -> Iterator[str]:
    for case in in_order(expected.keys() | found.keys()):
        before, now = expected.get(case), found.get(case)
        if before is None:
            yield f"{case}: {now}; it is not stored"
        elif now is None:
            yield f"{case}: no result; {before} is stored"
        elif now != before:
            yield f"{case}: {now}; {before} is stored ({_direction(before, now)})"


def _direction(before: Outcome, now: Outcome) -> str:
    if now.rank == before.rank:
        return "neither better nor worse"
    return "better" if now.rank < before.rank else "worse"
