"""Cases that come out one way or the other by timing, with what they may come out as.

Nothing else may flip. A case here is counted, stored and compared as the worst that it may be.
"""

from __future__ import annotations

from conformance.outcome import Outcome, Results
from conformance.runs import Side

FLIPPING: dict[Side, dict[str, frozenset[Outcome]]] = {"server": {}, "client": {}}


def settle(side: Side, results: Results) -> Results:
    """Return results in which a case that flips has one outcome, if it is among the allowed."""
    return {case: _settled(FLIPPING[side].get(case), found) for case, found in results.items()}


def _settled(allowed: frozenset[Outcome] | None, found: Outcome) -> Outcome:
    if allowed is None or found not in allowed:
        return found
    return max(allowed, key=lambda outcome: outcome.rank)
