"""A line through readings that depend on those before them, and how far it can be trusted.

Memory is no noise around a line: it goes in steps and stays where it is. Least squares over single
readings would take each of them for news and be far too sure. So the line goes through the means of
blocks, and what dependence is left between blocks widens the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, fmean

CONFIDENCE = 0.95
BLOCKS = 20
FEWEST = 6  # blocks, to say anything


@dataclass(frozen=True, slots=True)
class Fit:
    """A line: `value = at_zero + slope * x`.

    Attributes:
        low, high: the interval for the slope.
        blocks: how many means it goes through.
        dependence: what was left between neighbouring blocks, as a correlation.
    """

    slope: float
    low: float
    high: float
    at_zero: float
    blocks: int
    dependence: float


def fit(points: Sequence[tuple[float, float]]) -> Fit | None:
    """Fit a line through readings in the order of x; None when they are too few."""
    blocks = block_means(points, BLOCKS)
    n = len(blocks)
    if n < FEWEST:
        return None
    center, mean = fmean(x for x, _ in blocks), fmean(y for _, y in blocks)
    spread = sum((x - center) ** 2 for x, _ in blocks)
    if not spread:
        return None
    slope = sum((x - center) * (y - mean) for x, y in blocks) / spread
    at_zero = mean - slope * center
    rest = [y - at_zero - slope * x for x, y in blocks]
    squares = sum(r * r for r in rest)
    dependence = sum(a * b for a, b in pairwise(rest)) / squares if squares else 0.0
    # Of n dependent readings there are as many independent ones as this factor says (AR(1)).
    worth = (1 - dependence) / (1 + dependence) if dependence > 0 else 1.0
    freedom = max(2.0, n * worth - 2)
    error = math.sqrt(squares / freedom / spread / worth)
    reach = student(freedom) * error
    return Fit(slope, slope - reach, slope + reach, at_zero, n, dependence)


def block_means(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Return the means of so many blocks at most, which are alike in size to one reading."""
    count = min(most, len(points))
    edges = [i * len(points) // count for i in range(count + 1)] if count else []
    chunks = [points[a:b] for a, b in pairwise(edges)]
    return [(fmean(x for x, _ in chunk), fmean(y for _, y in chunk)) for chunk in chunks]


def student(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Return the two-sided quantile of Student's t distribution.

    Exact for 2 degrees of freedom, above it by the expansion around the normal quantile
    (Abramowitz and Stegun, 26.7.5), which is within 2 % from 3 degrees on.
    """
    if freedom <= 2:
        p = 1 - confidence
        return math.sqrt(2 / (p * (2 - p)) - 2)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (i + 1) for i, term in enumerate(terms))
