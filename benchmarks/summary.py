"""From measurements to medians: values per server, and ratios taken within each round."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .measure import Measurement
from .peers import SUBJECT

ENOUGH = 3  # undisturbed rounds that make the disturbed ones dispensable


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the greatest of the rounds behind it."""

    median: float
    least: float
    greatest: float
    rounds: int

    @property
    def width(self) -> float:
        """Distance from the least to the greatest, as a part of the median."""
        return (self.greatest - self.least) / self.median if self.median else 0.0


def spread(values: Sequence[float]) -> Spread | None:
    """Summarise; None when there is nothing."""
    if not values:
        return None
    return Spread(statistics.median(values), min(values), max(values), len(values))


def _quiet(found: Sequence[tuple[float, bool]]) -> list[float]:
    """Leave out what was disturbed, the second of each pair, if enough remains."""
    quiet = [value for value, disturbed in found if not disturbed]
    return quiet if len(quiet) >= ENOUGH else [value for value, _ in found]


class Summary:
    """All measurements, asked by scenario and peer."""

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self.measurements = list(measurements)
        self._found: dict[tuple[str, str], dict[int, Measurement]] = {}
        for one in self.measurements:
            if one.value is not None:
                self._found.setdefault((one.scenario, one.peer), {})[one.round] = one

    @property
    def failures(self) -> list[Measurement]:
        """The measurements that came to nothing."""
        return [one for one in self.measurements if one.error is not None]

    def value(self, scenario: str, peer: str) -> Spread | None:
        """Summarise what `peer` needed in `scenario`."""
        found = self._found.get((scenario, peer), {}).values()
        return spread(_quiet([(one.value or 0.0, one.disturbed) for one in found]))

    def ratio(
        self, scenario: str, peer: str, subject: str = SUBJECT, other: str | None = None
    ) -> Spread | None:
        """Summarise `subject` / `peer`, each ratio from two figures of the same round.

        With `other` the figure of `peer` is the one in that scenario.
        """
        above = self._found.get((scenario, subject), {})
        below = self._found.get((other or scenario, peer), {})
        pairs = [(above[one], below[one]) for one in sorted(above.keys() & below.keys())]
        ratios = [
            ((one.value or 0.0) / base.value, one.disturbed or base.disturbed)
            for one, base in pairs
            if base.value
        ]
        return spread(_quiet(ratios))


@dataclass(frozen=True, slots=True)
class Noise:
    """How far rounds lie apart, and how many of them other work on the machine came between."""

    values: Spread | None
    ratios: Spread | None
    disturbed: int
    measurements: int


def noise(summary: Summary, scenarios: Iterable[str], peers: Sequence[str]) -> Noise:
    """Collect the widths of everything measured at least twice."""
    values: list[float] = []
    ratios: list[float] = []
    for scenario in scenarios:
        for peer in peers:
            value, ratio = summary.value(scenario, peer), summary.ratio(scenario, peer)
            if value and value.rounds > 1:
                values.append(value.width)
            if ratio and ratio.rounds > 1 and peer != SUBJECT:
                ratios.append(ratio.width)
    disturbed = sum(one.disturbed for one in summary.measurements)
    return Noise(spread(values), spread(ratios), disturbed, len(summary.measurements))
