"""The line through memory, and how sure it is."""

from random import Random

import pytest

from soak.fit import block_means, fit, student


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042)]
)
def test_the_quantiles_are_those_of_the_tables(freedom: float, quantile: float) -> None:
    assert student(freedom) == pytest.approx(quantile, rel=0.02)


def test_a_line_is_found_as_it_is() -> None:
    line = fit([(float(x), 3.0 * x + 7) for x in range(100)])
    assert line is not None
    assert line.slope == pytest.approx(3)
    assert line.at_zero == pytest.approx(7)
    assert line.low == pytest.approx(line.high)


def test_too_few_readings_are_no_line() -> None:
    assert fit([]) is None
    assert fit([(float(x), 1.0) for x in range(5)]) is None


def test_no_reading_is_left_out_of_the_blocks() -> None:
    for count in (1, 7, 20, 33, 324):
        points = [(float(x), 1.0) for x in range(count)]
        blocks = block_means(points, 20)
        assert len(blocks) == min(20, count)
        assert sum(x for x, _ in block_means(points, 1)) == pytest.approx((count - 1) / 2)


def _dependent(random: Random, count: int, slope: float) -> list[tuple[float, float]]:
    """Readings around a line that keep nine tenths of how far they were off."""
    points, off = [], 0.0
    for x in range(count):
        off = 0.9 * off + random.gauss(0, 1)
        points.append((float(x), slope * x + off))
    return points


def test_the_interval_holds_for_readings_that_depend_on_one_another() -> None:
    """Least squares over single readings would hold in about a third of these."""
    random = Random(1)
    held = 0
    for _ in range(300):
        line = fit(_dependent(random, 320, 0.0))
        assert line is not None
        held += line.low <= 0 <= line.high
    assert held >= 0.9 * 300


def test_growth_is_told_from_noise() -> None:
    random = Random(2)
    for _ in range(50):
        line = fit(_dependent(random, 320, 0.1))
        assert line is not None
        assert line.low > 0
