"""Cases that come out one way or the other by timing, with what they may come out as.

Nothing else may flip. A case here is counted, stored and compared as the worst that it may be.
"""

from __future__ import annotations

from conformance.outcome import Outcome, Results
from conformance.runs import Side

# The engine writes a message and a bad frame behind one another. When both come in one read, our
# client fails the connection before the task that echoes the message runs; when a busy machine
# keeps them apart, the echo goes first. Our server calls its handler in between, so nothing flips.
_BAD_FRAME_BEHIND_A_MESSAGE = (
    *("3.2", "3.3", "3.4"),
    *("4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5"),
    "5.15",
)

FLIPPING: dict[Side, dict[str, frozenset[Outcome]]] = {
    "server": {},
    "client": dict.fromkeys(
        _BAD_FRAME_BEHIND_A_MESSAGE,
        frozenset({Outcome("OK", "OK"), Outcome("NON-STRICT", "OK")}),
    ),
}


def settle(side: Side, results: Results) -> Results:
    """Return results in which a case that flips has one outcome, if it is among the allowed."""
    return {case: _settled(FLIPPING[side].get(case), found) for case, found in results.items()}


def _settled(allowed: frozenset[Outcome] | None, found: Outcome) -> Outcome:
    if allowed is None or found not in allowed:
        return found
    return max(allowed, key=lambda outcome: outcome.rank)
