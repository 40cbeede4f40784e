"""Shows the figures of the attacks at the end of a run."""

from __future__ import annotations

import pytest

from tests.attacks.target import RESULTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each attack."""
    if RESULTS:
        terminalreporter.section("attacks")
        for figures in sorted(RESULTS, key=lambda figures: figures.id):
            terminalreporter.write_line(str(figures))
