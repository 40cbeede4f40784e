"""What is stored: the outcome of every case, for both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conformance.outcome import Outcome, Results
from conformance.runs import SIDES, Side

STORED = Path(__file__).with_name("expected.json")


@dataclass(slots=True)
class Expectation:
    """What is to come out.

    Attributes:
        engine: name and version of what found it.
        sides: outcomes by case.
    """

    engine: str
    sides: dict[Side, Results] = field(default_factory=lambda: {side: {} for side in SIDES})

    def text(self) -> str:
        """Return it as JSON with a line for each case, so that a change is a line of a diff."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        yield f'{{"engine": {json.dumps(self.engine)},'
        for number, (side, results) in enumerate(self.sides.items()):
            yield f'"{side}": {{'
            rows = [f'  "{case}": {json.dumps(outcome)}' for case, outcome in results.items()]
            yield ",\n".join(rows)
            yield "}," if number + 1 < len(self.sides) else "}}"


def load() -> Expectation | None:
    """Return what is stored, None when nothing is."""
    if not STORED.exists():
        return None
    stored = json.loads(STORED.read_text())
    return Expectation(
        stored["engine"],
        {side: {case: Outcome(*words) for case, words in stored[side].items()} for side in SIDES},
    )


def store(expectation: Expectation) -> None:
    """Store it."""
    STORED.write_text(expectation.text())
